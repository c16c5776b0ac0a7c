"""The one place that writes to the terminal: bars and lines on a terminal, a few plain lines elsewhere.

Everything goes to stderr, because stdout belongs to results. Steps that run in several threads share the one
`terminal`. Each line also goes to the logger `charlm`, which Prefect forwards to the log of the run.
"""

import logging
import os
import re
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from charlm.errors import CharLMWarning

if TYPE_CHECKING:
    from charlm.evaluation.scores import ScoreValues

_PLAIN_SECONDS = 20.0  # between two plain lines of one unfinished step
_SILENT_SECONDS = 1.0  # of a wait that is not worth a word
_WIDE, _WIDE_BAR, _NARROW_BAR = 120, 24, 8  # columns
ShownScore = Literal["bits_per_character", "bits_per_byte", "perplexity", "unk_rate"]
SHOWN_SCORES: dict[ShownScore, str] = {
    "bits_per_character": "bits/character",
    "bits_per_byte": "bits/byte",
    "perplexity": "perplexity",
    "unk_rate": "<unk>",
}
"""The scores that tables show, and their headings."""
_LOGGER = logging.getLogger("charlm")


class Bar(Protocol):
    """The progress of one step."""

    def update(self, share: float | None = None, *notes: str) -> None:
        """Show the share of the step that is done (0 to 1; none if unknown), and short notes, what matters first."""

    def quote(self, text: str) -> None:
        """Show a sample of text below the bars, until the next one."""

    def finish(self, note: str) -> None:
        """Set the note of the line that remains when the block ends."""


class Terminal:
    """Lines and bars on stderr, from any thread."""

    def __init__(self) -> None:
        # What a user has named appears as it is, in tables too: `[bold]` and `:smile:` are no markup.
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
        # Of all that changes how many lines of bars there are, and of every line: whoever prints a line first moves the
        # cursor up by the lines that were drawn last, which a redraw of another thread must not change meanwhile.
        self._lock = threading.RLock()
        self._progress: Progress | None = None
        self._num_open = 0

    def print_line(self, line: str) -> None:
        """Print one line, and log it."""
        line = "".join(map(_visible, line))
        _LOGGER.setLevel(logging.INFO)
        _LOGGER.info("%s", line)
        with self._lock:
            self.console.print(line, markup=False)

    @contextmanager
    def step(self, title: str) -> Iterator[Bar]:
        """A step with a bar; when the block succeeds, one line remains with its title, its note and its time."""
        started = time.monotonic()
        if self.console.is_terminal:
            with self._live() as progress:
                live_bar = _LiveBar(progress, title, self._lock)
                try:
                    yield live_bar
                finally:
                    live_bar.remove()
            note = live_bar.note
        else:
            plain_bar = _PlainBar(self, title)
            yield plain_bar
            note = plain_bar.note
        seconds = time.monotonic() - started
        self.print_line(f"✓ {title}{': ' if note else ''}{note} ({_duration(seconds)})")

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Say what a block that takes longer than a second waits for; nothing of it remains."""
        if not self.console.is_terminal:
            yield
            return
        status = self.console.status(f"{what} ...")
        later = threading.Timer(_SILENT_SECONDS, status.start)
        later.start()
        try:
            yield
        finally:
            later.cancel()
            later.join()
            status.stop()

    @contextmanager
    def _live(self) -> Iterator[Progress]:
        """The display that all open bars share; it is shown while at least one of them is open."""
        with self._lock:
            if self._progress is None:
                self._progress = _StepProgress(self.console)
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


class _StepProgress(Progress):
    """A line for each open step, and below them the quoted sample of each."""

    def __init__(self, console: Console) -> None:
        is_wide = console.width >= _WIDE
        self._taken = len("    100%  ") + (_WIDE_BAR + len("0:00:00 ") if is_wide else _NARROW_BAR)
        super().__init__(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=_WIDE_BAR if is_wide else _NARROW_BAR),
            TextColumn("{task.fields[percentage]:>4}", markup=False),
            *([TimeElapsedColumn()] if is_wide else []),
            _NotesColumn(self),
            console=console,
            transient=True,
            refresh_per_second=4,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            if task.fields.get("quote"):
                quote = " ".join(task.fields["quote"].split())
                yield Text(f"  {task.description}: “{quote}”", style="dim", no_wrap=True, overflow="ellipsis")

    @property
    def room_for_notes(self) -> int:
        titles = max(cell_len(task.description) for task in self.tasks)
        return self.console.width - titles - self._taken


class _NotesColumn(ProgressColumn):
    """The notes of a step, as many as there is room for."""

    def __init__(self, progress: _StepProgress) -> None:
        super().__init__()
        self._progress = progress

    def render(self, task: Task) -> Text:
        room = self._progress.room_for_notes
        shown = ""
        for note in task.fields["notes"]:
            longer = f"{shown}, {note}" if shown else note
            if shown and cell_len(longer) > room:
                break
            shown = longer
        return Text(shown, no_wrap=True, overflow="ellipsis")


class _LiveBar:
    """What changes the number of lines is drawn at once, under the lock of the terminal."""

    def __init__(self, progress: Progress, title: str, lock: threading.RLock) -> None:
        self.note = ""
        self._progress = progress
        self._lock = lock
        with lock:
            self._task: TaskID = progress.add_task(title, total=None, notes=(), percentage="")
            progress.refresh()

    def update(self, share: float | None = None, *notes: str) -> None:
        if share is None:
            self._progress.update(self._task, notes=notes)
        else:
            self._progress.update(self._task, total=1.0, completed=share, notes=notes, percentage=f"{share:.0%}")

    def quote(self, text: str) -> None:
        with self._lock:
            self._progress.update(self._task, quote=text)
            self._progress.refresh()

    def remove(self) -> None:
        with self._lock:
            self._progress.remove_task(self._task)
            self._progress.refresh()

    def finish(self, note: str) -> None:
        self.note = note


class _PlainBar:
    def __init__(self, terminal: Terminal, title: str) -> None:
        self.note = ""
        self._terminal = terminal
        self._title = title
        self._last_line = time.monotonic()

    def update(self, share: float | None = None, *notes: str) -> None:
        now = time.monotonic()
        if now - self._last_line >= _PLAIN_SECONDS:
            self._last_line = now
            shown = [f"{share:.0%}", *notes] if share is not None else notes
            self._terminal.print_line(f"  {self._title}: {', '.join(shown) or 'running'}")

    def quote(self, text: str) -> None:
        """Nothing: a plain line is too short for it, and the journal has it."""

    def finish(self, note: str) -> None:
        self.note = note


def _visible(character: str) -> str:
    """A character as it is; an escape for one that a terminal would obey, or cannot show."""
    return character if character.isprintable() or character in "\n\t" else repr(character)[1:-1]


def counted(number: int, noun: str) -> str:
    """`(1, "shard") -> "1 shard"`, `(2000, "shard") -> "2,000 shards"`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clock(seconds: float) -> str:
    """`72 -> "1:12"`, `3723 -> "1:02:03"`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _duration(seconds: float) -> str:
    """`3.2 -> "3.2 s"`, `75 -> "1 min 15 s"`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def score_table(scores: Mapping[str, Mapping[str, "ScoreValues"]]) -> Table:
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


