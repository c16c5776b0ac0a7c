"""A PostgreSQL server of the tests' own, from Debian's package: a new cluster in a folder, dropped after."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER, _SUPERUSER = "charlm", "postgres"


@dataclass(frozen=True, kw_only=True)
class PostgreSQL:
    """A server that runs, and may be stopped and started again."""

    port: int
    folder: Path
    account: str
    """Whose processes it has."""

    @property
    def address(self) -> str:
        """`postgresql://USER@HOST:PORT`; the name of a database follows it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}"

    def start(self) -> None:
        folder = self.folder
        options = f"-p {self.port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=300"
        self._control("start", "--wait", "--log", str(folder / "log"), "--options", options)

    def stop(self) -> None:
        """End it as its administrator does in an upgrade: all connections are closed."""
        self._control("stop", "--mode", "fast")

    def _control(self, command: str, *options: str) -> None:
        self.run("pg_ctl", command, "--pgdata", str(self.folder / "data"), *options)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs."""
        command = [str(_programs() / program), *arguments]
        user = self.account if os.getuid() == 0 else None
        outcome = subprocess.run(
            command, cwd=self.folder, user=user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert outcome.returncode == 0, outcome.stderr


@contextmanager
def postgresql_server(*databases: str) -> Iterator[PostgreSQL]:
    """A running server that holds these databases, empty.

    The user owns them and may do nothing else. Skips the test where PostgreSQL is not installed. The server refuses to
    be root's, so root starts it as nobody.
    """
    _programs()
    account = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="charlm-postgresql-"))
    if os.getuid() == 0:
        shutil.chown(folder, account)
    server = PostgreSQL(port=port, folder=folder, account=account)
    try:
        cluster = ("--username", _SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        server.run("initdb", "--pgdata", str(folder / "data"), *cluster)
        server.start()
        as_superuser = ("--host", "127.0.0.1", "--port", str(port), "--username", _SUPERUSER)
        server.run("createuser", *as_superuser, USER)
        for database in databases:
            server.run("createdb", *as_superuser, "--owner", USER, database)
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.stop()
        shutil.rmtree(folder)


def _programs() -> Path:
    """The folder of PostgreSQL's programs, which Debian keeps out of the PATH."""
    newest = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
    found = shutil.which("initdb")
    if newest is None and found is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return newest or Path(str(found)).parent
