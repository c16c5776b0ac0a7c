"""Digests that identify values and files."""

import hashlib
import json
from pathlib import Path

from xxhash import xxh3_128


def fingerprint(value: object) -> str:
    """16 hexadecimal digits that identify a JSON value; equal values have equal fingerprints."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def xxh3_of(path: Path) -> str:
    """The XXH3-128 of a file's bytes, in hexadecimal: it costs no more than reading them, and tells chance damage."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxh3_128).hexdigest()
