"""What can go wrong with the compiled kernels, before they compute and while they do."""

import ctypes
import mmap
import os
import shutil
import subprocess
import sys

import pytest
import torch

from charlm import native
from charlm.errors import ConfigError
from charlm.native import VARIANTS, find_kernel, variant
from charlm.nn import kernel as kernel_module
from charlm.nn.kernel import kernel_name
from charlm.nn.lstm import LSTM
from tests.charlm.native.test_kernels import FP32, HERE, kernel_of
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.numeric,
    pytest.mark.skipif(native.why_missing() is not None, reason=f"no compiled kernels: {native.why_missing()}"),
]


def test_no_text_is_refused_as_torch_refuses_it() -> None:
    with pytest.raises(RuntimeError, match="sequence length"):
        LSTM(4, 5)(torch.empty(0, 2, 4))


def test_the_setting_takes_a_lower_variant_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in HERE:
        monkeypatch.setenv("CHARLM_NATIVE", name)
        found = find_kernel(VARIANTS[name])
        assert found is kernel_of(name)
    monkeypatch.setenv("CHARLM_NATIVE", "off")
    assert find_kernel(torch.float32) is None
    monkeypatch.setenv("CHARLM_NATIVE", "avx3")
    with pytest.raises(ConfigError, match="CHARLM_NATIVE is off, or avx2, avx512, avx512_bf16, got 'avx3'"):
        find_kernel(torch.float32)


def test_an_older_processor_gets_the_kernel_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHARLM_NATIVE", raising=False)
    cpu = torch.device("cpu")
    for level, best in (("SSE41", "torch"), ("AVX2", "avx2"), ("AVX512_CORE", "avx512")):
        monkeypatch.setattr(kernel_module, "onednn_level", lambda level=level: level)
        assert kernel_name(cpu, "fp32") == (best if best in ("torch", *HERE) else max(FP32, default="torch"))
        assert kernel_name(cpu, "bf16") == "torch"


@pytest.fixture
def fresh_library(monkeypatch: pytest.MonkeyPatch):
    """The library is looked for anew, and after the test again."""
    native._load.cache_clear()
    variant.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    native._load.cache_clear()
    variant.cache_clear()


def test_a_library_that_is_missing_damaged_or_older_is_left_out_with_a_reason(fresh_library, tmp_path) -> None:
    library = tmp_path / "kernels.so"
    fresh_library.setattr(native, "FILE", library)
    assert find_kernel(torch.float32) is None
    assert "not built" in str(native.why_missing())
    library.write_bytes(native.FILE.read_bytes()[:1000] if native.FILE.is_file() else b"\x7fELF")
    native._load.cache_clear()
    assert find_kernel(torch.float32) is None
    assert "cannot be loaded here" in str(native.why_missing())
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is not None:
        (tmp_path / "old.c").write_text('const char *charlm_sources(void) { return "0"; }')
        subprocess.run([compiler, "-shared", "-fPIC", tmp_path / "old.c", "-o", library], check=True)
        native._load.cache_clear()
        assert find_kernel(torch.float32) is None
        assert "another version" in str(native.why_missing())


def test_a_library_of_other_sources_is_refused(fresh_library) -> None:
    fresh_library.setattr(native, "_sources", lambda: "0" * 64)
    assert find_kernel(torch.float32) is None
    assert "another version" in str(native.why_missing())
    fresh_library.setattr(native, "_sources", lambda: "")  # an installation has no sources
    native._load.cache_clear()
    assert native.why_missing() is None


def test_an_instruction_that_the_processor_lacks_ends_nothing() -> None:
    """The check that every variant passes before it is used, on a function that is nothing but such an instruction."""
    library, _ = native._load()
    assert library is not None
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code = ctypes.addressof(ctypes.c_char.from_buffer(page))
    for instructions, ends in ((b"\x0f\x0b", 0), (b"\xc3", 1)):  # ud2; ret
        page[: len(instructions)] = instructions
        assert library.charlm_ends(ctypes.c_void_p(code)) == ends


# ---- sanitizers ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_byte_outside_and_nothing_undefined(tmp_path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    library = tmp_path / "kernels.so"
    options = [
        f'-DCHARLM_SOURCES="{native._sources()}"',
        "-std=c++17",
        "-O1",
        "-g",
        "-fPIC",
        "-shared",
        "-fvisibility=hidden",
        "-pthread",
    ]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = sorted(map(str, (ROOT / "charlm/native").glob("*.cpp")))
    subprocess.run([compiler, *options, *sanitizers, *sources, "-o", str(library)], check=True, capture_output=True)
    program = f"""
import pathlib
from charlm import native
native.FILE = pathlib.Path({str(library)!r})
from tests.charlm.native.test_kernels import HERE, Case, kernel_of
native._PRODUCTS_OF_A_THREAD = 1
import torch
torch.set_num_threads(2)
assert not native.why_missing()
for name in ["float64", *HERE]:
    for steps, batch, hidden in [(1, 1, 1), (3, 1, 16), (2, 13, 90), (4, 7, 33), (2, 5, 300)]:
        for by_rows in (True, False):
            Case(steps, batch, hidden).results(kernel_of(name), by_rows=by_rows)
    for rows, classes in [(1, 1), (3, 37), (70, 2000)]:
        kernel = kernel_of(name)
        logits, bias = torch.zeros(rows, classes, dtype=kernel.element), torch.zeros(classes, dtype=kernel.real)
        kernel.softmax(logits, bias, torch.full((rows,), classes - 1), scale=1)
print("clean", *HERE)
"""
    runtimes = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = os.environ | {"LD_PRELOAD": " ".join(runtimes), "ASAN_OPTIONS": "detect_leaks=0"}
    outcome = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    assert outcome.stdout.split() == ["clean", *HERE]
