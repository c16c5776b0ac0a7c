"""A stand-in for an S3 object store on this machine, spoken to over HTTP; its content goes with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

BUCKET = "charlm"


@dataclass(frozen=True)
class ObjectStore:
    """One bucket."""

    address: str
    servers: list[Any]
    """The server that runs, or none."""

    @property
    def variables(self) -> dict[str, str]:
        """What leads a process to it, in the words of Amazon's own libraries."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "stand-in",
            "AWS_SECRET_ACCESS_KEY": "stand-in",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.address,
            aws_access_key_id="stand-in",
            aws_secret_access_key="stand-in",
            region_name="us-east-1",
        )

    def put(self, key: str, content: bytes) -> str:
        """Store an object; its address."""
        self.client().put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    @contextmanager
    def away(self) -> Iterator[None]:
        """For the block, nothing answers at the address; the content stays."""
        self.servers.pop().stop()
        yield
        self.servers.append(_started(int(self.address.rpartition(":")[2])))

    def object_keys(self) -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A running store with an empty bucket."""
    server = _started(0)
    store = ObjectStore("http://{}:{}".format(*server.get_host_and_port()), [server])
    try:
        store.client().create_bucket(Bucket=BUCKET)
        yield store
    finally:
        for running in store.servers:
            running.stop()


def _started(port: int) -> Any:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    return server
