"""What the doctor found in raw text, as data and as lines to read."""

import dataclasses
from collections import Counter
from dataclasses import dataclass

from charlm.storage.atomic import JsonObject
from charlm.text.doctor_words import WordReport, describe_words
from charlm.text.sources.checking import BadByte


@dataclass(frozen=True)
class Lengths:
    """How long the lines or the documents are, in characters."""

    number: int
    mean: float
    median: int
    most: int
    """99 of 100 are at most this long."""
    longest: int


@dataclass(frozen=True)
class SourceReport:
    """What one source looks like."""

    name: str
    bytes: int
    encoding: str
    """`UTF-8`, `UTF-8 with byte order mark`, `not UTF-8`, or `unreadable`."""
    document: str
    """What `--document auto` makes of it: line, paragraph or record."""
    documents: int
    first_bad_byte: BadByte | None
    problem: str | None
    """Why it cannot be read, or not as it is, in one line."""
    has_only_returns: bool
    """Its lines end with carriage returns alone."""
    likely_encoding: str | None = None
    """What charset-normalizer takes it for, where it is not UTF-8 and that package is installed."""


@dataclass(frozen=True)
class NearReport:
    """Documents that are nearly one read before (text/corpus/near_duplicates.py); exact copies are among them."""

    threshold: float
    documents: int
    leaks: dict[str, int]
    """Documents of a valid or test file with a near copy in a train file."""


@dataclass(frozen=True)
class Suggestion:
    """A setting of `prepare` that suits the text."""

    name: str
    value: str | float | bool
    reason: str


@dataclass(frozen=True)
class DoctorReport:
    """Everything the doctor found."""

    sources: list[SourceReport]
    bytes: int
    """UTF-8 bytes of the text, unpacked."""
    characters: int
    lines: Lengths
    documents: Lengths
    scripts: dict[str, float]
    """Share of each script among the letters."""
    letters: float
    """Share of letters among all characters but white space."""
    distinct_characters: int
    dictionary_sizes: dict[str, int]
    """Size of the dictionary at several coverages."""
    suspects: dict[str, int]
    """Control, format, private and unassigned characters, shown as escapes, with their numbers."""
    carriage_returns: int
    replacement_characters: int
    """U+FFFD in the text itself."""
    duplicates: int
    """Documents that repeat an earlier one exactly, white space around them aside."""
    leaks: dict[str, int]
    """Documents of a valid or test file that a train file holds too."""
    near: NearReport | None
    """Near-duplicates, where they were searched for."""
    words: WordReport | None
    """The text as words, where that was asked for."""
    settings: JsonObject
    """Suggested settings of `prepare`."""
    reasons: dict[str, str]
    """Why each of them is suggested."""
    advice: list[str]
    """What to know or do, one line each."""

    def to_json(self) -> JsonObject:
        return dataclasses.asdict(self)

    def to_text(self) -> list[str]:
        """The report as lines of text."""
        return [*_describe(self), "", *(f"- {line}" for line in self.advice or ["nothing to fix"])]


def option_of(setting: str) -> str:
    """The option of `charlm prepare` for a setting."""
    return f"--{setting.replace('_', '-')}"


def _describe(report: DoctorReport) -> list[str]:
    encodings = Counter(source.encoding for source in report.sources)
    scripts = [f"{name} {share:.1%}" for name, share in report.scripts.items() if share >= 0.001]
    sizes = ", ".join(f"{size:,} at {coverage}" for coverage, size in report.dictionary_sizes.items())
    settings = " ".join(
        option_of(name) + ("" if value is True else f" {value}") for name, value in report.settings.items()
    )
    width = max(len(option_of(name)) for name in report.settings)
    return [
        f"sources     {len(report.sources)}: {', '.join(f'{number} {name}' for name, number in encodings.items())}",
        f"text        {report.bytes:,} bytes, {report.characters:,} characters",
        f"scripts     {', '.join(scripts[:8]) or 'no letters'}",
        f"letters     {report.letters:.1%} of the visible characters",
        f"lines       {_describe_lengths(report.lines)}",
        f"documents   {_describe_lengths(report.documents)}",
        f"duplicates  {report.duplicates:,} of {report.documents.number:,} documents",
        *([] if report.near is None else [_describe_near(report.near, report.documents.number)]),
        f"characters  {report.distinct_characters:,} distinct; dictionary {sizes} coverage",
        *([] if report.words is None else describe_words(report.words)),
        f"suggested   {settings}",
        *(f"  {option_of(name):<{width}}  {reason}" for name, reason in report.reasons.items()),
    ]


def _describe_near(near: NearReport, num_documents: int) -> str:
    leaks = [f"of {role} {number:,} are near to train" for role, number in near.leaks.items()]
    found = f"near        {near.documents:,} of {num_documents:,} documents are nearly an earlier one"
    return "; ".join([found, *leaks])


def _describe_lengths(lengths: Lengths) -> str:
    return (
        f"{lengths.number:,}: mean {lengths.mean:,}, median {lengths.median:,}, "
        f"99% up to {lengths.most:,}, longest {lengths.longest:,} characters"
    )
