"""Examine raw text before it is prepared: what is in it, what is wrong with it, which settings suit it.

Reads  raw text, as `prepare` would (sources/documents.py)
Writes nothing that stays
"""

import dataclasses
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np

from charlm.arrays.encodings import guess_encoding
from charlm.artifacts import CorpusFiles
from charlm.config import DictionaryConfig, ReadConfig, SplitConfig
from charlm.errors import ConfigError, SourceError
from charlm.malloc import keep_freed_memory
from charlm.text.corpus.counting import choose_items
from charlm.text.corpus.deduplication import SeenKeys
from charlm.text.corpus.near_duplicates import NearDuplicates
from charlm.text.corpus.revision import Progress
from charlm.text.corpus.sides import document_keys
from charlm.text.doctor_advice import advise, suggest_settings
from charlm.text.doctor_report import DoctorReport, Lengths, NearReport, SourceReport
from charlm.text.doctor_words import WordExamination
from charlm.text.sources.boundaries import choose_document_mode
from charlm.text.sources.documents import DocumentReader
from charlm.text.sources.finding import find_sources
from charlm.text.sources.plain_text import only_returns
from charlm.text.sources.raw import RawStream, Source
from charlm.units.characters import CharacterUnit, show_character

_COVERAGES = (0.999, 0.9999, 0.99999, 1.0)
_LONGEST_TOLD_APART = 1 << 20
# Invisible or meaningless characters that a user should know of; newline and tab are not among them.
_SUSPECT_CATEGORIES = {"Cc": "control", "Cf": "format", "Co": "private use", "Cn": "unassigned"}
_ROLES = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid", "devel": "valid"}
_ROLES |= {"test": "test"}


@keep_freed_memory()
def examine(
    raw: Sequence[str],
    *,
    text_column: str | None = None,
    unit: str | None = None,
    tokenizer: str | None = None,
    near_threshold: float | None = None,
    on_progress: Progress | None = None,
) -> DoctorReport:
    """Read all of `raw` once and report on it. A source that cannot be read is part of the report, not an error.

    In a corpus folder (Flair's, or a prepared one) only the text files are read. With the unit `word` the report has
    the size of vocabularies, by the given tokenizer or the default one; with `near_threshold` it has near-duplicates.

    Raises SourceError when `raw` leads to nothing, or none of it can be read, and ConfigError for a unit or tokenizer
    that there is not.
    """
    with tempfile.TemporaryDirectory(prefix="charlm-doctor-") as folder:
        near = None if near_threshold is None else _NearExamination(Path(folder), near_threshold)
        examination = _Examination(Path(folder), text_column, WordExamination(unit, tokenizer), near)
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
    """`train`, `valid` or `test` by the name or the folder of a source; `""` when they do not show it."""
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


class _NearExamination:
    """Near-duplicates that have been seen so far; the text of the train role is read before that of the others."""

    def __init__(self, folder: Path, threshold: float) -> None:
        self.threshold = threshold
        self.all_seen = NearDuplicates(_subfolder(folder, "near"), threshold)
        self.train_seen = NearDuplicates(_subfolder(folder, "near-train"), threshold)
        self.num_documents = 0
        self.leaks: Counter[str] = Counter()

    def add(self, documents: list[bytes], role: str) -> None:
        keys = self.all_seen.keys(documents)
        self.num_documents += int(np.count_nonzero(~self.all_seen.add(keys)))
        if role == "train":
            self.train_seen.add(keys)
        elif role:
            self.leaks[role] += int(np.count_nonzero(self.train_seen.contains(keys)))

    def report(self) -> NearReport:
        return NearReport(self.threshold, self.num_documents, dict(self.leaks))


def _likely_encoding(source: Source) -> str | None:
    """What a text that is not UTF-8 may be in: advice, by its first megabyte."""
    if source.kind not in ("text", "jsonl"):
        return None
    with suppress(SourceError, ConfigError), RawStream(source, ReadConfig()) as stream:
        found = guess_encoding(next(stream.blocks(), b""))
        return None if found == "utf-8" else found
    return None


