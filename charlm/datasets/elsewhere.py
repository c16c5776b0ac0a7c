"""Data sets that Flair downloads and charlm does not know by name: treebanks are read from a folder.

For all others a line says what to do.
"""

from functools import cache
from pathlib import Path

from charlm.data.cache import cache_dir
from charlm.datasets.universal_dependencies import UniversalDependenciesCorpus
from charlm.errors import DatasetError, outside

_ABOUT = (
    (("HUNER_", "BIOBERT_", "BIGBIO_", "BIONLP", "CRAFT"), "biomedical corpora are"),
    (("RE_ENGLISH_", "SROIE"), "relations between spans are"),
    (("NEL_", "WSD_", "ZELDA"), "entity linkers are"),
    (("GLUE_", "SUPERGLUE_", "ParallelText", "DataPair", "DataTriple", "Opus"), "models of several texts are"),
    (("Feidegger", "Ocr"), "images are"),
)


@cache
def find(name: str) -> type:
    """The `__getattr__` of charlm.datasets: a treebank, a class that says its line, or AttributeError."""
    path = f"charlm.datasets.{name}"
    for prefixes, about in _ABOUT:
        if name.startswith(prefixes):
            return outside(path, f"{path}: {about} not part of charlm; Flair has them")
    if name.startswith("UD_"):
        return _treebank(name)
    if name.startswith(("NER_", "CONLL_", "ONTONOTES", "UP_", "KEYPHRASE_", "WNUT_", "MASAKHA_", "FEWNERD")):
        reader = "ColumnCorpus(folder, column_format)"
    elif len(name) > 3 and name.isupper():
        reader = "ClassificationCorpus(folder) or CSVClassificationCorpus(folder, column_name_map)"
    else:
        raise AttributeError(f"module 'charlm.datasets' has no attribute {name!r}")
    return outside(
        path, f"{path}: charlm downloads no such data; get the files and read them with {reader}, or use Flair"
    )


def _treebank(name: str) -> type[UniversalDependenciesCorpus]:
    """A treebank of Universal Dependencies, read from a folder."""

    class Treebank(UniversalDependenciesCorpus):
        def __init__(self, base_path: Path | str | None = None) -> None:
            folder = cache_dir() / "datasets" / name.lower() if base_path is None else Path(base_path)
            if not any(folder.glob("*.conllu")):
                inner = folder / name.lower()
                if not any(inner.glob("*.conllu")):
                    raise DatasetError(
                        f"{name}: no .conllu files in {folder}; put them there (charlm does not download them)"
                    )
                folder = inner
            super().__init__(folder, name=name)

    Treebank.__name__ = Treebank.__qualname__ = name
    Treebank.__doc__ = f"The treebank {name}, from the folder base_path or CHARLM_CACHE/datasets/{name.lower()}."
    return Treebank
