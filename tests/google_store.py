"""A stand-in for Google's object store on this machine, spoken to over HTTP; its content goes with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import pytest

from tests.charlm.trainers.test_processes import free_port

BUCKET = "charlm"


@contextmanager
def google_store() -> Iterator[dict[str, str]]:
    """A running store with an empty bucket; the variables that lead a process to it.

    The emulator does not know `ifGenerationMatch=0`, the condition that an object is new: Google answers 412 where it
    is not, and so does this.
    """
    from gcp_storage_emulator.handlers import objects
    from gcp_storage_emulator.server import create_server

    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_multipart_upload", "_create_resumable_upload"):
            patch.setattr(objects, name, _only_if_new(getattr(objects, name)))
        server = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
        server.start()
        try:
            yield {
                "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
                "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # of buckets that the emulator has not
            }
        finally:
            server.stop()


def _only_if_new(upload: Callable[..., None]) -> Callable[..., None]:
    def checked(request: Any, response: Any, storage: Any) -> None:
        if request.query.get("ifGenerationMatch") == ["0"]:
            name = request.query["name"][0] if "name" in request.query else request.data["meta"]["name"]
            with _missing():
                storage.get_file_obj(request.params["bucket_name"], name)
                response.status = HTTPStatus.PRECONDITION_FAILED
                return
        upload(request, response, storage)

    return checked


@contextmanager
def _missing() -> Iterator[None]:
    from gcp_storage_emulator.exceptions import NotFound

    try:
        yield
    except NotFound:
        return
