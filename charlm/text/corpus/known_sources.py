"""Which sources a corpus holds already, by their content."""

from charlm.errors import CorpusError
from charlm.text.corpus.manifest import SourceRecord
from charlm.text.sources.documents import OpenReader
from charlm.text.sources.hub import version_of_hub
from charlm.text.sources.raw import Source, sha256_of_source


class KnownSources:
    """The sources of all revisions so far."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}  # and the held-out file that a source was given for
        self._by_size: dict[int, set[str]] = {}
        self._unversioned: set[str] = set()
        self._versions: dict[tuple[str, str], str] = {}

    def add(self, record: SourceRecord) -> None:
        self._digests[record.sha256] = record.held_out
        self._by_size.setdefault(record.bytes, set()).add(record.sha256)
        if record.version:
            self._versions[record.name, record.version] = record.held_out
        else:
            self._unversioned.add(record.name)

    def digests_of(self, source: Source) -> frozenset[str]:
        """The digests that a source of its size could have, if it is known."""
        return frozenset(self._by_size.get(-1 if source.size is None else source.size, ()))

    def holds(self, source: Source, open_reader: OpenReader, held_out: str = "", *, digest: str | None = None) -> bool:
        """True when the content is known. Its digest is computed only where one could match and none is given.

        Raises CorpusError when it is known as text of another side than `held_out`, a held-out file or none.
        """
        known = self._find(source, open_reader, digest)
        if known not in (None, held_out):
            here, there = (f"text for {name}" if name else "text to be split" for name in (held_out, known))
            raise CorpusError(f"{source.name} is given as {here}, and is {there} already; give it once")
        return known is not None

    def _find(self, source: Source, open_reader: OpenReader, digest: str | None) -> str | None:
        """The held-out file that a known source was given for, which may be empty; None for an unknown one."""
        if source.kind == "hub":
            reader = open_reader(source)
            if source.name not in self._unversioned:
                return self._versions.get((source.name, version_of_hub(reader)))
            for _ in reader.batches():  # its digest is all that is known of it
                pass
            return self._digests.get(reader.sha256)
        if source.size is not None and source.size not in self._by_size:
            return None
        return self._digests.get(digest or sha256_of_source(source))
