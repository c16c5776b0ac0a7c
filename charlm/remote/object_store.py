"""An object store through fsspec: the few operations that a workspace needs, and its errors as one line each.

Everything rests on one of them, `create`: of several machines that create one key at once, exactly one succeeds (S3's
`If-None-Match: *`, Google's `ifGenerationMatch=0`). Only stores whose file system offers that are taken.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from charlm.errors import ConfigError, StoreError, how_to_install

_S3 = ("s3fs", how_to_install("s3"))
_GOOGLE = ("gcsfs", how_to_install("gs"))
_STORES = {
    "s3": _S3,
    "s3a": _S3,
    "gs": _GOOGLE,
    "gcs": _GOOGLE,
}
"""The package that each kind of address needs."""
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_DELETED_AT_ONCE = 1_000
_CREDENTIALS = {
    "s3fs": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gcsfs": "set GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login",
}


def check_store_address(address: str) -> None:
    """Raise ConfigError for an address at which no workspace can be, or whose package is missing."""
    protocol, _, place = address.partition("://")
    if protocol not in _STORES:
        kinds = ", ".join(f"{name}://" for name in _STORES)
        raise ConfigError(f"a workspace cannot be at {address}; give --workspace a folder, or an address of {kinds}")
    if not place.strip("/"):
        raise ConfigError(f"the workspace {address} names no bucket; write {protocol}://BUCKET/FOLDER")
    package, remedy = _STORES[protocol]
    try:
        __import__("fsspec")
        __import__(package)
    except ImportError as error:
        raise ConfigError(f"the workspace {address} needs the package {package}; {remedy}") from error


class ObjectStore:
    """The objects below one address, by key."""

    def __init__(self, address: str) -> None:
        """Connects at the first operation."""
        check_store_address(address)
        import fsspec

        self.address = address.rstrip("/")
        protocol, _, self._place = self.address.partition("://")
        options: dict[str, object] = {}
        self._read_options: dict[str, object] = {}
        if protocol.startswith("s3"):
            self._read_options = {"max_concurrency": 1}  # else s3fs asks for the size first, which takes as long
            timeouts = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS}
            options["config_kwargs"] = {**timeouts, "retries": {"max_attempts": 1}}  # s3fs tries again itself
        self._files = fsspec.filesystem(protocol, use_listings_cache=False, skip_instance_cache=True, **options)

    def read(self, key: str) -> bytes | None:
        """The content of an object; None where there is none."""
        with self._clear_errors():
            try:
                content: bytes = self._files.cat_file(self._path(key), **self._read_options)
            except FileNotFoundError as error:
                self._check_bucket(error)
                return None
        return content

    def create(self, key: str, content: bytes) -> bool:
        """Store an object that must not exist yet; False where it does."""
        with self._clear_errors(), self._writing():
            try:
                self._files.pipe_file(self._path(key), content, mode="create")
            except Exception as error:
                if isinstance(error, FileExistsError) or _code(error) in _EXISTS:
                    return False
                raise
        return True

    def write(self, key: str, content: bytes) -> None:
        with self._clear_errors(), self._writing():
            self._files.pipe_file(self._path(key), content)

    def upload(self, path: Path, key: str) -> None:
        with self._clear_errors(), self._writing():
            self._files.put_file(str(path), self._path(key))

    def download(self, key: str, path: Path) -> None:
        """Raises StoreError where there is no such object, and OSError where the disk takes no more."""
        with self._clear_errors():
            self._files.get_file(self._path(key), str(path))

    def changed(self, key: str) -> datetime | None:
        """When an object was written, by the store's clock; None where there is none."""
        with self._clear_errors():
            try:
                found: datetime = self._files.modified(self._path(key))
            except FileNotFoundError as error:
                self._check_bucket(error)
                return None
        return found

    def keys(self, folder: str, *, prefix: str = "") -> list[str]:
        """The keys of all objects in a folder and those below, which begin with `prefix` in the folder."""
        return sorted(self.sizes(folder, prefix=prefix))

    def sizes(self, folder: str, *, prefix: str = "") -> dict[str, int]:
        """The bytes of each of these objects."""
        with self._clear_errors():
            try:
                found = self._files.find(self._path(folder), detail=True, prefix=prefix)
            except FileNotFoundError as error:
                self._check_bucket(error)
                return {}
        return {path[len(self._place) + 1 :]: int(info["size"]) for path, info in found.items()}

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are gone already do not matter."""
        paths = [self._path(key) for key in keys]
        for start in range(0, len(paths), _DELETED_AT_ONCE):
            with self._clear_errors(), suppress(FileNotFoundError):
                self._files.rm(paths[start : start + _DELETED_AT_ONCE])

    def _path(self, key: str) -> str:
        return f"{self._place}/{key}"

    def _check_bucket(self, error: BaseException) -> None:
        if _code(error) == "NoSuchBucket" or "bucket does not exist" in str(error):
            raise error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What is missing where something is written is the bucket; Google's answer does not say so."""
        try:
            yield
        except FileNotFoundError as error:
            if self.address.startswith("g"):
                raise FileNotFoundError(f"bucket does not exist: {error}") from error
            raise

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # every file system raises its own kinds
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) and _code(error) is None:
                raise  # the disk of this machine
            raise StoreError(f"the workspace {self.address} {_reason(error, self.address)}") from error


_EXISTS = ("PreconditionFailed", "412", "ConditionalRequestConflict")


def _chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _code(error: BaseException) -> str | None:
    """The code with which the store has answered; None where it has not."""
    for one in _chain(error):
        response, code = getattr(one, "response", None), getattr(one, "code", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code"))
        if isinstance(code, int):  # of gcsfs
            return str(code)
    return None


def _reason(error: BaseException, address: str) -> str:
    names = {type(one).__name__ for one in _chain(error)}
    protocol, _, place = address.partition("://")
    code, bucket, credentials = _code(error), place.partition("/")[0], _CREDENTIALS[_STORES[protocol][0]]
    if names & {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"} or "Anonymous caller" in str(error):
        return f"needs credentials, and there are none; {credentials}"
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401"):
        return f"does not accept the credentials ({code}); {credentials}"
    if code == "RequestTimeTooSkewed":
        return "refuses requests of this machine: its clock differs by more than minutes; set it"
    if code == "NoSuchBucket" or "bucket does not exist" in str(error):
        return f"is in no bucket: there is no {bucket!r}; create it, or correct the address"
    is_denied = code in ("AccessDenied", "403", "Forbidden") or str(error).startswith("Forbidden: ")
    if is_denied or isinstance(error, PermissionError):
        return f"denies access ({' '.join(str(error).split())[:120]}); grant reading, writing and listing in {bucket!r}"
    if isinstance(error, FileNotFoundError):
        return f"lacks an object that it names ({os.path.basename(str(error))[:80]}); restore it from a backup"  # noqa: PTH119
    silent = {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"}
    silent |= {"ClientConnectorError", "ServerDisconnectedError", "HTTPClientError", "ConnectionRefusedError"}
    if names & silent or isinstance(error, ConnectionError | TimeoutError):
        return "does not answer; nothing is lost: run the command again when it does"
    return f"cannot be used: {' '.join(str(error).split())[:200] or type(error).__name__}"
