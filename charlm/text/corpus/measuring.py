"""The digest of a file, and the number of characters in it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class MeasuredFiles:
    """Files to measure, each with the first byte whose characters count."""

    files: tuple[tuple[Path, int], ...]

    @property
    def title(self) -> str:
        """How many, as none of them has its name yet."""
        return f"{len(self.files)} files"


def measure_files(files: MeasuredFiles) -> list[tuple[str, int]]:
    """Of each file the SHA-256, and the number of characters."""
    return [measure(path, start) for path, start in files.files]


def measure(path: Path, start: int) -> tuple[str, int]:
    """The SHA-256 of a file, and the number of characters from byte `start` on."""
    digest = hashlib.sha256()
    num_characters = position = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            added = np.frombuffer(block, dtype=np.int8)[max(start - position, 0) :]
            num_characters += int(np.count_nonzero(added >= -64))  # all bytes but the second to fourth of a character
            position += len(block)
    return digest.hexdigest(), num_characters