def domain_table(scores: Mapping[str, Mapping[str, Mapping[str, "ScoreValues"]]]) -> Table:
    """A table of test scores by direction and domain, before and after a fine-tuning."""
    compared: tuple[ShownScore, ...] = ("bits_per_byte", "unk_rate")
    table = Table("direction", "domain", box=SIMPLE_HEAD)
    for heading in ("bits/byte before", "after", "<unk> before", "after"):
        table.add_column(heading, justify="right")
    for direction, domains in scores.items():
        for domain, moments in domains.items():
            cells = [shown_score(name, moments[moment][name]) for name in compared for moment in ("before", "after")]
            table.add_row(direction, domain, *cells)
    return table


def shown_score(name: ShownScore, value: float | None) -> str:
    """A score for people: a share as a percentage, others with three decimals; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:.3%}" if name == "unk_rate" else f"{value:.3f}"


def print_result(result: RenderableType, *, markup: bool = False) -> None:
    """Print a table or a text, as a result, to standard output; `markup` is for our own texts only."""
    Console(highlight=False, soft_wrap=True, markup=False, emoji=False).print(result, markup=markup)


_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def write_stdout(text: str) -> None:
    """Write a result, whole, to standard output; OSError where that is closed or full.

    A terminal gets no control characters of user text; a file or another program gets the text as it is.
    """
    if sys.stdout is None:
        raise OSError("standard output is closed; the result was not shown")
    if sys.stdout.isatty():
        text = _CONTROLS.sub(lambda match: repr(match[0])[1:-1], text)
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError:  # the unwritten rest would fail again when the process exits, and change its exit code
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def write_lines(lines: Iterable[str]) -> None:
    """Write lines as a result; those too long for a terminal go on below their text, as in a table of two columns."""
    width = Console().width if sys.stdout is not None and sys.stdout.isatty() else 0
    write_stdout("\n".join(_wrapped(line, width) if 0 < width < cell_len(line) else line for line in lines))


_TITLE = re.compile(r"- |\s*\S+\s{2,}|\s*")


def _wrapped(line: str, width: int) -> str:
    title = _TITLE.match(line)
    indent = " " * (0 if title is None else title.end())
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


terminal = Terminal()


def show_warnings() -> None:
    """Print warnings of charlm as lines from now on; those of other libraries are shown as before."""
    if getattr(warnings.showwarning, "is_ours", False):
        return
    others = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, CharLMWarning):
            terminal.print_line(f"! {message}")
        else:
            others(message, category, filename, lineno, file, line)

    show.is_ours = True  # type: ignore[attr-defined]
    warnings.showwarning = show
