"""Out-of-memory and disk-full errors as one line with the remedy."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from charlm.errors import RunError


@contextmanager
def translate_resource_errors(folder: Path, device: str, *, needed: int | None = None) -> Iterator[None]:
    """Raise RunError, in one line with the remedy, when the block runs out of memory or of disk space.

    `needed` are the bytes that the block plans to need on `device`.
    """
    memory = "lower hidden_size, mini_batch_size or sequence_length, or the size of the shards"
    try:
        yield
    except torch.OutOfMemoryError as error:
        total = torch.cuda.mem_get_info(device)[1]
        plan = f"it has {_gigabytes(total)}" + ("" if needed is None else f", about {_gigabytes(needed)} are needed")
        raise RunError(f"the memory of {device} is full ({plan}); {memory}") from error
    except MemoryError as error:
        raise RunError(f"memory is full; {memory}") from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # torch's message on the CPU
            raise
        raise RunError(f"memory is full; {memory}") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError(f"the disk of {folder} is full; free some space, then resume") from error


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
