"""Each process of a training shows that it is alive, and notices when another one is not.

A thread counts up a number in the store and reads those of the others. One that stands still for the peer timeout
belongs to a process that hangs, was stopped, or cannot be reached; one that reports its failure has ended. Then the
main thread gets PeerSilentError or PeerLostError wherever it is in Python, through a signal. Where it waits for a
message in torch, torch's own timeout, which is as long, frees it; and where nothing does, the process ends.
"""

import os
import signal
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

from charlm.errors import CharLMError, PeerFailedError, PeerLostError, PeerSilentError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

PEER_LOST = 3
"""Exit code of a process whose peer has ended; the peer's own exit code gives the reason."""
PEER_SILENT = 4
"""Exit code of a process whose peer did not answer in time."""

BEAT_SECONDS = 2.0
_STORE_GRACE_SECONDS = 5.0  # process 0, which holds the store, may have ended as this process is about to
_EXIT_SECONDS = 8.0  # for the main thread to end by itself
_FAREWELL_SECONDS = 1.5 * BEAT_SECONDS  # in which the others read the reason
_ENDED, _FAILED = "ended", "failed:"


class Heartbeat:
    """Beats for process `rank` from its making until `stop`, and watches the others.

    Args:
        store: a connection of its own, because a request blocks others on the same one.
        rank: number of this process.
        world_size: number of all processes.
        limit: seconds without a beat after which a process counts as lost.
    """

    def __init__(self, store: "Store", *, rank: int, world_size: int, limit: float) -> None:
        self._store = store
        self._rank = rank
        self._peers = [peer for peer in range(world_size) if peer != rank]
        self._limit = limit
        self._count = 0
        self._stopped = threading.Event()
        self._error: PeerLostError | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._beat("0")

    def start(self) -> None:
        """Begin; all processes have been made before."""
        self._signal_before = signal.signal(signal.SIGUSR2, self._raise)
        self._thread.start()

    def stop(self, error: BaseException | None) -> None:
        """End, and show the others whether this process has failed: then they end too, for the same reason."""
        self._stopped.set()
        self._thread.join(timeout=2 * BEAT_SECONDS)
        signal.signal(signal.SIGUSR2, self._signal_before)
        is_own = isinstance(error, CharLMError) and not isinstance(error, PeerLostError)
        if self._thread.is_alive():  # it waits for a store that does not answer, and so would this
            return
        with suppress(RuntimeError):  # process 0 may have ended before, and its store with it
            self._beat(_ENDED if error is None else f"{_FAILED}{error if is_own else ''}")
        if is_own:
            time.sleep(_FAREWELL_SECONDS)

    def _beat(self, text: str) -> None:
        self._store.set(f"beat/{self._rank}", text)

    def _run(self) -> None:
        last_seen: dict[int, str] = {}
        silent_for = dict.fromkeys(self._peers, 0.0)
        looked = time.monotonic()
        while not self._stopped.wait(BEAT_SECONDS):
            self._count += 1
            try:
                self._beat(str(self._count))
                beats = self._store.multi_get([f"beat/{peer}" for peer in self._peers])
            except RuntimeError as error:
                self._store_lost(error, time.monotonic() - looked)
                return
            now = time.monotonic()
            # A process that was stopped itself has not looked, so it cannot tell.
            passed, looked = min(now - looked, 2 * BEAT_SECONDS), now
            for peer, beat in zip(self._peers, (beat.decode() for beat in beats), strict=True):
                is_new = beat != last_seen.get(peer)
                silent_for[peer] = 0.0 if is_new or beat == _ENDED else silent_for[peer] + passed
                last_seen[peer] = beat
                if beat.startswith(_FAILED):
                    reason = beat.removeprefix(_FAILED)
                    failed = PeerLostError(f"process {peer} of this training has failed")
                    self._report(PeerFailedError(reason) if reason else failed)
                    return
                if silent_for[peer] > self._limit:
                    self._report(PeerSilentError(f"process {peer} of this training does not answer"))
                    return

    def _store_lost(self, error: RuntimeError, waited: float) -> None:
        if self._stopped.wait(_STORE_GRACE_SECONDS):
            return
        kind = PeerSilentError if waited > self._limit else PeerLostError
        self._report(kind(f"process 0 of this training has gone: {str(error).splitlines()[0]}"))

    def _report(self, error: PeerLostError) -> None:
        """Raise `error` in the main thread, and end the process where that has no effect."""
        self._error = error
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
        if not self._stopped.wait(_EXIT_SECONDS):
            os._exit(PEER_SILENT if isinstance(error, PeerSilentError) else PEER_LOST)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._error is not None and not self._stopped.is_set():
            raise self._error
