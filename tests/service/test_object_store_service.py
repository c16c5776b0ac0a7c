"""A service whose workspace is in an object store: its flows run on a worker that has a cache folder, and no more."""

from pathlib import Path

import pytest

from tests.conftest import run_charlm, write_sentences
from tests.live_service import LiveService
from tests.object_store import BUCKET, object_store
from tests.service.looking import ended_runs, quicken, runs, write_laws

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
            quicken(service)
            store.put("service/to-embed/served/sentences.txt", b"Laws are made and read.\n" * 20)
            run = service.start_run(
                "charlm-run/run-pipeline",
                raw=[str(text)],
                name="served",
                settings=["max_characters=60000", "hidden_size=16", "sequence_length=50"],
            )
            state = service.wait_for_end(run)
            assert state.is_completed(), state.message
            assert service.champion("served") == 1
            # Text in its inbox is announced once, and read where it lies; the new champion embeds what waits for it.
            laws = write_laws(tmp_path / "laws.txt", seed=3)
            store.put("service/inbox/served/laws/laws.txt", laws.read_bytes())
            (retrained,) = ended_runs(service, "retrain", 1)
            assert retrained.state_type.value == "COMPLETED", retrained.state
            champion = service.champion("served")
            assert [one.state_type.value for one in ended_runs(service, "embed-corpus", champion)] == [
                "COMPLETED"
            ] * champion
            kept = f"service/refs/embeddings/served/version-{champion}/"
            assert [key for key in store.object_keys() if key.startswith(kept)]
            assert len(runs(service, "scan-inbox")) == 1
            # A machine that knows the two addresses works with what the service has made.
            other = {**store.variables, **service.addresses, "CHARLM_WORKSPACE_CACHE": str(tmp_path / "other")}
            scored = run_charlm("evaluate", "models:/served@champion", text, "--workspace", address, "--json", **other)
            assert scored.code == 0, scored.stderr
            planned = run_charlm("baseline", "served", "--workspace", address, "--json", **other)
            assert planned.code == 0, planned.stderr
            assert not list((tmp_path / "service").glob("corpora/*"))
        finally:
            service.down()
