"""The list of all commands, which is built without them, and the help that a wrong call names."""

import pytest

from flows.cli.app import app, main


def test_the_list_of_commands_needs_none_of_their_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    with pytest.raises(SystemExit):
        app(["--help"], prog_name="charlm")
    assert capsys.readouterr().out == listed


@pytest.mark.parametrize(
    ("arguments", "shows"),
    [
        (["prepar"], "charlm --help"),
        (["prepare", "text.txt"], "charlm prepare --help"),
        (["tag-train", "--no-such"], "charlm tag-train --help"),
        (["train", "books", "--max-minutes", "many"], "charlm train --help"),
    ],
)
def test_a_wrong_call_names_the_help_of_its_command(
    arguments: list[str], shows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith(f" ({shows} shows how)\n")


@pytest.mark.parametrize("command", ["run", "prepare", "filter"])
def test_bounds_stand_in_the_panel_of_what_is_kept(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    panel = shown.split("What is kept")[1].split("╰")[0]
    assert "--min-bits-per-byte" in panel
    assert "--max-bits-per-byte" in panel


def test_a_flag_has_no_type_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tag-train", "--help"])
    shown = capsys.readouterr().out
    assert "--resume" in shown
    assert "<path>" in shown
    assert "bool" not in shown
