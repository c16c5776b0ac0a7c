"""The list of all commands, which is built without them."""

import pytest

from flows.cli.app import app, main


def test_the_list_of_commands_needs_none_of_their_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    with pytest.raises(SystemExit):
        app(["--help"], prog_name="charlm")
    assert capsys.readouterr().out == listed
