"""The one place that writes to the terminal: bars and lines on a terminal, sparse plain lines elsewhere.

Everything goes to stderr, because stdout belongs to results. Steps that run in several threads share the one
`terminal`. Each line also goes to the logger `charlm`, which Prefect forwards to the log of the run.
"""

import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from charlm.errors import CharLMWarning

_PLAIN_SECONDS = 20.0  # between two plain lines of one unfinished step
SHOWN_SCORES = {
    "bits_per_character": "bits/character",
    "bits_per_byte": "bits/byte",
    "perplexity": "perplexity",
    "unk_rate": "<unk>",
}
"""The scores that people are shown, and their headings."""
_LOGGER = logging.getLogger("charlm")


class Bar(Protocol):
    """The progress of one step."""

    def update(self, share: float | None = None, note: str = "") -> None:
        """Show that `share` of the step (0 to 1; unknown if none) is done, and a short note."""

    def quote(self, text: str) -> None:
        """Show a piece of text below the bars, until the next one."""

    def finish(self, note: str) -> None:
        """Set the note that stays beside the step when its block ends."""


class Terminal:
    """Lines and bars on stderr, from any thread."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._num_open = 0

    def say(self, line: str) -> None:
        """Print one line, and log it."""
        _LOGGER.setLevel(logging.INFO)
        _LOGGER.info("%s", line)
        self.console.print(line, markup=False)

    @contextmanager
    def step(self, title: str) -> Iterator[Bar]:
        """A step with a bar; when the block ends well, one line with its title, its note and its time stays."""
        started = time.monotonic()
        if self.console.is_terminal:
            with self._live() as progress:
                live_bar = _LiveBar(progress, title)
                try:
                    yield live_bar
                finally:
                    progress.remove_task(live_bar.task)
            note = live_bar.note
        else:
            plain_bar = _PlainBar(self, title)
            yield plain_bar
            note = plain_bar.note
        seconds = time.monotonic() - started
        self.say(f"✓ {title}{': ' if note else ''}{note} ({_duration(seconds)})")

    @contextmanager
    def _live(self) -> Iterator[Progress]:
        """The display that all open bars share; it is up while at least one of them is."""
        with self._lock:
            if self._progress is None:
                self._progress = _QuotingProgress(
                    TextColumn("  {task.description}", markup=False),
                    BarColumn(bar_width=28),
                    TextColumn("{task.fields[percentage]:>5}", markup=False),
                    TimeElapsedColumn(),
                    TextColumn("{task.fields[note]}", markup=False),
                    console=self.console,
                    transient=True,
                    refresh_per_second=4,
                )
                self._progress.start()
            self._num_open += 1
            progress = self._progress
        try:
            yield progress
        finally:
            with self._lock:
                self._num_open -= 1
                if self._num_open == 0:
                    progress.stop()
                    self._progress = None


class _QuotingProgress(Progress):
    """Bars, and below them what each of them quotes."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            if task.fields.get("quote"):
                quote = " ".join(task.fields["quote"].split())
                yield Text(f"  {task.description}: “{quote}”", style="dim", no_wrap=True, overflow="ellipsis")


class _LiveBar:
    def __init__(self, progress: Progress, title: str) -> None:
        self.note = ""
        self._progress = progress
        self.task: TaskID = progress.add_task(title, total=None, note="", percentage="")

    def update(self, share: float | None = None, note: str = "") -> None:
        if share is None:
            self._progress.update(self.task, note=note)
        else:
            self._progress.update(self.task, total=1.0, completed=share, note=note, percentage=f"{share:.0%}")

    def quote(self, text: str) -> None:
        self._progress.update(self.task, quote=text)

    def finish(self, note: str) -> None:
        self.note = note


class _PlainBar:
    def __init__(self, terminal: Terminal, title: str) -> None:
        self.note = ""
        self._terminal = terminal
        self._title = title
        self._last_line = time.monotonic()

    def update(self, share: float | None = None, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last_line >= _PLAIN_SECONDS:
            self._last_line = now
            shown = [f"{share:.0%}"] if share is not None else []
            self._terminal.say(f"  {self._title}: {', '.join([*shown, note] if note else shown) or 'at work'}")

    def quote(self, text: str) -> None:
        """Nothing: sparse lines have no room for it, and the journal has it."""

    def finish(self, note: str) -> None:
        self.note = note


def counted(number: int, noun: str) -> str:
    """`(1, "shard") -> "1 shard"`, `(2000, "shard") -> "2,000 shards"`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    """`3.2 -> "3.2 s"`, `75 -> "1 min 15 s"`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def score_table(scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    """A table of `{direction: {split: scores}}`, one row each."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("direction")
    table.add_column("text")
    for heading in SHOWN_SCORES.values():
        table.add_column(heading, justify="right")
    for direction, splits in scores.items():
        for split, values in splits.items():
            table.add_row(direction, split, *(shown_score(name, values[name]) for name in SHOWN_SCORES))
    return table


def domain_table(scores: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> Table:
    """A table of test scores by direction and domain, before and after a fine-tuning."""
    table = Table("direction", "domain", box=SIMPLE_HEAD)
    for heading in ("bits/byte before", "after", "<unk> before", "after"):
        table.add_column(heading, justify="right")
    for direction, domains in scores.items():
        for domain, moments in domains.items():
            cells = [
                shown_score(name, moments[moment][name])
                for name in ("bits_per_byte", "unk_rate")
                for moment in ("before", "after")
            ]
            table.add_row(direction, domain, *cells)
    return table


def labelled_line(prediction: Mapping[str, Any]) -> str:
    """A text and its labels: `I love Berlin  →  Berlin/LOC 0.98`."""
    labels = (f"{one['text']}/{one['value']} {one['confidence']:.2f}" for one in prediction["labels"])
    if [one["text"] for one in prediction["labels"]] == [prediction["text"]]:  # the label of the text itself
        labels = (f"{one['value']} {one['confidence']:.2f}" for one in prediction["labels"])
    return f"{prediction['text']}  →  {', '.join(labels) or '–'}"


def shown_score(name: str, value: float) -> str:
    """A score for eyes: a share as per cent, others with three decimals."""
    return f"{value:.3%}" if name == "unk_rate" else f"{value:.3f}"


def print_result(result: RenderableType, *, markup: bool = True) -> None:
    """Print a table or a text, as a result, to standard output."""
    Console(highlight=False, soft_wrap=True).print(result, markup=markup)


def write_stdout(text: str) -> None:
    """Write a result, whole, to standard output; OSError where that is closed or full."""
    if sys.stdout is None:
        raise OSError("standard output is closed; the result was not shown")
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError:  # what is left of it would fail again at the end of the process, and take its exit code
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


terminal = Terminal()


def show_warnings() -> None:
    """From here on show what the library warns of as a line; the warnings of others keep their way."""
    if getattr(warnings.showwarning, "is_ours", False):
        return
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, CharLMWarning):
            terminal.say(f"! {message}")
        else:
            others(message, category, *place, **more)

    show.is_ours = True  # type: ignore[attr-defined]
    warnings.showwarning = show
