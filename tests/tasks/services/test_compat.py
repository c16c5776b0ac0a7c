"""What we use of Prefect and MLflow beyond their documented API is still there; each test names what a release lost."""

import importlib
import re
from operator import attrgetter
from pathlib import Path

import pytest

from tasks.services import mlflow_compat, prefect_compat
from tests.conftest import ROOT


@pytest.mark.parametrize("symbol", [*prefect_compat.SYMBOLS, *mlflow_compat.SYMBOLS])
def test_the_symbol_exists(symbol: str):
    module, _, name = symbol.partition(":")
    owner, _, attribute = name.rpartition(".")
    found = importlib.import_module(module)
    if owner:
        found = attrgetter(owner)(found)
        if attribute in getattr(found, "model_fields", {}):  # which pydantic hides from the class
            return
    assert hasattr(found, attribute), f"{module.split('.')[0]} has lost {symbol}"


@pytest.mark.parametrize(("table", "column"), mlflow_compat.COLUMNS)
def test_the_column_exists(table: str, column: str):
    importlib.import_module("mlflow.store.tracking.dbmodels.models")
    importlib.import_module("mlflow.store.model_registry.dbmodels.models")
    from mlflow.store.db.base_sql_model import Base

    tables = Base.metadata.tables
    assert table in tables, f"MLflow has lost the table {table}"
    assert column in tables[table].columns, f"MLflow has lost the column {table}.{column}"


def test_a_description_has_the_length_of_its_column():
    importlib.import_module("mlflow.store.model_registry.dbmodels.models")
    from mlflow.store.db.base_sql_model import Base

    column = Base.metadata.tables["model_versions"].columns["description"]
    assert column.type.length == mlflow_compat.LONGEST_DESCRIPTION


@pytest.mark.parametrize("setting", prefect_compat.SETTINGS)
def test_the_setting_exists(setting: str):
    settings = importlib.import_module("prefect.settings")
    assert hasattr(settings, setting), f"Prefect has lost the setting {setting}"


def test_every_setting_that_we_write_is_among_those_that_are_checked():
    files = [path for folder in ("tasks", "deployments") for path in Path(ROOT, folder).rglob("*.py")]
    written = {name for path in files for name in re.findall(r'"(PREFECT_[A-Z]\w+)"', path.read_text(encoding="utf-8"))}
    assert written == {*prefect_compat.SETTINGS, prefect_compat.CONSOLE_LEVEL}


def test_the_level_of_the_console_is_still_read(monkeypatch: pytest.MonkeyPatch):
    configuration = importlib.import_module("prefect.logging.configuration")
    monkeypatch.setenv(prefect_compat.CONSOLE_LEVEL, "CRITICAL")
    config = configuration.load_logging_config(configuration.DEFAULT_LOGGING_SETTINGS_PATH)
    assert config["handlers"]["console"]["level"] == "CRITICAL", "Prefect has lost handlers.console.level"


def test_the_server_still_reads_how_it_is_started():
    source = Path(importlib.import_module("prefect.server.api.server").__file__ or "").read_text(encoding="utf-8")
    for name in prefect_compat.temporary_server_variables():
        assert name in prefect_compat.SETTINGS or name in source, f"Prefect has lost the variable {name}"
