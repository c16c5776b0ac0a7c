"""What a person sees of long work: bars that fit the terminal, and lines where there is none."""

import io

import pytest
from rich.console import Console

from tasks.terminal import Terminal, _wrapped, clock

NOTES = ("1:12 left", "2.013 bits/char", "best 1.940", "85k char/s")


@pytest.fixture(autouse=True)
def terminal_that_moves_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def shown(width: int) -> list[str]:
    """The lines of two bars on a terminal of this width."""
    terminal, out = Terminal(), io.StringIO()
    terminal.console = Console(file=out, force_terminal=True, width=width, color_system=None, markup=False)
    with terminal.step("train demo forward") as forward, terminal.step("train cpu_small backward") as backward:
        for bar in (forward, backward):
            bar.update(0.42, *NOTES)
            bar.quote("the house was full of people " * 10)
        assert terminal._progress is not None
        frame = Console(file=io.StringIO(), width=width, color_system=None)
        with frame.capture() as captured:
            frame.print(terminal._progress.get_renderable())
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "notes"), [(80, NOTES[:3]), (100, NOTES), (140, NOTES)])
def test_a_bar_shows_what_matters_in_one_line(width: int, notes: tuple[str, ...]) -> None:
    lines = shown(width)
    assert len(lines) == 4  # two bars, two samples
    for line, title in zip(lines, ("train demo forward", "train cpu_small backward"), strict=False):
        assert line.split("━")[0].strip() == title
        assert line.rstrip().endswith(", ".join(notes))
        assert "42%" in line
        assert len(line.rstrip()) <= width
    assert all(line.rstrip().endswith("…") for line in lines[2:])


def test_without_a_terminal_a_line_says_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal().step("train demo forward") as bar:
        bar._last_line -= 60  # type: ignore[attr-defined]
        bar.update(0.42, *NOTES)
        bar.finish("done")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "  train demo forward: 42%, " + ", ".join(NOTES)
    assert lines[1].startswith("✓ train demo forward: done (")


def test_a_clock_has_hours_where_there_are_some() -> None:
    assert [clock(seconds) for seconds in (5, 72, 3723)] == ["0:05", "1:12", "1:02:03"]


def test_a_line_too_long_for_the_terminal_goes_on_below_its_text() -> None:
    long = "characters  144 distinct; dictionary 118 at 0.999, 135 at 0.9999"
    assert _wrapped(long, 40) == "characters  144 distinct; dictionary 118\n            at 0.999, 135 at 0.9999"
    assert _wrapped("- one two three", 9) == "- one two\n  three"
    assert _wrapped("/a/path/that/stays/whole in one", 10).splitlines() == ["/a/path/that/stays/whole", "in one"]


def test_a_closed_bar_is_erased_once() -> None:
    terminal, out = Terminal(), io.StringIO()
    terminal.console = Console(file=out, force_terminal=True, width=80, color_system=None, markup=False)
    with terminal.step("train forward") as forward:
        forward.quote("a sample")
        with terminal.step("train backward") as backward:
            backward.quote("a sample")
    before_line = out.getvalue().split("✓ train backward")[0]
    lines_of_the_other_bar = "\x1b[1A\x1b[2K"  # two; the four of both would erase what is above
    assert before_line.rsplit("\r\x1b[2K", 1)[1] == lines_of_the_other_bar
