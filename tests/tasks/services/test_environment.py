"""The environment of real machines: odd paths, proxies, a foreign .env, no room for temporary files."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from tasks.services.environment import (
    ask_loopback_directly,
    check_dotenv,
    check_proxies,
    check_workspace_path,
    find_temporary_folder,
)
from tasks.services.session import use_workspace
from tasks.tracking.client import mlflow_client
from tasks.tracking.runs import create_mlflow_run, find_experiment
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing names a server or a proxy, and the temporary folder is found anew."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "PREFECT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tempfile.tempdir
    yield
    tempfile.tempdir = folder


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a%C3%A9", "{{ name }}", "two\nlines"])
def test_a_workspace_whose_path_databases_would_misread_is_refused_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in its path, which databases misread"):
        use_workspace(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["a#b", "100%", "x[y]*", "a::b", "two words", "'q' \"d\"", "日本 Ü", "-dash", "n" * 255]
)
def test_a_workspace_of_any_other_name_keeps_its_runs_inside(name: str, tmp_path: Path) -> None:
    workspace = use_workspace(tmp_path / name)
    run = create_mlflow_run(find_experiment(workspace, "a"), "run", parent=None, tags={})
    mlflow_client().log_text(run, "text", "a.txt")
    [found] = workspace.mlflow_artifacts_dir.rglob("a.txt")
    assert found.read_text() == "text"
    assert workspace.mlflow_db.is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_plain_paths_are_accepted() -> None:
    check_workspace_path(Path("/data/übung/100%/a%b c"))


@pytest.mark.parametrize("proxy", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_requests_to_this_machine_pass_no_proxy(proxy: str) -> None:
    import urllib.request

    import httpx

    os.environ[proxy] = "http://proxy.invalid:3128"
    os.environ["no_proxy"] = "intranet"
    ask_loopback_directly()
    ask_loopback_directly()  # once more changes nothing
    assert os.environ["no_proxy"] == "intranet,127.0.0.1,localhost,::1"
    assert urllib.request.proxy_bypass("127.0.0.1:4200")
    client = httpx.Client()
    assert client._transport_for_url(httpx.URL("http://127.0.0.1:4200")) is client._transport


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("ftp://proxy.invalid", "Unknown scheme for proxy URL .*; correct it, or unset it"),
        ("http://proxy.invalid:port", "Invalid port: 'port'.; correct it, or unset it"),
        ("http://proxy.invalid:3128", None),
        ("proxy.invalid:3128", None),
    ],
)
def test_a_proxy_that_no_client_can_use_is_named(proxy: str, reason: str | None) -> None:
    os.environ["ALL_PROXY"] = proxy
    ask_loopback_directly()
    if reason is None:
        check_proxies()
        return
    with pytest.raises(ConfigError, match=f"cannot use the proxy of ALL_PROXY .{reason}"):
        check_proxies()


def test_a_socks_proxy_needs_a_package_which_is_named() -> None:
    os.environ["ALL_PROXY"] = "socks5://127.0.0.1:1080"
    if importlib.util.find_spec("socksio"):
        check_proxies()
        return
    with pytest.raises(ConfigError, match=r"the proxy of ALL_PROXY \(Using SOCKS .*; pip install socksio, or"):
        check_proxies()


def test_without_a_proxy_nothing_is_set() -> None:
    ask_loopback_directly()
    assert "no_proxy" not in os.environ
    assert "NO_PROXY" not in os.environ


def test_a_foreign_dotenv_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_dotenv()
    Path(".env").write_text("A=größe\n", encoding="utf-8")
    check_dotenv()
    Path(".env").write_bytes("A=größe\n".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"\.env is not UTF-8, and Prefect reads it"):
        check_dotenv()


@pytest.mark.parametrize("fault", ["no folder", "no room", None])
def test_temporary_files_go_to_the_workspace_where_the_system_has_no_room(
    fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "w")
    usual = tempfile.gettempdir()

    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    def usage(folder: object) -> SimpleNamespace:
        return SimpleNamespace(free=8192 if str(folder) == usual and fault == "no room" else 1 << 40)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", usage)
        if fault == "no folder":
            patch.setattr(tempfile, "gettempdir", nowhere)
        find_temporary_folder(workspace)
    with tempfile.TemporaryDirectory() as folder:
        assert Path(folder).is_relative_to(workspace.root) is (fault is not None)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (".env", "PREFECT_LOGGING_LEVEL=LOUD", r"level=LOUD: Input should be .*; correct .*\.env"),
        ("prefect.toml", "[server", r"invalid TOML .*; correct .*prefect\.toml"),
        (".env", "OTHER=1", None),
    ],
)
def test_settings_of_prefect_that_cannot_be_read_are_named(
    name: str, content: str, reason: str | None, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    program = "from tasks.services.prefect import check_prefect_settings as check; check(())"
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {program}"
    outcome = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (outcome.returncode == 0) is (reason is None)
    if reason is not None:
        assert re.search(f"ConfigError: Prefect cannot read its settings .*{reason}", outcome.stderr)
