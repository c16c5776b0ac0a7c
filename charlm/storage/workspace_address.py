"""Where a workspace is: a folder, or an address such as `s3://BUCKET/FOLDER`.

A `Path` of an address has lost one of its slashes, `s3:/BUCKET/FOLDER`; it is understood all the same, so that no
folder `s3:` is ever made.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from charlm.errors import ConfigError
from charlm.storage.user_paths import user_path

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)  # one letter is a drive of Windows


def workspace_address(given: str | os.PathLike[str]) -> str | None:
    """The address that a user gave as workspace; None for a folder, `file://…` among them.

    `Path("s3://bucket/ws") -> "s3://bucket/ws"`, `"workspace" -> None`
    """
    found = _ADDRESS.fullmatch(os.fspath(given))
    if found is None or found[1].lower() in ("file", "local"):
        return None
    return f"{found[1].lower()}://{found[2].rstrip('/')}"


def workspace_folder(given: str | os.PathLike[str]) -> Path:
    """The folder of a workspace that is on this machine, absolute; raises ConfigError for one that is not."""
    if (address := workspace_address(given)) is not None:
        raise ConfigError(f"the workspace {address} is not on this machine; give --workspace a folder")
    found = _ADDRESS.fullmatch(os.fspath(given))
    folder = user_path(given) if found is None else Path("/" + unquote(found[2]))
    return check_is_folder(folder.absolute())


def check_is_folder(root: Path) -> Path:
    """`root`, unless a part of it is the beginning of an address, as in `/home/me/s3:/bucket`: then ConfigError."""
    address = next((part for part in root.parts if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+:", part)), None)
    if address is not None:
        raise ConfigError(f"the workspace {root} has {address!r} in its path, the beginning of an address; rename it")
    return root
