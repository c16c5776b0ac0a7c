"""Look raw text over before it is prepared: what is in it, what is wrong with it, which settings suit it.

Reads  raw text, as `prepare` would (raw.py, documents.py)
Writes nothing that stays
"""

import dataclasses
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryConfig, ReadConfig, SplitConfig
from charlm.errors import SourceError
from charlm.malloc import keep_freed_memory
from charlm.text.corpus.counting import UnitCounter, choose_units
from charlm.text.corpus.deduplication import SeenKeys
from charlm.text.corpus.dictionary_tables import Counts, show_character
from charlm.text.corpus.sides import document_keys
from charlm.text.corpus.splitting import Progress
from charlm.text.sources.boundaries import choose_document_mode
from charlm.text.sources.documents import BadByte, DocumentReader
from charlm.text.sources.raw import Source, find_sources

_COVERAGES = (0.999, 0.9999, 0.99999, 1.0)
_LONGEST_TOLD_APART = 1 << 20
_CLEAR_MAJORITY = 0.95
_WORTH_TELLING = 0.001
_MOST_SOURCES_SHOWN = 5
_NOISY_HELD_OUT_CHARACTERS = 20_000
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
# Invisible or meaningless characters that a person would want to hear of; the ordinary newline and tab are none.
_SUSPECT_CATEGORIES = {"Cc": "control", "Cf": "format", "Co": "private use", "Cn": "unassigned"}
_ROLES = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid", "devel": "valid"}
_ROLES |= {"test": "test"}


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
    """Why it cannot be read at all, in one line."""


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
    """U+FFFD that stand in the text itself."""
    duplicates: int
    """Documents that repeat an earlier one exactly, white space around them aside."""
    leaks: dict[str, int]
    """Documents of a valid or test file that a train file holds too."""
    settings: dict[str, Any]
    """Suggested settings of `prepare`."""
    advice: list[str]
    """What to know or do, one line each."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def to_text(self) -> list[str]:
        """The report for eyes, one line each."""
        return [*_describe(self), "", *(f"- {line}" for line in self.advice or ["nothing to mend"])]


@keep_freed_memory()
def examine(
    raw: Sequence[str],
    *,
    text_column: str | None = None,
    on_progress: Progress | None = None,
) -> DoctorReport:
    """Read all of `raw` once and report on it; a source that cannot be read is a finding, not an error.

    Of a corpus folder (Flair's, or a prepared one) the text is read.

    Raises SourceError when `raw` leads to nothing, or none of it can be read.
    """
    with tempfile.TemporaryDirectory(prefix="charlm-doctor-") as folder:
        examination = _Examination(Path(folder), text_column)
        sources = find_sources([part for item in raw for part in _text_of_corpus(item)])
        num_total, num_done = sum(source.size or 0 for source in sources), 0
        for source in sorted(sources, key=lambda source: _role(source) != "train"):  # leaks show once train is known
            examination.read(source)
            num_done += source.size or 0
            if on_progress is not None:
                on_progress(num_done, num_total)
        return examination.report()


def _text_of_corpus(item: str) -> list[str]:
    """The text files of a corpus folder, without the counts and ids beside them; anything else as it is."""
    corpus = CorpusFiles(Path(item))
    if corpus.train_dir.is_dir() and corpus.valid.is_file() and corpus.test.is_file():
        return [str(corpus.train_dir), str(corpus.valid), str(corpus.test)]
    return [item]


def _role(source: Source) -> str:
    """`train`, `valid` or `test` where the name or the folder of a source says so, `""` otherwise."""
    path = PurePosixPath(source.address)
    words = [path.parent.name, *path.name.replace("-", ".").replace("_", ".").split(".")]
    return next((_ROLES[word] for word in map(str.lower, words) if word in _ROLES), "")


class _Lengths:
    """Adds up lengths; those beyond a million count as a million in the median, not in the mean."""

    def __init__(self) -> None:
        self.histogram = np.zeros(0, dtype=np.int64)
        self.total = self.longest = 0

    def add(self, lengths: np.ndarray) -> None:
        if not len(lengths):
            return
        counted = np.bincount(np.minimum(lengths, _LONGEST_TOLD_APART), minlength=len(self.histogram))
        counted[: len(self.histogram)] += self.histogram
        self.histogram = counted
        self.total += int(lengths.sum())
        self.longest = max(self.longest, int(lengths.max()))

    def summary(self) -> Lengths:
        number = int(self.histogram.sum())
        upto = np.cumsum(self.histogram)
        median, most = (int(np.searchsorted(upto, share * number)) for share in (0.5, 0.99))
        return Lengths(number, round(self.total / max(number, 1), 1), median, most, self.longest)


class _Examination:
    """What has been seen so far."""

    def __init__(self, folder: Path, text_column: str | None) -> None:
        self.reading = ReadConfig(bad_bytes="replace", text_column=text_column)
        self.sources: list[SourceReport] = []
        self.counter = UnitCounter("char")
        self.lines, self.documents = _Lengths(), _Lengths()
        self.num_bytes = self.num_duplicates = self.num_replaced = self.num_columned = 0
        self.all_seen = SeenKeys(_subfolder(folder, "all"))
        self.train_seen = SeenKeys(_subfolder(folder, "train"))
        self.leaks: Counter[str] = Counter()
        self.is_normalized = True
        self.modes: Counter[str] = Counter()

    def read(self, source: Source) -> None:
        config = SplitConfig(normalize_newlines=False)
        reader = DocumentReader(source, config, self.reading)
        num_documents, mode, has_mark, problem = 0, "record", False, None
        try:
            for documents in reader.batches():
                texts = [document.decode() for document in documents]
                if not num_documents:
                    has_mark = texts[0].startswith(_BYTE_ORDER_MARK)
                    if source.kind == "text":
                        mode = choose_document_mode(b"".join(documents).replace(b"\r\n", b"\n"))
                num_documents += len(documents)
                self._add(documents, texts, source)
        except SourceError as error:
            problem = str(error)
        self.num_replaced += reader.skipped["replacements"]
        self.modes[mode] += num_documents
        encoding = "UTF-8 with byte order mark" if has_mark else "UTF-8"
        if reader.first_bad is not None:
            encoding = "not UTF-8"
        if problem is not None and not num_documents:
            encoding = "unreadable"
        self.sources.append(
            SourceReport(
                name=source.name,
                bytes=reader.num_stored or source.size or 0,
                encoding=encoding,
                document=mode,
                documents=num_documents,
                first_bad_byte=reader.first_bad,
                problem=problem,
            )
        )

    def _add(self, documents: list[bytes], texts: list[str], source: Source) -> None:
        joined = b"".join(documents)
        text = "".join(texts)
        self.num_bytes += len(joined)
        self.counter.add(joined)
        self.documents.add(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)))
        lines = text.split("\n")[:-1]
        self.lines.add(np.fromiter(map(len, lines), dtype=np.int64, count=len(lines)))
        self.num_columned += sum("\t" in line for line in lines)
        self.is_normalized = self.is_normalized and unicodedata.is_normalized("NFC", text)
        keys = document_keys(documents)
        self.num_duplicates += int(np.count_nonzero(~self.all_seen.add(keys)))
        role = _role(source)
        if role == "train":
            self.train_seen.add(keys)
        elif role:
            self.leaks[role] += int(np.count_nonzero(self.train_seen.contains(keys)))

    def report(self) -> DoctorReport:
        counts = self.counter.counts.ranked()
        if not counts.total:
            problems = [source.problem for source in self.sources if source.problem]
            raise SourceError(problems[0] if problems else "there is no text in what was given; give some")
        number_of = dict(zip(counts.code_points.tolist(), counts.counts.tolist(), strict=True))
        scripts, letters = _scripts(number_of)
        report = DoctorReport(
            sources=self.sources,
            bytes=self.num_bytes,
            characters=counts.total,
            lines=self.lines.summary(),
            documents=self.documents.summary(),
            scripts=scripts,
            letters=round(letters, 4),
            distinct_characters=len(number_of),
            dictionary_sizes={
                f"{coverage:g}": 1 + len(choose_units(counts, DictionaryConfig(coverage=coverage), "char"))
                for coverage in _COVERAGES
            },
            suspects=_suspects(number_of),
            carriage_returns=number_of.get(ord("\r"), 0),
            replacement_characters=number_of.get(0xFFFD, 0) - self.num_replaced,
            duplicates=self.num_duplicates,
            leaks=dict(self.leaks),
            settings={},
            advice=[],
        )
        settings = self._suggest(report, counts)
        report = dataclasses.replace(report, settings=settings)
        return dataclasses.replace(report, advice=self._advise(report))

    def _suggest(self, report: DoctorReport, counts: Counts) -> dict[str, Any]:
        mode, number = self.modes.most_common(1)[0]
        is_mixed = number < _CLEAR_MAJORITY * report.documents.number
        # A dictionary below 256 items costs nothing to complete; beyond, rare characters cost a row of weights each.
        coverage = 1.0 if len(counts.counts) < 255 else 0.9999
        settings: dict[str, Any] = {
            "document": "auto" if mode == "record" or is_mixed else mode,
            "coverage": coverage,
            "shard_size": suggest_shard_size(report.bytes),
        }
        held_out = report.characters * SplitConfig().valid_share
        if held_out < _NOISY_HELD_OUT_CHARACTERS:
            share = min(0.1, _NOISY_HELD_OUT_CHARACTERS / report.characters)
            settings |= {"valid_share": round(share, 2), "test_share": round(share, 2)}
        if not self.is_normalized:
            settings["normalization"] = "NFC"
        if report.duplicates > 0.01 * report.documents.number and mode != "line":
            settings["deduplicate"] = True
        if any(source.first_bad_byte for source in self.sources):
            settings["bad_bytes"] = "replace"
        return settings

    def _advise(self, report: DoctorReport) -> list[str]:
        return [*_advise_on_sources(report.sources), *self._advise_on_text(report)]

    def _advise_on_text(self, report: DoctorReport) -> list[str]:
        advice = []
        if report.replacement_characters:
            advice.append(
                f"{report.replacement_characters:,} replacement characters (U+FFFD) stand in the text: "
                f"it was decoded wrongly before it came here"
            )
        if report.carriage_returns:
            advice.append(
                f"{report.carriage_returns:,} carriage returns: \\r\\n becomes \\n, a lone \\r stays in the text"
            )
        suspects = {name: number for name, number in report.suspects.items() if name != "\\r"}
        if suspects:
            shown = ", ".join(f"{name} {number:,} times" for name, number in list(suspects.items())[:5])
            advice.append(f"invisible or unassigned characters: {shown}")
        if not self.is_normalized:
            advice.append(
                "some characters are not in Unicode form NFC: equal letters would get two ids; --normalization NFC"
            )
        if (share := report.duplicates / report.documents.number) > _WORTH_TELLING:
            advice.append(
                f"{report.duplicates:,} of {report.documents.number:,} documents ({share:.1%}) repeat an earlier one; "
                f"--deduplicate leaves them out"
            )
        for role, number in report.leaks.items():
            if number:
                advice.append(
                    f"documents of the {role} file that also stand in the train file: {number:,}; its score flatters"
                )
        if self.num_columned > 0.5 * report.lines.number:
            advice.append("most lines are columns between tabs: this looks like a table or annotated data, not text")
        elif report.letters < 0.6:
            advice.append(f"only {report.letters:.0%} of the visible characters are letters: is this text?")
        if "valid_share" in report.settings:
            advice.append(
                f"{report.characters:,} characters are little: at the default 2 % the held-out scores would be noisy; "
                f"--valid-share {report.settings['valid_share']} --test-share {report.settings['test_share']}"
            )
        if report.lines.longest > 100_000:
            advice.append(f"the longest line has {report.lines.longest:,} characters; training shuffles by line")
        if max(self.modes.values()) < _CLEAR_MAJORITY * report.documents.number:
            advice.append("the sources differ in what a document is; --document settles it for all")
        return advice


def _advise_on_sources(sources: list[SourceReport]) -> list[str]:
    advice = [source.problem for source in sources if source.problem]
    for source in sources:
        if (bad := source.first_bad_byte) is not None:
            advice.append(
                f"{source.name}: {bad.value} at line {bad.line}, byte {bad.byte} is not UTF-8; convert the file "
                f"(it may be Latin-1 or Windows-1252), or choose --bad-bytes replace or skip"
            )
        if source.encoding == "UTF-8 with byte order mark":
            advice.append(f"{source.name} begins with a byte order mark, which would be learnt as a character")
    num_more = len(advice) - _MOST_SOURCES_SHOWN
    return advice if num_more <= 0 else [*advice[:_MOST_SOURCES_SHOWN], f"{num_more} more findings of this kind"]


def suggest_shard_size(num_bytes: int) -> int:
    """About twenty shards, in a round number of bytes between 100 kB and 50 MB."""
    size = min(max(num_bytes // 20, 100_000), 50_000_000)
    step = int("1" + "0" * (len(str(size)) - 1))
    return size // step * step


def _subfolder(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path


def _scripts(number_of: dict[int, int]) -> tuple[dict[str, float], float]:
    """The share of each script among letters, most common first; and of letters among visible characters."""
    scripts: Counter[str] = Counter()
    num_visible = 0
    for code_point, number in number_of.items():
        character = chr(code_point)
        num_visible += 0 if character.isspace() else number
        if unicodedata.category(character)[0] in "LM":
            # Python has no table of scripts; the first word of a letter's name is its script but for a few.
            name = unicodedata.name(character, "UNKNOWN").split(" ")[0].split("-")[0]
            scripts[{"CJK": "HAN", "COMBINING": "COMMON", "MODIFIER": "COMMON"}.get(name, name)] += number
    num_letters = sum(scripts.values())
    shares = {name.title(): round(number / num_letters, 4) for name, number in scripts.most_common()}
    return shares, num_letters / max(num_visible, 1)


def _suspects(number_of: dict[int, int]) -> dict[str, int]:
    return {
        show_character(code_point): number
        for code_point, number in number_of.items()
        if unicodedata.category(chr(code_point)) in _SUSPECT_CATEGORIES and chr(code_point) not in "\n\t"
    }


def _describe(report: DoctorReport) -> list[str]:
    encodings = Counter(source.encoding for source in report.sources)
    scripts = [f"{name} {share:.1%}" for name, share in report.scripts.items() if share >= 0.001]
    sizes = ", ".join(f"{size:,} at {coverage}" for coverage, size in report.dictionary_sizes.items())
    settings = " ".join(
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
        for name, value in report.settings.items()
    )
    return [
        f"sources     {len(report.sources)}: {', '.join(f'{number} {name}' for name, number in encodings.items())}",
        f"text        {report.bytes:,} bytes, {report.characters:,} characters",
        f"scripts     {', '.join(scripts[:8]) or 'no letters'}",
        f"letters     {report.letters:.1%} of the visible characters",
        f"lines       {_describe_lengths(report.lines)}",
        f"documents   {_describe_lengths(report.documents)}",
        f"duplicates  {report.duplicates:,} of {report.documents.number:,} documents",
        f"characters  {report.distinct_characters:,} distinct; dictionary {sizes} coverage",
        f"suggested   {settings}",
    ]


def _describe_lengths(lengths: Lengths) -> str:
    return (
        f"{lengths.number:,}: mean {lengths.mean:,}, median {lengths.median:,}, "
        f"99 % up to {lengths.most:,}, longest {lengths.longest:,} characters"
    )
