"""Data sets that Flair downloads and charlm does not: treebanks and some others are read from a folder by their names.

For all others a line says what to do.
"""

from functools import cache
from pathlib import Path
from typing import TypeVar

from charlm.data.cache import cache_dir
from charlm.data.corpus import Corpus
from charlm.datasets.column_corpus import ColumnCorpus
from charlm.datasets.universal_dependencies import UniversalDependenciesCorpus
from charlm.errors import DatasetError, outside

C = TypeVar("C", bound=Corpus)

_ABOUT = (
    (("HUNER_", "BIOBERT_", "BIGBIO_", "BIONLP", "CRAFT"), "biomedical corpora are"),
    (("RE_ENGLISH_", "SROIE"), "relations between spans are"),
    (("NEL_", "WSD_", "ZELDA"), "entity linkers are"),
    (("GLUE_", "SUPERGLUE_", "ParallelText", "DataPair", "DataTriple", "Opus"), "models of several texts are"),
    (("Feidegger", "Ocr"), "images are"),
)

_DOCUMENTS: dict[str, object] = {"document_separator_token": "-DOCSTART-"}
_COLUMNS: dict[str, tuple[dict[int, str], dict[str, object]]] = {
    "CLEANCONLL": ({0: "text", 1: "pos", 2: "nel", 3: "ner*", 4: "ner"}, _DOCUMENTS),
    "CONLL_03": ({0: "text", 1: "pos", 3: "ner"}, _DOCUMENTS),
    "CONLL_03_GERMAN": ({0: "text", 1: "lemma", 2: "pos", 3: "np", 4: "ner"}, _DOCUMENTS),
    "CONLL_03_DUTCH": ({0: "text", 1: "pos", 2: "ner"}, {"encoding": "latin-1", **_DOCUMENTS}),
    "CONLL_2000": ({0: "text", 1: "pos", 2: "np"}, {}),
    "NER_GERMAN_GERMEVAL": ({1: "text", 2: "ner"}, {"comment_symbol": "#"}),
}
"""What stands in the columns of published files, and how they are read."""


@cache
def find(name: str) -> type:
    """The `__getattr__` of charlm.datasets: a treebank, a class that says its line, or AttributeError."""
    path = f"charlm.datasets.{name}"
    for prefixes, about in _ABOUT:
        if name.startswith(prefixes):
            return outside(path, f"{path}: {about} not part of charlm; Flair has them")
    if name.startswith("UD_"):
        return _treebank(name)
    if name in _COLUMNS:
        columns, options = _COLUMNS[name]
        return _column_corpus(name, columns, **options)
    if name.startswith("UP_"):
        frames = 10 if name == "UP_ENGLISH" else 9
        return _column_corpus(name, {1: "text", frames: "frame"}, comment_symbol="#", label_name_map={"_": "O"})
    if name.startswith(("NER_", "CONLL_", "ONTONOTES", "KEYPHRASE_", "WNUT_", "MASAKHA_", "FEWNERD")):
        reader = "ColumnCorpus(folder, column_format)"
    elif len(name) > 3 and name.isupper():
        reader = "ClassificationCorpus(folder) or CSVClassificationCorpus(folder, column_name_map)"
    else:
        raise AttributeError(f"module 'charlm.datasets' has no attribute {name!r}")
    return outside(
        path, f"{path}: charlm downloads no such data; get the files and read them with {reader}, or use Flair"
    )


def _folder(name: str, base_path: Path | str | None, pattern: str = "*") -> Path:
    """The folder `base_path`, the one of the corpus in it, or the one in CHARLM_CACHE, that has such files."""
    named = name.lower()
    folders = [cache_dir() / "datasets" / named] if base_path is None else [Path(base_path) / named, Path(base_path)]
    for folder in folders:
        if any(path.is_file() for path in folder.glob(pattern)):
            return folder
    raise DatasetError(f"{name}: no files {pattern} in {folders[0]}; put them there (charlm does not download them)")


def _treebank(name: str) -> type[UniversalDependenciesCorpus]:
    """A treebank of Universal Dependencies, read from a folder."""

    class Treebank(UniversalDependenciesCorpus):
        def __init__(self, base_path: Path | str | None = None, in_memory: bool = True) -> None:
            super().__init__(_folder(name, base_path, "*.conllu"), name=name)

    return _named(Treebank, name)


def _column_corpus(name: str, columns: dict[int, str], **usual: object) -> type[ColumnCorpus]:
    """A corpus of words in columns, read from a folder; tags are read as conlleval reads them."""

    class Columns(ColumnCorpus):
        def __init__(self, base_path: Path | str | None = None, **options: object) -> None:
            options = {"check_tags": False, **usual, **options}
            super().__init__(_folder(name, base_path), columns, name=name, **options)  # type: ignore[arg-type]

    return _named(Columns, name)


def _named(corpus: type[C], name: str) -> type[C]:
    corpus.__name__ = corpus.__qualname__ = name
    corpus.__doc__ = f"The corpus {name}, from the folder base_path or CHARLM_CACHE/datasets/{name.lower()}."
    return corpus
