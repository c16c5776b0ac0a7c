"""What `make backup` saves and `make restore` brings back."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from charlm.storage.atomic import read_json
from charlm.storage.fingerprints import sha256_of
from deployments.backup import restore, save
from deployments.settings import ServiceSettings
from tests.conftest import QUICK, Outcome, run_charlm, write_sentences
from tests.postgresql import postgresql_server


def settings(root: Path, **changes: str) -> ServiceSettings:
    return ServiceSettings(workspace=Workspace(root), **changes)


@pytest.fixture
def small(tmp_path: Path) -> ServiceSettings:
    """A workspace with one run folder and a database."""
    root = tmp_path / "workspace"
    (root / "runs" / "one").mkdir(parents=True)
    (root / "runs" / "one" / "journal.jsonl").write_text("{}\n")
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE runs (name TEXT)")
        database.execute("INSERT INTO runs VALUES ('one')")
    return settings(root)


def command(name: str, folder: Path | str, workspace: Path) -> Outcome:
    """What `make backup` and `make restore` call."""
    return run_charlm(name, folder, CHARLM_WORKSPACE=str(workspace))


# ---- what comes back -----------------------------------------------------------------------------------------------


@pytest.mark.service
def test_a_restored_workspace_serves_the_same_champion_and_reuses_its_trainings(trained_workspace, tmp_path):
    original, copied, backup = tmp_path / "original", tmp_path / "elsewhere" / "copied", tmp_path / "backup"
    shutil.copytree(trained_workspace.root, original)
    text = write_sentences(tmp_path / "few.txt", seed=9, num_lines=20)
    assert run_charlm("promote", "tiny", "--workspace", original).code == 0

    def vectors(workspace: Path) -> str:
        output = tmp_path / f"{workspace.name}.parquet"
        model = "models:/tiny@champion"
        outcome = run_charlm("embed", model, text, "--output", output, "--workspace", workspace)
        assert outcome.code == 0, outcome.stderr
        return sha256_of(output)

    before = vectors(original)
    saved = command("backup", backup, original)
    assert saved.code == 0, saved.stderr
    shutil.rmtree(original)
    restored = command("restore", backup, copied)
    assert restored.code == 0, restored.stderr
    assert vectors(copied) == before
    again = run_charlm("train", "tiny", *QUICK, "--resume", "--workspace", copied, "--json")
    assert again.code == 0, again.stderr
    assert Path(again.json["runs"]["forward"]["run_dir"]).parent == copied / "runs"
    assert len(list((copied / "runs").iterdir())) == 2  # the finished ones, none was trained again


def test_a_database_is_saved_while_it_is_written_to(small, tmp_path):
    with closing(sqlite3.connect(small.workspace.mlflow_db)) as database:
        database.execute("INSERT INTO runs VALUES ('half')")  # and no commit
        save(small, tmp_path / "backup")
        database.rollback()
    with closing(sqlite3.connect(tmp_path / "backup" / "workspace" / "mlflow.db")) as copy:
        assert copy.execute("SELECT name FROM runs").fetchall() == [("one",)]


def test_text_that_came_after_the_manifest_was_saved_is_cut_away(trained_workspace, tmp_path):
    """A revision that ends between the saving of its manifest and of its text leaves the earlier revision."""
    root = tmp_path / "workspace"
    shutil.copytree(trained_workspace.root / "corpora", root / "corpora")
    corpus = Workspace(root).corpus("tiny")
    before = corpus.valid.read_bytes()
    with corpus.valid.open("ab") as file:
        file.write(b"A line of the next revision.\n")
    corpus.shard(99).write_text("A shard of the next revision.\n")
    save(settings(root), tmp_path / "backup")
    restore(settings(tmp_path / "restored"), tmp_path / "backup")
    restored = Workspace(tmp_path / "restored").corpus("tiny")
    assert restored.valid.read_bytes() == before
    assert not restored.shard(99).exists()
    outcome = run_charlm("prepare", trained_workspace.text, "--name", "tiny", "--workspace", tmp_path / "restored")
    assert outcome.code == 0, outcome.stderr


def test_postgresql_databases_are_saved_and_restored_into_empty_ones(small, tmp_path):
    import psycopg

    with postgresql_server("old_prefect", "old_mlflow", "new_prefect", "new_mlflow") as server:
        address = server.address
        for name in ("prefect", "mlflow"):
            with psycopg.connect(f"{address}/old_{name}") as connection:
                connection.execute("CREATE EXTENSION pg_trgm")  # Prefect's tables need it
                connection.execute("CREATE TABLE runs AS SELECT %s::text AS name", (name,))
        save(settings(small.workspace.root, database=f"{address}/old"), tmp_path / "backup")
        new = settings(tmp_path / "restored", database=f"{address}/new")
        restore(new, tmp_path / "backup")
        for name in ("prefect", "mlflow"):
            with psycopg.connect(f"{address}/new_{name}") as connection:
                assert connection.execute("SELECT name FROM runs").fetchall() == [(name,)]
        again = settings(tmp_path / "again", database=new.database)
        with pytest.raises(ConfigError, match=r"pg_restore on new_prefect: .*already exists"):
            restore(again, tmp_path / "backup")
        assert not again.workspace.root.exists()


def test_what_makes_itself_again_is_left_out(small, tmp_path):
    root = small.workspace.root
    for name in (".locks/tiny.gate", "service/prefect.log", "corpora/tiny/encoded/1234/valid.arrow", "runs/one/.lock"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    save(small, tmp_path / "backup")
    assert set(read_json(tmp_path / "backup" / "backup.json")["files"]) == {
        "workspace/mlflow.db",
        "workspace/runs/one/journal.jsonl",
    }


# ---- mistakes ------------------------------------------------------------------------------------------------------


def test_a_damaged_backup_is_refused_and_leaves_nothing(small, tmp_path):
    save(small, tmp_path / "backup")
    (tmp_path / "backup" / "workspace" / "runs" / "one" / "journal.jsonl").write_text("[]\n")
    with pytest.raises(ConfigError, match=r"journal\.jsonl is not what was saved"):
        restore(settings(tmp_path / "restored"), tmp_path / "backup")
    assert not (tmp_path / "restored").exists()


def test_a_backup_is_not_written_over_and_a_workspace_neither(small, tmp_path):
    save(small, tmp_path / "backup")
    with pytest.raises(ConfigError, match="a backup needs a new folder"):
        save(small, tmp_path / "backup")
    with pytest.raises(ConfigError, match="move it away"):
        restore(small, tmp_path / "backup")


def test_a_backup_with_sqlite_is_not_restored_to_postgresql(small, tmp_path):
    save(small, tmp_path / "backup")
    with pytest.raises(ConfigError, match="unset DATABASE"):
        restore(settings(tmp_path / "restored", database="postgresql://charlm@localhost/charlm"), tmp_path / "backup")


def test_a_database_that_is_away_is_one_line_and_leaves_no_backup(small, tmp_path):
    address = "postgresql://charlm:secret@127.0.0.1:1/charlm"
    with pytest.raises(ConfigError) as caught:
        save(settings(small.workspace.root, database=address), tmp_path / "backup")
    assert "pg_dump" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("name", ["backup", "restore"])
def test_make_without_a_folder_says_how_it_is_called(name, tmp_path):
    outcome = command(name, "", tmp_path)
    assert outcome.code == 2
    assert outcome.stderr == "error: name a folder: make backup TO=FOLDER, make restore FROM=FOLDER\n"
