"""What is said of a data set that Flair downloads and charlm does not know by name."""

from typing import NoReturn

from charlm.errors import NotInCharLMError

_ABOUT = (
    (("HUNER_", "BIOBERT_", "BIGBIO_", "BIONLP", "CRAFT"), "biomedical corpora are"),
    (("RE_ENGLISH_", "SROIE"), "relations between spans are"),
    (("NEL_", "WSD_", "ZELDA"), "entity linkers are"),
    (("GLUE_", "SUPERGLUE_", "ParallelText", "DataPair", "DataTriple", "Opus"), "models of several texts are"),
    (("Feidegger", "Ocr"), "images are"),
)


def find(name: str) -> NoReturn:
    """The `__getattr__` of charlm.datasets: one line for a corpus of Flair's, AttributeError for anything else."""
    for prefixes, about in _ABOUT:
        if name.startswith(prefixes):
            raise NotInCharLMError(f"charlm.datasets.{name}: {about} not part of charlm; Flair has them")
    if name.startswith("UD_"):
        reader = "UniversalDependenciesCorpus(folder)"
    elif name.startswith(("NER_", "CONLL_", "ONTONOTES", "UP_", "KEYPHRASE_", "WNUT_", "MASAKHA_", "FEWNERD")):
        reader = "ColumnCorpus(folder, column_format)"
    elif len(name) > 3 and name.isupper():
        reader = "ClassificationCorpus(folder) or CSVClassificationCorpus(folder, column_name_map)"
    else:
        raise AttributeError(f"module 'charlm.datasets' has no attribute {name!r}")
    raise NotInCharLMError(
        f"charlm.datasets.{name}: charlm downloads no data; get the files and read them with {reader}, or use Flair"
    )
