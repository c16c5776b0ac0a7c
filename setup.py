"""Where the packages of an installation come from; everything else about it is in pyproject.toml.

The upper floors stand at the top of the checkout, and inside `charlm_pipeline` in an installation
(docs/adr/0012-distribution.md).
"""

from setuptools import find_packages, setup

FLOORS = ("tasks", "flows", "deployments")

floors = find_packages(include=[pattern for floor in FLOORS for pattern in (floor, f"{floor}.*")])
setup(
    packages=[
        *find_packages(include=["charlm", "charlm.*", "charlm_pipeline"]),
        *(f"charlm_pipeline.{name}" for name in floors),
    ],
    package_dir={f"charlm_pipeline.{floor}": floor for floor in FLOORS},
    package_data={"charlm": ["py.typed"], "charlm_pipeline.deployments": ["*.yaml"]},
    include_package_data=False,
)
