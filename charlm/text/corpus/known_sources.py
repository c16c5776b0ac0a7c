"""Which sources a corpus holds already, by their content."""

from charlm.text.corpus.manifest import SourceRecord
from charlm.text.sources.documents import OpenReader
from charlm.text.sources.hub import version_of_hub
from charlm.text.sources.raw import Source, sha256_of_source


class KnownSources:
    """The sources of all revisions so far."""

    def __init__(self) -> None:
        self._digests: set[str] = set()
        self._sizes: set[int] = set()
        self._unversioned: set[str] = set()
        self._versions: set[tuple[str, str]] = set()

    def add(self, record: SourceRecord) -> None:
        self._digests.add(record.sha256)
        self._sizes.add(record.bytes)
        if record.version:
            self._versions.add((record.name, record.version))
        else:
            self._unversioned.add(record.name)

    def holds(self, source: Source, open_reader: OpenReader) -> bool:
        """True when the content is known. Its digest is computed only where one could match."""
        if source.kind == "hub":
            reader = open_reader(source)
            if source.name not in self._unversioned:
                return (source.name, version_of_hub(reader)) in self._versions
            for _ in reader.batches():  # its digest is all that is known of it
                pass
            return reader.sha256 in self._digests
        if source.size is not None and source.size not in self._sizes:
            return False
        return sha256_of_source(source) in self._digests
