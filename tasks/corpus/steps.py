"""How the steps of a preparation are run: called in this process, or as Prefect tasks (see tasks/steps.py)."""

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import ParamSpec, Protocol, TypeVar

from charlm.artifacts import CorpusFiles
from charlm.distributed.watchdog import PARENT_VARIABLE, end_with_parent
from charlm.text.corpus.groups import Awaited, Workers
from charlm.text.corpus.text_files import FileBatch, TextFile, in_batches
from charlm.text.sources.raw import Source
from tasks.terminal import counted, terminal

_BYTES_FOR_PROCESSES = 100_000_000  # below this much text, starting processes costs more than they save
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


FileStep = Callable[[CorpusFiles, FileBatch, T], list[bool]]
"""A step for a batch of files, and a setting that it needs; false for each file for which it was done before."""


class ForEach(Protocol):
    """Runs a step for many files of a corpus, on several workers."""

    def __call__(self, title: str, step: FileStep[T], files: Sequence[TextFile], setting: T) -> None:
        """Run `step` with `setting` on every file, a batch at a time, and report how many were new."""


class CorpusSteps(Protocol):
    """Runs the steps of `prepare_corpus`."""

    def call(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of one step."""

    def readers(self, sources: Sequence[Source]) -> AbstractContextManager[Workers | None]:
        """Workers that read the sources of a split, where there is enough to read."""

    def workers(self, corpus: CorpusFiles) -> AbstractContextManager[ForEach]:
        """Workers for the files of `corpus`."""


class _CalledHere:
    def call(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return step(*args, **kwargs)

    @contextmanager
    def readers(self, sources: Sequence[Source]) -> Iterator[Workers | None]:
        num_processes = len(os.sched_getaffinity(0))
        if num_processes == 1 or sum(source.size or 0 for source in sources) <= _BYTES_FOR_PROCESSES:
            yield None
            return
        with reading_processes(num_processes) as workers:
            yield workers

    @contextmanager
    def workers(self, corpus: CorpusFiles) -> Iterator[ForEach]:
        with _pool(corpus) as pool:

            def for_each(title: str, step: FileStep[T], files: Sequence[TextFile], setting: T) -> None:
                with terminal.step(title) as bar:
                    futures = [pool.submit(step, corpus, batch, setting) for batch in in_batches(files)]
                    results: list[bool] = []
                    for future in futures:
                        results += future.result()
                        bar.update(len(results) / len(files))
                    bar.finish(new_and_reused(results))

            yield for_each


CALLED_HERE: CorpusSteps = _CalledHere()
"""Runs every step in this process, and those of many files in a pool of it."""


class _PoolWorkers:
    are_here = True

    def __init__(self, pool: Executor, number: int) -> None:
        self._pool = pool
        self.groups_ahead = number + 1  # so that none waits while the documents of a group are taken

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Awaited[R]:
        return self._pool.submit(function, *args, **kwargs)


@contextmanager
def reading_processes(number: int) -> Iterator[Workers]:
    """So many processes of this machine, which end with this one."""
    with ProcessPoolExecutor(number, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        yield _PoolWorkers(pool, number)


def _end_with(parent: int) -> None:
    os.environ[PARENT_VARIABLE] = str(parent)
    end_with_parent(lambda: os._exit(1))
    gc.freeze()  # looking for garbage among the objects of the parent would copy their pages


def _pool(corpus: CorpusFiles) -> Executor:
    num_bytes = sum(path.stat().st_size for path in corpus.shards())
    workers = len(os.sched_getaffinity(0))
    return ProcessPoolExecutor(workers) if num_bytes > _BYTES_FOR_PROCESSES else ThreadPoolExecutor(workers)


def new_and_reused(results: Sequence[bool]) -> str:
    """`[True, False] -> "1 file, reused 1"`."""
    num_new = sum(results)
    new = [counted(num_new, "file")] if num_new else []
    return ", ".join([*new, f"reused {len(results) - num_new:,}"] if num_new < len(results) else new)
