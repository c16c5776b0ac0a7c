"""Out-of-memory and disk-full errors as one line with the remedy."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from charlm.errors import RunError


@contextmanager
def translate_resource_errors(folder: Path, device: str) -> Iterator[None]:
    """Raise RunError, in one line with the remedy, when the block runs out of memory or of disk space."""
    memory = "lower hidden_size, mini_batch_size or sequence_length, or the size of the shards"
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(f"the memory of {device} is full; {memory}") from error
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
