"""Raw text elsewhere: files, folders and patterns at fsspec addresses."""

import glob
from pathlib import PurePosixPath

from charlm.errors import SourceError
from charlm.text.sources.filesystems import open_filesystem
from charlm.text.sources.raw import Source, one_line


def find_remote(item: str) -> list[Source]:
    """The files at an address: the file or the folder of that name, else those that match it as a pattern.

    Hidden files are left out, as they are in a local folder.
    """
    try:
        filesystem, path, is_named = open_filesystem(item)
        if is_named or not glob.has_magic(path):
            base, paths, shows_hidden = path, filesystem.find(path), False
        else:
            parts = PurePosixPath(path).parts
            first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
            base, paths = "/".join(parts[:first]).replace("//", "/"), filesystem.glob(path)
            shows_hidden = any(part.startswith(".") for part in parts[first:])
        files = [(found, filesystem.info(found)) for found in sorted(paths)]
    except Exception as error:  # each file system raises its own kinds
        raise SourceError(f"cannot read {item}: {one_line(error)}") from error
    if not files:
        raise SourceError(f"there is no file at {item}; check the address")
    sources = []
    for found, info in files:
        below = found.removeprefix(base).lstrip("/")
        is_hidden = any(part.startswith(".") for part in PurePosixPath(below).parts)
        if info.get("type") == "file" and (shows_hidden or not is_hidden):
            sources.append(
                Source(
                    name=below or PurePosixPath(found).name,
                    address=filesystem.unstrip_protocol(found),
                    size=info.get("size"),
                    remote=(item, found),
                )
            )
    if not sources:
        raise SourceError(f"there are only hidden files or folders at {item}; name the files")
    return sources
