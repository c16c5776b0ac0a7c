"""Corpora that many people use, ready to train on: fetched once from where they are published, or read from a folder.

Reads  CHARLM_CACHE/datasets/ud_english/*.conllu …, or the files of a folder that is given
Writes them there where they are missing and there is a network
"""

# ruff: noqa: N801  # the names are Flair's

import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.data.cache import cache_dir
from charlm.data.corpus import Corpus
from charlm.data.token_sequence import Tokenizer
from charlm.datasets.checksums import SHA256, TREC, UD_RELEASE, UNIVERSAL_DEPENDENCIES, WNUT
from charlm.datasets.column_corpus import ColumnCorpus
from charlm.datasets.lines import ReadingRules, mistake, read_lines
from charlm.datasets.sniffing import PREFIX
from charlm.datasets.text_options import TextOptions
from charlm.datasets.texts import LabelledText, label_texts, read_labelled_lines
from charlm.datasets.universal_dependencies import UniversalDependenciesCorpus
from charlm.errors import DatasetError
from charlm.storage.atomic import atomic_write

if TYPE_CHECKING:
    from charlm.tokenization import Tokenizer as TokenizerObject

_SECONDS = 30
_BLOCK = 1 << 20


class UD_ENGLISH(UniversalDependenciesCorpus):
    """The English Web Treebank of Universal Dependencies: web logs, news groups, mails, reviews.

    Args:
        base_path: folder with its files, or to fetch them into; by default CHARLM_CACHE/datasets/ud_english.
        in_memory: has no effect; all sentences are held in memory.
        revision: tag or branch of the treebank to fetch; only the files of the default one have known checksums.
    """

    def __init__(
        self, base_path: Path | str | None = None, in_memory: bool = True, *, revision: str = UD_RELEASE
    ) -> None:
        names = [f"en_ewt-ud-{split}.conllu" for split in ("train", "dev", "test")]
        url = f"{UNIVERSAL_DEPENDENCIES}/UD_English-EWT/{revision}"
        super().__init__(_folder(base_path, "ud_english", url, names), name="UD_ENGLISH")


class UD_GERMAN(UniversalDependenciesCorpus):
    """The German treebank GSD of Universal Dependencies: news, reviews, Wikipedia.

    Args:
        base_path: folder with its files, or to fetch them into; by default CHARLM_CACHE/datasets/ud_german.
        in_memory: has no effect; all sentences are held in memory.
        revision: tag or branch of the treebank to fetch; only the files of the default one have known checksums.
    """

    def __init__(
        self, base_path: Path | str | None = None, in_memory: bool = True, *, revision: str = UD_RELEASE
    ) -> None:
        names = [f"de_gsd-ud-{split}.conllu" for split in ("train", "dev", "test")]
        url = f"{UNIVERSAL_DEPENDENCIES}/UD_German-GSD/{revision}"
        super().__init__(_folder(base_path, "ud_german", url, names), name="UD_GERMAN")


class WNUT_17(ColumnCorpus):
    """Emerging entities in social media, of the workshop W-NUT 2017: the layer `ner`.

    The published files have a few tags in a wrong order, which are read as conlleval reads them.

    Args:
        base_path: folder with its files, or to fetch them into; by default CHARLM_CACHE/datasets/wnut_17.
        in_memory: has no effect; all sentences are held in memory.
    """

    def __init__(self, base_path: Path | str | None = None, in_memory: bool = True) -> None:
        names = ["wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"]
        folder = _folder(base_path, "wnut_17", WNUT, names)
        super().__init__(folder, {0: "text", 1: "ner"}, check_tags=False, name="WNUT_17")


class TREC_6(Corpus):
    """Questions and the kind of answer that they want (Li and Roth 2002), six kinds: the layer `question_class`.

    The files are the published ones (`NUM:dist How far is it … ?`, Latin-1) or the same with `__label__NUM` in front.

    Args:
        base_path: folder with its files, or to fetch them into; by default CHARLM_CACHE/datasets/trec_6.
        tokenizer: see Sentence; by default the words are those between blanks.
        memory_mode: has no effect.
        label_type: the layer that the labels get.
    """

    def __init__(
        self,
        base_path: Path | str | None = None,
        tokenizer: "bool | str | Tokenizer | TokenizerObject" = False,
        memory_mode: str = "full",
        *,
        label_type: str = "question_class",
    ) -> None:
        options = TextOptions(tokenizer=tokenizer, memory_mode=memory_mode)
        folder = _folder(base_path, "trec_6", TREC, ["train_5500.label", "TREC_10.label"], others=_TREC_NAMES)
        splits = []
        for names in zip(["train_5500.label", "TREC_10.label"], *_TREC_NAMES, strict=True):
            path = next(folder / name for name in names if (folder / name).is_file())
            splits.append(label_texts(path, _read_questions(path), label_type, options=options))
        super().__init__(splits[0], None, splits[1], name="TREC_6")


_TREC_NAMES = (("TREC.train", "TREC.test"), ("train.txt", "test.txt"))


_LATIN_1 = ReadingRules(encoding="latin-1")


def _read_questions(path: Path) -> Iterator[LabelledText]:
    """The questions of a file in either format, each with its coarse label."""
    _, first = next(read_lines(path, _LATIN_1), (1, ""))
    if first.startswith(PREFIX):
        yield from read_labelled_lines(path)
        return
    for number, line in read_lines(path, _LATIN_1):
        label, _, question = line.strip().partition(" ")
        coarse, colon, _ = label.partition(":")
        if not colon:
            raise mistake(path, number, f"the question has no label such as NUM:dist in front: {line.strip()[:60]!r}")
        yield number, [coarse], question


def _folder(
    base_path: Path | str | None, name: str, url: str, files: Sequence[str], *, others: Sequence[Sequence[str]] = ()
) -> Path:
    """The folder that holds `files` (or `others` in their place); those that are missing are fetched from `url`.

    Like Flair, a folder that is given may also hold the corpus in a folder of its own name.
    """
    folders = [cache_dir() / "datasets" / name] if base_path is None else [Path(base_path), Path(base_path) / name]
    for folder in folders:
        if any(all((folder / file).is_file() for file in wanted) for wanted in (files, *others)):
            return folder
    folder = folders[0]
    for file in files:
        if not (folder / file).is_file():
            address = f"{url}/{file}"
            fetch(address, folder / file, sha256=SHA256.get(address))
    return folder


def fetch(url: str, path: Path, *, sha256: str | None = None) -> None:
    """Bring what `url` names to `path`, whole or not at all.

    Raises DatasetError when the network or the server fails, when less comes than was announced, or when what comes has
    another digest than `sha256`.
    """
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                size, digest = 0, hashlib.sha256()
                while block := answer.read(_BLOCK):
                    size += file.write(block)
                    digest.update(block)
                announced = answer.headers["Content-Length"]
                if not size or (announced is not None and size != int(announced)):
                    raise DatasetError(f"{url} gave {size} bytes of {announced}; try again, or put the file at {path}")
                if sha256 not in (None, digest.hexdigest()):
                    raise DatasetError(
                        f"{url} has changed: SHA-256 {digest.hexdigest()}, expected {sha256}; put the file that you"
                        f" want at {path}"
                    )
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise DatasetError(f"cannot fetch {url} ({reason}); put the file at {path}") from error
