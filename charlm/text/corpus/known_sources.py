"""Which sources a corpus holds already, by their content."""

from charlm.text.corpus.manifest import SourceRecord
from charlm.text.sources.documents import OpenReader
from charlm.text.sources.raw import Source, sha256_of_source


class KnownSources:
    """The sources of all revisions so far."""

    def __init__(self) -> None:
        self._digests: set[str] = set()
        self._sizes: set[int] = set()
        self._names: set[str] = set()

    def add(self, record: SourceRecord) -> None:
        self._digests.add(record.sha256)
        self._sizes.add(record.bytes)
        self._names.add(record.name)

    def holds(self, source: Source, open_reader: OpenReader) -> bool:
        """True when the content is known. Its digest is computed only where one could match."""
        if source.kind == "hub":
            if source.name not in self._names:
                return False
            reader = open_reader(source)
            for _ in reader.batches():
                pass
            return reader.sha256 in self._digests
        if source.size is not None and source.size not in self._sizes:
            return False
        return sha256_of_source(source) in self._digests
