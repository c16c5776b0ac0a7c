"""A process of a training notices when another one hangs, has ended well, or has failed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch.distributed as dist

from charlm.distributed.heartbeat import BEAT_SECONDS, Heartbeat
from charlm.errors import PeerFailedError, PeerLostError, PeerSilentError


@contextmanager
def heart(peer: str, limit: float) -> Iterator[dist.HashStore]:
    """The beats of process 0 beside a process 1 that shows `peer`."""
    store = dist.HashStore()
    heartbeat = Heartbeat(store, rank=0, world_size=2, limit=limit)
    store.set("beat/1", peer)
    heartbeat.start()
    try:
        yield store
    finally:
        heartbeat.stop(None)


@pytest.mark.parametrize(
    ("peer", "error", "text"),
    [
        ("7", PeerSilentError, "process 1 .* does not answer"),
        ("failed:the disk is full", PeerFailedError, "^the disk is full$"),
        ("failed:", PeerLostError, "process 1 .* has failed"),
    ],
)
def test_a_lost_process_is_an_error_of_the_main_thread(peer, error, text):
    with pytest.raises(error, match=text), heart(peer, limit=0.5 * BEAT_SECONDS):
        time.sleep(60)


def test_a_process_that_has_ended_well_may_be_silent():
    with heart("ended", limit=0.5 * BEAT_SECONDS) as store:
        time.sleep(2.5 * BEAT_SECONDS)
    assert store.get("beat/0") == b"ended"
