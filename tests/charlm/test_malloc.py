"""The memory that is kept between the steps of some work."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from charlm.malloc import give_back_freed_memory, keep_freed_memory

def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"x" * (40 << 20) for _ in range(5)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with keep_freed_memory():
    with keep_freed_memory():
        faults_of_a_step()
    print(faults_of_a_step() < 5_000)
    give_back_freed_memory()
    print(faults_of_a_step() < 5_000)
print(faults_of_a_step() < 5_000)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries handle memory their own way")
@pytest.mark.parametrize(("variables", "is_kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_freed_memory_is_kept_until_the_end(variables: dict[str, str], is_kept: bool):
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )

    # A step takes 50,000 pages; what was kept is given back on request, and at the end.
    assert process.stdout.split() == [str(is_kept), "False", "False"]
