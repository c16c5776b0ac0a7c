"""Run pip and show how far it is: one line that changes on a terminal, a line now and then elsewhere.

    python deployments/pip_progress.py install -e .

It runs before anything is installed, and needs Python alone.
"""

import re
import subprocess
import sys
import threading
import time
from typing import IO

_PLAIN_SECONDS = 20.0  # between two lines where there is no terminal


class Progress:
    """What pip has done so far, read from its output."""

    def __init__(self) -> None:
        self.collected = 0
        self.to_install = 0

    def read(self, output: IO[str]) -> None:
        for line in output:
            if re.match(r"\s*Collecting ", line):
                self.collected += 1
            elif line.startswith("Installing collected packages: "):
                self.to_install = line.count(",") + 1

    def __str__(self) -> str:
        if self.to_install:
            return f"installing {self.to_install} packages"
        return f"{self.collected} packages collected"


def main() -> int:
    """Run pip with the arguments of this program, and return its exit code; what it says of errors is shown."""
    command = [sys.executable, "-m", "pip", "--no-color", *sys.argv[1:], "--progress-bar", "off"]
    started, shown = time.monotonic(), time.monotonic()
    progress = Progress()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as pip:
        assert pip.stdout is not None
        reader = threading.Thread(target=progress.read, args=[pip.stdout])
        reader.start()
        while reader.is_alive():
            reader.join(0.5)
            seconds = time.monotonic() - started
            line = f"  {progress}, {seconds // 60:.0f}:{seconds % 60:02.0f}"
            if sys.stderr.isatty():
                print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)
            elif time.monotonic() - shown >= _PLAIN_SECONDS:
                shown = time.monotonic()
                print(line, file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return pip.returncode


if __name__ == "__main__":
    sys.exit(main())
