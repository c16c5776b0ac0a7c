"""The processes of a training find each other, and agree on what they are, before they begin.

Process 0 opens the store at MASTER_ADDR:MASTER_PORT, unless torch's launcher has one there already, and all others
connect to it. Each leaves a note about itself; one that differs from process 0's ends the training with one line in
every process. So does a process that does not come in time.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch.distributed as dist

import charlm
from charlm.config.durations import duration, minutes_of
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

JOIN_TIMEOUT_VARIABLE = "CHARLM_JOIN_TIMEOUT_MINUTES"
_JOIN_TIMEOUT_MINUTES = 5.0
_POLL_SECONDS = 0.05
_LEAVING_SECONDS = 10.0
_FAREWELL_SECONDS = 1.0  # in which the others read why process 0 ends

_REMEDIES = {
    "charlm": "install the same version on all nodes",
    "torch": "install the same version on all nodes",
    "world_size": "give all nodes the same --num-nodes and --num-processes",
    "processes_of_node": "give all nodes the same --num-processes",
    "training": "give all nodes the same command, corpus and workspace",
}


def join_timeout_minutes() -> float:
    """How long a process waits for the others to come; CHARLM_JOIN_TIMEOUT_MINUTES, by default 5."""
    return minutes_of(JOIN_TIMEOUT_VARIABLE, _JOIN_TIMEOUT_MINUTES)


class MeetingPoint:
    """The store of a training, in which this process is `rank` of `world_size`."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank = rank
        self.world_size = world_size
        self._deadline = time.monotonic() + 60 * join_timeout_minutes()
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self._address = f"{host}:{port}"
        has_store = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        is_host = rank == 0 and not has_store
        if not is_host:
            self._wait_for_host(host, port)
        self.store = self._open(host, port, is_host=is_host)

    def client(self, timeout: timedelta) -> "Store":
        """Another connection, for another thread; from now on both wait no longer than `timeout` for an answer."""
        host, _, port = self._address.rpartition(":")
        client = self._open(host, int(port), is_host=False)
        for store in (self.store, client):
            store.set_timeout(timeout)
        return client

    def arrive(self, processes_of_node: int) -> None:
        """Wait for the others; raises ConfigError in all processes when one is missing, or is of another training."""
        if self.store.add(f"taken/{self.rank}", 1) > 1:
            raise ConfigError(
                f"process {self.rank} has come to {self._address} already; give each node a --node-rank of its own, "
                "and each training a port of its own"
            )
        self.agree(
            {
                "charlm": charlm.__version__,
                "torch": version("torch"),
                "world_size": self.world_size,
                "processes_of_node": processes_of_node,
            },
            step="arrival",
        )

    def agree(self, note: Mapping[str, object], *, step: str) -> None:
        """Raise ConfigError in all processes unless all leave the same note at this step."""
        self.store.set(f"{step}/{self.rank}", json.dumps(note))
        self._wait(lambda: self.store.check([f"{step}/0"]), f"process 0 has not come to {self._address}")
        expected = json.loads(self.store.get(f"{step}/0"))
        for name, value in note.items():
            if value != expected[name]:
                self._refuse(
                    f"process {self.rank} has {name} {value}, process 0 has {expected[name]}; {_REMEDIES[name]}"
                )
        self.store.add(f"{step}/agreed", 1)
        self._wait(
            lambda: self.store.add(f"{step}/agreed", 0) >= self.world_size,
            f"{{}} of {self.world_size} processes have come to {self._address}",
            count=lambda: self.store.add(f"{step}/agreed", 0),
        )

    def leave(self) -> None:
        """Say that this process needs the store no more; process 0, with which it may end, waits for the others."""
        self.store.add("left", 1)
        deadline = time.monotonic() + _LEAVING_SECONDS
        while self.rank == 0 and self.store.add("left", 0) < self.world_size and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def _wait(self, is_done: Callable[[], bool], missing: str, count: Callable[[], int] | None = None) -> None:
        while not is_done():
            if self.store.check(["refused"]):
                self._end(self.store.get("refused").decode())
            if time.monotonic() > self._deadline:
                came = missing if count is None else missing.format(f"only {count()}")
                self._refuse(f"{came} within {duration(join_timeout_minutes())} ({JOIN_TIMEOUT_VARIABLE})")
            time.sleep(_POLL_SECONDS)

    def _refuse(self, reason: str) -> None:
        self.store.set("refused", reason)
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self.rank == 0:
            time.sleep(_FAREWELL_SECONDS)
        raise ConfigError(reason)

    def _wait_for_host(self, host: str, port: int) -> None:
        """Wait until somebody listens there, quietly: torch's own attempts are loud."""
        while True:
            try:
                with socket.create_connection((host, port), timeout=5):
                    return
            except socket.gaierror as error:
                raise ConfigError(f"there is no host {host!r} for the rendezvous: {error.strerror}") from error
            except OSError as error:
                if time.monotonic() > self._deadline:
                    raise ConfigError(
                        f"nobody answers at the rendezvous {self._address} within {duration(join_timeout_minutes())} "
                        f"({JOIN_TIMEOUT_VARIABLE}): {error.strerror or error}; is node 0 running, and the port open?"
                    ) from error
            time.sleep(4 * _POLL_SECONDS)

    def _open(self, host: str, port: int, *, is_host: bool) -> "Store":
        timeout = timedelta(seconds=max(5.0, self._deadline - time.monotonic()))
        try:
            store: Store = dist.TCPStore(  # type: ignore[attr-defined]  # torch's names are made at run time
                host, port, None, is_host, timeout, wait_for_workers=False
            )
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            if "EADDRINUSE" in reason:
                raise ConfigError(
                    f"port {port} of the rendezvous {self._address} is in use on this machine; give another one"
                ) from error
            raise ConfigError(f"no training can be met at {self._address}: {reason[:200]}") from error
        attempt = (os.environ.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"))
        return prefixed("/".join(("charlm", *attempt)), store)


def prefixed(prefix: str, store: "Store") -> "Store":
    """The same store, where all names begin with `prefix`."""
    view: Store = dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]
    return view
