"""A service whose workspace is in an object store: its flows run on a worker that has a cache folder, and no more."""

from pathlib import Path

import pytest

from tests.conftest import run_charlm, write_sentences
from tests.live_service import LiveService
from tests.object_store import BUCKET, object_store

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(1200)]


def test_flows_of_the_service_work_in_an_object_store(tmp_path: Path) -> None:
    text = write_sentences(tmp_path / "text.txt")
    with object_store() as store:
        address = f"s3://{BUCKET}/service"
        head = {"CHARLM_SERVICE_FOLDER": str(tmp_path / "service"), "CHARLM_WORKSPACE_CACHE": str(tmp_path / "cache")}
        variables = {**store.variables, **head, "CHARLM_WORKSPACE": address}
        service = LiveService.on_free_ports(tmp_path / "service", **variables)
        try:
            service.up()
            run = service.start_run(
                "charlm-run/run-pipeline",
                raw=[str(text)],
                name="served",
                settings=["max_characters=60000", "hidden_size=16", "sequence_length=50"],
            )
            state = service.wait_for_end(run)
            assert state.is_completed(), state.message
            assert service.champion("served") == 1
            # A machine that knows the two addresses works with what the service has made.
            other = {**store.variables, **service.addresses, "CHARLM_WORKSPACE_CACHE": str(tmp_path / "other")}
            scored = run_charlm("evaluate", "models:/served@champion", text, "--workspace", address, "--json", **other)
            assert scored.code == 0, scored.stderr
            planned = run_charlm("baseline", "served", "--workspace", address, "--json", **other)
            assert planned.code == 0, planned.stderr
            assert not list((tmp_path / "service").glob("corpora/*"))
        finally:
            service.down()
