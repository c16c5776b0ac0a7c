"""The memory that a training keeps between its steps."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from charlm.trainers.heap import keep_freed_memory

def held():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024

def use():
    blocks = [np.ones(40 << 20, dtype=np.uint8) for _ in range(5)]

before = held()
with keep_freed_memory():
    use()
    inside = held()
print(inside - before > 190, held() - before < 20)
use()
print(held() - before < 60)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries handle memory their own way")
@pytest.mark.parametrize(("variables", "is_kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_freed_memory_is_kept_until_the_end(variables: dict[str, str], is_kept: bool):
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )

    assert process.stdout.split() == [str(is_kept), "True", "True"]
