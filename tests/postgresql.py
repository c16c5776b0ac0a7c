"""A PostgreSQL server of the tests' own, from Debian's package: a new cluster in a folder, dropped after."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

USER, _SUPERUSER = "charlm", "postgres"


@contextmanager
def postgresql_server(*databases: str) -> Iterator[str]:
    """The address `postgresql://USER@HOST:PORT` of a running server that holds these databases, empty.

    The user owns them and may do nothing else. Skips the test where PostgreSQL is not installed. The server refuses to
    be root's, so root starts it as nobody.
    """
    programs = _programs()
    account = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="charlm-postgresql-"))
    if os.getuid() == 0:
        shutil.chown(folder, account)

    def run(program: str, *arguments: str) -> None:
        _run([str(programs / program), *arguments], folder, account)

    data = str(folder / "data")
    try:
        run("initdb", "--pgdata", data, "--username", _SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=300"
        run("pg_ctl", "start", "--wait", "--pgdata", data, "--log", str(folder / "log"), "--options", options)
        try:
            as_superuser = ("--host", "127.0.0.1", "--port", str(port), "--username", _SUPERUSER)
            run("createuser", *as_superuser, USER)
            for database in databases:
                run("createdb", *as_superuser, "--owner", USER, database)
            yield f"postgresql://{USER}@127.0.0.1:{port}"
        finally:
            run("pg_ctl", "stop", "--mode", "immediate", "--pgdata", data)
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    """The folder of PostgreSQL's programs, which Debian keeps out of the PATH."""
    newest = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
    found = shutil.which("initdb")
    if newest is None and found is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return newest or Path(str(found)).parent


def _run(command: Sequence[str], folder: Path, account: str) -> None:
    user = account if os.getuid() == 0 else None
    outcome = subprocess.run(
        command, cwd=folder, user=user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
