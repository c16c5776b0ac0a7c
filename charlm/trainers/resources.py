"""Full disks and full memories as one clear line each."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from charlm.errors import RunError


@contextmanager
def clear_resource_errors(folder: Path, device: str) -> Iterator[None]:
    """Raise RunError, one line that says what to do, where the block runs out of memory or of disk space."""
    memory = "lower hidden_size, mini_batch_size or sequence_length, or the size of the shards"
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(f"the memory of {device} is full; {memory}") from error
    except MemoryError as error:
        raise RunError(f"memory is full; {memory}") from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # how torch says it on the CPU
            raise
        raise RunError(f"memory is full; {memory}") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError(f"the disk of {folder} is full; free some space, then resume") from error