class _Examination:
    """What has been seen so far."""

    def __init__(
        self, folder: Path, text_column: str | None, words: WordExamination, near: "_NearExamination | None"
    ) -> None:
        self.words, self.near = words, near
        self.reading = ReadConfig(bad_bytes="replace", text_column=text_column)
        self.sources: list[SourceReport] = []
        self.counter = CharacterUnit().counter()
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
        num_documents, mode, problem = 0, "record", None
        try:
            for documents in reader.batches():
                texts = [document.decode() for document in documents]
                if not num_documents and source.kind == "text":
                    mode = choose_document_mode(b"".join(documents).replace(b"\r\n", b"\n"))
                num_documents += len(documents)
                self._add(documents, texts, source)
        except SourceError as error:
            problem = str(error)
        if reader.has_only_returns:
            problem = only_returns(reader)
        self.num_replaced += reader.skipped["replacements"]
        self.modes[mode] += num_documents
        encoding = "UTF-8 with byte order mark" if reader.has_byte_order_mark else "UTF-8"
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
                has_only_returns=reader.has_only_returns,
                likely_encoding=_likely_encoding(source) if encoding in ("not UTF-8", "unreadable") else None,
            )
        )

    def _add(self, documents: list[bytes], texts: list[str], source: Source) -> None:
        joined = b"".join(documents)
        text = "".join(texts)
        self.num_bytes += len(joined)
        self.counter.add(joined)
        self.words.add(joined)
        self.documents.add(np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)))
        lines = text.split("\n")[:-1]
        self.lines.add(np.fromiter(map(len, lines), dtype=np.int64, count=len(lines)))
        self.num_columned += sum("\t" in line for line in lines)
        self.is_normalized = self.is_normalized and unicodedata.is_normalized("NFC", text)
        keys = document_keys(documents)
        self.num_duplicates += int(np.count_nonzero(~self.all_seen.add(keys)))
        role = _role(source)
        if self.near is not None:
            self.near.add(documents, role)
        if role == "train":
            self.train_seen.add(keys)
        elif role:
            self.leaks[role] += int(np.count_nonzero(self.train_seen.contains(keys)))

    def report(self) -> DoctorReport:
        counts = self.counter.counts.ranked()
        if not counts.total:
            problems = [source.problem for source in self.sources if source.problem]
            raise SourceError(problems[0] if problems else "there is no text in what was given; give some")
        number_of = counts.to_dict()
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
                f"{coverage:g}": 1 + len(choose_items(counts, DictionaryConfig(coverage=coverage), "char"))
                for coverage in _COVERAGES
            },
            suspects=_suspects(number_of),
            carriage_returns=number_of.get("\r", 0),
            replacement_characters=number_of.get("\N{REPLACEMENT CHARACTER}", 0) - self.num_replaced,
            duplicates=self.num_duplicates,
            leaks=dict(self.leaks),
            near=None if self.near is None else self.near.report(),
            words=self.words.report,
            settings={},
            reasons={},
            advice=[],
        )
        modes, is_normalized = self.modes, self.is_normalized
        suggestions = suggest_settings(report, modes=modes, is_normalized=is_normalized)
        report = dataclasses.replace(
            report,
            settings={suggestion.name: suggestion.value for suggestion in suggestions},
            reasons={suggestion.name: suggestion.reason for suggestion in suggestions},
        )
        advice = advise(report, modes=modes, is_normalized=is_normalized, num_columned=self.num_columned)
        return dataclasses.replace(report, advice=[*advice, *self.words.advice()])


def _subfolder(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path


def _scripts(number_of: dict[str, int]) -> tuple[dict[str, float], float]:
    """The share of each script among letters, most common first; and of letters among visible characters."""
    scripts: Counter[str] = Counter()
    num_visible = 0
    for character, number in number_of.items():
        num_visible += 0 if character.isspace() else number
        if unicodedata.category(character)[0] in "LM":
            # Python has no table of scripts; the first word of a letter's name is its script but for a few.
            name = unicodedata.name(character, "UNKNOWN").split(" ")[0].split("-")[0]
            scripts[{"CJK": "HAN", "COMBINING": "COMMON", "MODIFIER": "COMMON"}.get(name, name)] += number
    num_letters = sum(scripts.values())
    shares = {name.title(): round(number / num_letters, 4) for name, number in scripts.most_common()}
    return shares, num_letters / max(num_visible, 1)


def _suspects(number_of: dict[str, int]) -> dict[str, int]:
    return {
        show_character(character): number
        for character, number in number_of.items()
        if unicodedata.category(character) in _SUSPECT_CATEGORIES and character not in "\n\t"
    }
