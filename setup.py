"""Where the packages of an installation come from; everything else about it is in pyproject.toml.

The upper floors stand at the top of the checkout, and inside `charlm_pipeline` in an installation
(docs/adr/0012-distribution.md). The compiled kernels are optional (docs/adr/0023-native-kernels.md).
"""

import hashlib
from pathlib import Path

from setuptools import Extension, find_packages, setup

NATIVE = Path("charlm/native")
SOURCES, HEADERS = (sorted(NATIVE.glob(pattern)) for pattern in ("*.cpp", "*.h"))
DIGEST = hashlib.sha256(b"".join(path.read_bytes() for path in [*SOURCES, *HEADERS])).hexdigest()

FLOORS = ("tasks", "flows", "deployments")

floors = find_packages(include=[pattern for floor in FLOORS for pattern in (floor, f"{floor}.*")])
setup(
    packages=[
        *find_packages(include=["charlm", "charlm.*", "charlm_pipeline"]),
        *(f"charlm_pipeline.{name}" for name in floors),
    ],
    package_dir={f"charlm_pipeline.{floor}": floor for floor in FLOORS},
    package_data={"charlm": ["py.typed"], "charlm_pipeline.deployments": ["*.yaml", "work-pools/*.json"]},
    include_package_data=False,
    # Without a compiler, or with one that does not know an instruction, the installation has no kernels and all works.
    ext_modules=[
        Extension(
            "charlm.native._kernels",
            sources=[str(path) for path in SOURCES],
            depends=[str(path) for path in HEADERS],
            language="c++",
            define_macros=[("CHARLM_SOURCES", f'"{DIGEST}"')],  # charlm/native/__init__.py compares it
            extra_compile_args=[
                "-std=c++17",
                "-O3",
                "-fvisibility=hidden",
                "-pthread",
                "-g0",
                "-Wno-maybe-uninitialized",
            ],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ],
)
