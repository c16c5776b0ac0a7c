"""`charlm backup FOLDER` and `charlm restore FOLDER`: a workspace with its databases, while the service runs.

Reads and writes the workspace, and with DATABASE the two databases of the servers (through pg_dump and pg_restore).
Writes FOLDER/backup.json               the SHA-256 of every file, and the versions of the servers
       FOLDER/workspace/...             the files of the workspace
       FOLDER/prefect.dump, mlflow.dump the databases, where they are PostgreSQL's

What points to something is saved before what it points to, which is never taken away: the databases first, then the
manifests, then the rest. So a backup of a busy workspace holds the past of the moment it began at, and perhaps some
files that nothing there speaks of. Left out is what makes itself again: encoded text, locks, logs, temporary files.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from charlm.artifacts import CorpusFiles, Workspace
from charlm.errors import ConfigError
from charlm.storage.atomic import atomic_folder, read_json, write_json
from charlm.storage.fingerprints import sha256_of
from charlm.text.corpus.manifest import load_manifest
from deployments.settings import ServiceSettings

_FORMAT = "charlm.backup/1"
_MANIFEST, _WORKSPACE, _DUMPS = "backup.json", "workspace", ("prefect.dump", "mlflow.dump")
_LEFT_OUT = {"encoded", "service"}


def save(settings: ServiceSettings, folder: Path) -> int:
    """Save workspace and databases to `folder`, which must not exist; the number of files.

    Raises ConfigError when there is nothing to save, or `folder` exists.
    """
    workspace = settings.workspace
    _check_is_here(settings)
    if not workspace.root.is_dir():
        raise ConfigError(f"there is no workspace {workspace.root}; set CHARLM_WORKSPACE to its folder")
    if folder.exists():
        raise ConfigError(f"{folder} exists; a backup needs a new folder")
    with atomic_folder(folder) as copy:
        target = copy / _WORKSPACE
        target.mkdir()
        for database in _sqlite_databases(workspace):
            _save_sqlite(database, target / database.relative_to(workspace.root))
        if settings.database is not None:
            for url, dump in zip(settings.database_urls(), _DUMPS, strict=True):
                _run_postgresql("pg_dump", url, "--format=custom", f"--file={copy / dump}")
        for path in sorted(_files(workspace), key=lambda path: (path.suffix != ".json", path)):
            _copy(path, target / path.relative_to(workspace.root))
        for manifest in target.glob("corpora/*/corpus.json"):
            _cut_to_manifest(CorpusFiles(manifest.parent))
        files = {str(path.relative_to(copy)): sha256_of(path) for path in sorted(copy.rglob("*")) if path.is_file()}
        servers = {name: version(name) for name in ("prefect", "mlflow")}
        write_json(copy / _MANIFEST, {"format": _FORMAT, "servers": servers, "files": files})
    return len(files)


def _check_is_here(settings: ServiceSettings) -> None:
    if settings.address is not None:
        raise ConfigError(
            f"the workspace {settings.address} is in an object store: back the bucket up by its own means (versioning,"
            f" replication), and {settings.workspace.root} with --workspace {settings.workspace.root}"
        )


def restore(settings: ServiceSettings, folder: Path) -> int:
    """Bring back what `save` has saved, to a workspace that does not exist yet; the number of files.

    Raises ConfigError when `folder` is not a complete backup, or the workspace exists.
    """
    _check_is_here(settings)
    files = _checked_files(folder)
    root = settings.workspace.root
    if root.exists():
        raise ConfigError(f"{root} exists; move it away, or name another workspace with CHARLM_WORKSPACE")
    dumps = [folder / dump for dump in _DUMPS if dump in files]
    if bool(dumps) != (settings.database is not None):
        raise ConfigError(
            f"the databases in {folder} are {'PostgreSQL' if dumps else 'SQLite'}'s;"
            f" {'set DATABASE to the server that they are restored to' if dumps else 'unset DATABASE'}"
        )
    with atomic_folder(root) as copy:
        shutil.copytree(folder / _WORKSPACE, copy, dirs_exist_ok=True)
        for url, dump in zip(settings.database_urls(), dumps, strict=False):
            _run_postgresql("pg_restore", url, "--no-owner", "--exit-on-error", "--single-transaction", str(dump))
    return len(files)


def _checked_files(folder: Path) -> dict[str, str]:
    """The files of a backup and their SHA-256; raises ConfigError when one is missing or not as it was."""
    if not (folder / _MANIFEST).is_file():
        raise ConfigError(f"{folder} is not a backup: it has no {_MANIFEST}")
    manifest = read_json(folder / _MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise ConfigError(f"{folder / _MANIFEST} is of another format than {_FORMAT}")
    files: dict[str, str] = manifest["files"]
    for name, digest in files.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            raise ConfigError(f"the backup {folder} is damaged: {name} is not what was saved; use another one")
    return files


# ---- files ---------------------------------------------------------------------------------------------------------


def _sqlite_databases(workspace: Workspace) -> list[Path]:
    found = [workspace.mlflow_db, workspace.prefect_home / "prefect.db", workspace.service.mlflow_users]
    return [path for path in found if path.is_file()]


def _files(workspace: Workspace) -> Iterator[Path]:
    """The files to save that are no databases; hidden ones are locks and what is being written."""
    for folder, names, files in os.walk(workspace.root):
        names[:] = [name for name in names if not name.startswith(".") and name not in _LEFT_OUT]
        for name in files:
            if not name.startswith((".", workspace.mlflow_db.name)):
                yield Path(folder, name)


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copy2(path, target)
    except FileNotFoundError:  # taken away since it was listed, as a run folder that never began is
        target.unlink(missing_ok=True)


def _cut_to_manifest(corpus: CorpusFiles) -> None:
    """Take away what a revision has brought since the manifest was saved: held-out text grows, and shards are new."""
    known = load_manifest(corpus).files
    for name, record in known.items():
        os.truncate(corpus.root / name, record.end)
    for shard in corpus.shards():
        if str(shard.relative_to(corpus.root)) not in known:
            shard.unlink()


# ---- databases -----------------------------------------------------------------------------------------------------


def _save_sqlite(database: Path, target: Path) -> None:
    """Copy a database as it is at one moment, however busy it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def _run_postgresql(program: str, url: str, *arguments: str) -> None:
    """Run `pg_dump` or `pg_restore` on the database at `url`, a SQLAlchemy address."""
    parts = urlsplit(url)
    place = f"{parts.username}@{parts.netloc.rpartition('@')[2]}" if parts.username else parts.netloc
    address = parts._replace(scheme="postgresql", netloc=place).geturl()  # a command line is for all to read
    password = {"PGPASSWORD": unquote(parts.password)} if parts.password else {}
    try:
        outcome = subprocess.run(
            [program, f"--dbname={address}", *arguments], env={**os.environ, **password}, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise ConfigError(f"{program} is not installed; it comes with PostgreSQL's client programs") from error
    if outcome.returncode != 0:
        lines = outcome.stderr.strip().splitlines()
        reason = next(
            (line for line in lines if "error:" in line), lines[-1] if lines else f"exit {outcome.returncode}"
        )
        raise ConfigError(f"{program} on {parts.path.removeprefix('/')}: {reason.removeprefix(f'{program}: ')}")
