"""The child trainings of a session, and how they are stopped."""

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator
from types import FrameType

from tasks.services.gpus import GpuPool
from tasks.terminal import terminal


class Trainings:
    """The child processes that train, the flag that stops them, and the GPUs that they share."""

    def __init__(self) -> None:
        self.gpus = GpuPool()
        self.stop_flag = threading.Event()
        """Set when the trainings that started with it must end; later trainings get a new one."""

        self._children: dict[subprocess.Popen[bytes], bool] = {}
        """True for a child that was interrupted: a second signal would end it without a checkpoint."""

        self._lock = threading.RLock()  # a signal handler may take it again

    @property
    def are_running(self) -> bool:
        return bool(self._children)

    @contextlib.contextmanager
    def child(self, process: "subprocess.Popen[bytes]", stop_flag: threading.Event) -> Iterator[None]:
        """For the block, `process` is a training that `stop` reaches; it began under `stop_flag`."""
        with self._lock:
            self._children[process] = False
            if stop_flag.is_set():  # since it was started
                self._interrupt(process)
        try:
            yield
        finally:
            with self._lock:
                del self._children[process]

    def stop(self) -> None:
        """End every training with a checkpoint."""
        with self._lock:
            self.stop_flag.set()
            if self._children:
                terminal.print_line("stopping: a checkpoint is being written …")
            for child in self._children:
                self._interrupt(child)

    @contextlib.contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """For the block, the first Ctrl-C (or SIGTERM) ends the trainings with a checkpoint, the second ends all.

        Only in the main thread; elsewhere the signals keep their meaning.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(signum: int, frame: FrameType | None) -> None:
            is_second = self.stop_flag.is_set()
            self.stop_flag.set()  # before the check for trainings: one that ends meanwhile checks the flag
            if is_second or not self._children:
                raise KeyboardInterrupt
            self.stop()

        old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
            self._begin_anew()

    @contextlib.contextmanager
    def stopping_on_cancellation(self) -> Iterator[None]:
        """For the block, in which trainings run in other threads: what ends it from outside ends them too.

        Prefect cancels a flow by an exception in its main thread, which the threads of its tasks do not see.
        """
        try:
            yield
        except Exception:
            raise
        except BaseException:
            self.stop()
            self._begin_anew()
            raise

    def _interrupt(self, child: "subprocess.Popen[bytes]") -> None:
        if not self._children[child]:
            self._children[child] = True
            child.send_signal(signal.SIGINT)

    def _begin_anew(self) -> None:
        """Give later trainings a flag of their own; those that still end keep theirs."""
        if self.stop_flag.is_set():
            self.stop_flag = threading.Event()
