"""New text for a corpus, as it is announced to the Prefect server and taken in by a retraining.

The event `charlm.corpus.arrived` carries it; everybody who has access to the server may send one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, TypeGuard

from charlm.artifacts import CorpusFiles, check_name
from charlm.errors import ConfigError, SourceError
from charlm.text.corpus.manifest import load_manifest
from charlm.text.sources.finding import find_sources
from charlm.text.sources.raw import Source, sha256_of_source
from tasks.terminal import terminal

CORPUS_ARRIVED = "charlm.corpus.arrived"


class ArrivalPayload(TypedDict):
    """What the event carries."""

    corpus: str
    domain: str | None
    addresses: list[str]
    digests: list[str]


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Files with text of one domain that wait to be brought into a corpus."""

    corpus: str
    domain: str | None
    """Domain of the text; none means the corpus name."""
    addresses: tuple[str, ...]
    """Absolute paths, fsspec addresses or `hf:…`, which the workers can read."""
    digests: tuple[str, ...]
    """SHA-256 of every file as stored; a Hugging Face dataset has none."""

    def to_payload(self) -> "ArrivalPayload":
        return {
            "corpus": self.corpus,
            "domain": self.domain,
            "addresses": list(self.addresses),
            "digests": list(self.digests),
        }

    @classmethod
    def from_payload(cls, payload: Mapping[str, object]) -> "Arrival":
        """The arrival in the payload of an event; raises ConfigError when the payload holds something else."""
        corpus, domain = payload.get("corpus"), payload.get("domain")
        addresses, digests = payload.get("addresses"), payload.get("digests") or []
        if not (
            isinstance(corpus, str) and isinstance(domain, str | None) and _is_list(addresses) and _is_list(digests)
        ):
            raise ConfigError(
                f"the event {CORPUS_ARRIVED} carries corpus, domain, addresses and digests; got {payload}"
            )
        return cls(corpus=check_name(corpus), domain=domain, addresses=tuple(addresses), digests=tuple(digests))


def describe_arrival(name: str, raw: Sequence[str], domain: str | None) -> Arrival:
    """The arrival of what `raw` names: every file by itself, with its digest. Raises SourceError for missing text."""
    sources = find_sources(raw)
    files = [source for source in sources if source.kind != "hub"]
    return Arrival(
        corpus=check_name(name),
        domain=domain,
        addresses=tuple(_absolute(source) for source in sources),
        digests=tuple(map(sha256_of_source, files)),
    )


def arrivals_to_take(corpus: CorpusFiles, own: Arrival, others: Iterable[Arrival]) -> list[Arrival]:
    """What a retraining that was started for `own` takes in: its own text, and what was announced since.

    Text that the corpus holds already is left out: its files may be gone. So is text that cannot be found; of `own` it
    is an error, and text that was announced later has a run of its own that reports it. Text of one domain becomes one
    arrival; domains are in the order of their newest text.
    """
    taken: dict[str, Arrival] = {}
    for arrival in [own, *others]:
        if not arrival.addresses or _is_held(corpus, arrival) or (arrival is not own and not _is_there(arrival)):
            continue
        domain = arrival.domain or arrival.corpus
        taken[domain] = _joined(taken.pop(domain), arrival) if domain in taken else arrival
    return list(taken.values())


def _joined(first: Arrival, second: Arrival) -> Arrival:
    addresses = dict.fromkeys([*first.addresses, *second.addresses])
    digests = dict.fromkeys([*first.digests, *second.digests])
    return replace(first, addresses=tuple(addresses), digests=tuple(digests))


def _is_held(corpus: CorpusFiles, arrival: Arrival) -> bool:
    """True when the corpus holds every file of the arrival, by its digest."""
    if not corpus.manifest.is_file() or len(arrival.digests) < len(arrival.addresses):
        return False
    known = {source.sha256 for revision in load_manifest(corpus).revisions for source in revision.sources}
    return known.issuperset(arrival.digests)


def _is_there(arrival: Arrival) -> bool:
    try:
        find_sources(arrival.addresses)
    except SourceError as error:
        terminal.print_line(f"! left out: {error}")
        return False
    return True


def _absolute(source: Source) -> str:
    if source.is_remote or source.kind == "hub":
        return source.address
    return str(Path(source.address).absolute())


def _is_list(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
