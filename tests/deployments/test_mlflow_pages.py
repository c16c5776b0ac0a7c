"""MLflow's pages in a real browser: the verdict and the scores of a version are seen without scrolling."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from charlm.artifacts import Workspace
from tasks.promotion.gate import pass_gate
from tasks.registry.report import report_page_address
from tasks.registry.versions import find_version
from tests.browser import Page, browser_page
from tests.conftest import TrainedWorkspace, environment, own_workspace
from tests.live_service import end, wait_until

pytestmark = pytest.mark.service

PLACE_OF_TEXT = """
(() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    if (!texts.currentNode.textContent.trim().startsWith(%s)) continue;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    const place = range.getBoundingClientRect();
    if (place.height > 0) return {top: place.top, bottom: place.bottom, screen: window.innerHeight};
  }
  return null;
})()
"""


@contextmanager
def mlflow_pages(workspace: Workspace) -> Iterator[str]:
    """The address of MLflow's pages of a workspace."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [Path(sys.executable).with_name("mlflow"), "ui", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        [*command, "--backend-store-uri", f"sqlite:///{workspace.mlflow_db}"],
        env=environment()
        | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},  # mlflow starts uvicorn by its name
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: is_healthy(address), seconds=120, what="MLflow's pages")
        yield address
    finally:
        end(process)


def is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.fixture
def pages(trained_workspace: TrainedWorkspace, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of MLflow with a version that has passed the gate, and where its report is."""
    with own_workspace(trained_workspace, tmp_path / "copy") as workspace:
        version = find_version("models:/tiny/1")
        assert pass_gate(workspace, version).report.promoted
        report = report_page_address(version)
        assert report is not None
        with mlflow_pages(workspace) as address:
            yield address, report


def place_of(page: Page, text: str) -> Any:
    """Where the first text that begins so is on the screen."""
    return page.run(PLACE_OF_TEXT % repr(text))


def test_verdict_and_scores_are_in_the_first_screen_and_the_report_opens(pages: tuple[str, str]) -> None:
    address, report = pages
    with browser_page(hosts={}) as page:
        page.open(f"{address}/#/models/tiny/versions/1")
        page.wait_for_text("Promoted: ")
        page.wait_for_text("all, backward")
        for text in ("Promoted: ", "Why: the first version", "all, forward", "all, backward"):
            place = place_of(page, text)
            assert 0 < place["top"] < place["bottom"] < place["screen"], (text, place)
        page.open(f"{address}/#/models/tiny")
        page.wait_for_text("Promoted: ")
        page.open(f"{address}/{report}")
        page.wait_for_text("report.html")
