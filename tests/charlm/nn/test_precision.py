"""The precision and instruction set of a processor: what oneDNN itself says and does, under its own limit too."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from charlm.nn import precision
from charlm.nn.precision import can_compute_bf16, instruction_set, precision_notice, resolve_precision
from tests.precision import CPU

pytestmark = pytest.mark.numeric

ROOT = Path(__file__).parent.parent
needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have no such limit")

# A product makes oneDNN, which is talkative here, say at which level it works.
LIMITED = """
import json, torch
from charlm.nn.precision import instruction_set, onednn_level, resolve_precision
cpu = torch.device("cpu")
torch.nn.LSTM(4, 4)(torch.zeros(2, 1, 4))
found = [resolve_precision(name, cpu) for name in ("auto", "bf16", "fp32")]
print(json.dumps([onednn_level(), instruction_set(cpu), found]))
"""


@needs_x86
@pytest.mark.parametrize(
    ("limit", "level", "name"),
    [("SSE41", "SSE41", "Intel SSE4.1"), ("avx", "AVX", "Intel AVX"), ("AVX2", "AVX2", "Intel AVX2")],
)
def test_below_avx512_no_bf16_is_tried_and_the_level_is_what_onednn_says(limit, level, name):
    variables = {"ONEDNN_MAX_CPU_ISA": limit, "ONEDNN_VERBOSE": "1", "ATEN_CPU_CAPABILITY": "default"}
    process = subprocess.run(
        [sys.executable, "-c", LIMITED],
        env=os.environ | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    *verbose, result = process.stdout.splitlines()
    assert json.loads(result) == [level, f"torch DEFAULT, oneDNN {level}", ["fp32", "fp32", "fp32"]]
    assert any(line.endswith(f"isa:{name}") for line in verbose)


@needs_x86
@pytest.mark.parametrize(
    ("limit", "level"),
    [
        ("", "AVX512_CORE_BF16"),
        ("DEFAULT", "AVX512_CORE_BF16"),
        ("AVX10_1_512", "AVX512_CORE_BF16"),
        ("AVX512_CORE_AMX_FP16", "AVX512_CORE_BF16"),
        ("AVX512_CORE_BF16", "AVX512_CORE_BF16"),
        ("avx512_core", "AVX512_CORE"),
        ("AVX2_VNNI_2", "AVX2"),
        ("SSE41", "SSE41"),
    ],
)
def test_a_level_between_two_counts_as_the_lower_and_one_that_is_missing_as_no_limit(monkeypatch, limit, level):
    capabilities = ("sse4_1", "avx", "avx2", "avx512_dq", "avx512_vnni", "avx512_bf16")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(capabilities, True))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert precision.onednn_level() == level


@pytest.mark.parametrize(
    ("level", "works", "auto", "bf16"),
    [
        ("AVX512_CORE_BF16", True, "bf16", "bf16"),
        ("AVX512_CORE", True, "fp32", "bf16"),  # computed, but not faster
        ("AVX2", False, "fp32", "fp32"),
        ("AVX512_CORE_BF16", False, "fp32", "fp32"),  # a trial decides
        (None, True, "fp32", "bf16"),
    ],
)
def test_auto_is_bf16_only_where_it_is_native_and_bf16_only_where_it_works(monkeypatch, level, works, auto, bf16):
    monkeypatch.setattr(precision, "onednn_level", lambda: level)
    monkeypatch.setattr(precision, "_cpu_computes_bf16", lambda: works)
    assert [resolve_precision(asked, CPU) for asked in ("auto", "bf16", "fp32")] == [auto, bf16, "fp32"]


def test_the_trial_leaves_random_numbers_as_they_are():
    precision._cpu_computes_bf16.cache_clear()
    torch.manual_seed(1)
    can_compute_bf16(CPU)
    assert torch.initial_seed() == 1
    found = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(found, torch.rand(3))


def test_there_is_something_to_say_only_where_another_precision_is_used_than_expected():
    assert precision_notice("auto", "fp32", CPU) is None
    assert precision_notice("bf16", "bf16", CPU, before="bf16") is None
    assert precision_notice("bf16", "fp32", CPU) == (
        f"precision=bf16 is not possible on this cpu ({instruction_set(CPU)}), so fp32 is used: exact, and slower than "
        "bf16 elsewhere"
    )
    assert "was in bf16 so far and goes on in fp32" in str(precision_notice("auto", "fp32", CPU, before="bf16"))
