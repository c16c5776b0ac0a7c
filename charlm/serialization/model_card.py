"""The model card: what a person should know about a bundle before using it, as Markdown.

It is made from the manifest alone, so that it can be made again for any bundle, and has "not recorded" where the
manifest has no entry. The sections follow Mitchell et al., Model Cards for Model Reporting (2019).
"""

from collections.abc import Mapping

from charlm.serialization.markdown import escape
from charlm.units.unit import find_unit

_UNKNOWN = "not recorded"
_SCORES = ("bits_per_character", "bits_per_byte", "perplexity", "unk_rate")
_USE = """\
The model reads text character by character and predicts the next one. Its inner states serve as word embeddings for
tagging and classifying text of the kind it was trained on. It knows nothing of facts, was not trained to hold a
conversation, and repeats whatever bias its text has; text that it generates is for looking at the model only. Expect
worse embeddings for languages, scripts and domains that the table of scores does not cover."""


def model_card(bundle: Mapping[str, object]) -> str:
    """The card of the bundle whose manifest (`bundle.json`) this is.

    Facts are taken from `corpus`, `scores` (by direction, then split), `recipe`, `training`, `parent_version`,
    `library_versions`, `licence` and `languages` where the manifest has them.
    """
    corpus = _mapping(bundle.get("corpus"))
    name = corpus.get("name", "language model")
    sections = [
        f"# Character language models of {escape(name)}",
        f"Licence: {escape(bundle.get('licence') or _UNKNOWN)}",
        f"Languages: {escape(_cell(bundle.get('languages')))}",
        _section("Models", _models(bundle)),
        _section("Text they were trained on", _facts(corpus)),
        _section("Scores", _scores(_mapping(bundle.get("scores")))),
        *([_section("Beside the model in torch", _loss(bundle))] if "precision" in bundle else []),
        _section("Intended use", _USE),
        _section("How to load them", _exported_loading() if "graphs" in bundle else _loading(bundle)),
        _section("Training", _facts(_training(bundle))),
    ]
    return "\n\n".join(sections) + "\n"


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}"


def _models(bundle: Mapping[str, object]) -> str:
    dictionary = _mapping(bundle.get("dictionary"))
    rows: list[list[object]] = []
    for direction, values in _mapping(bundle.get("models")).items():
        model = _mapping(values)
        projection = f", projected to {model['nout']}" if model.get("nout") else ""
        layers = f"{model.get('nlayers')} × {model.get('hidden_size')} {model.get('recurrent_type')}{projection}"
        rows.append([direction, layers, dictionary.get("unit"), dictionary.get("size")])
    return _table(["direction", "layers", "unit", "dictionary size"], rows)


def _training(bundle: Mapping[str, object]) -> dict[str, object]:
    facts = {"recipe": bundle.get("recipe"), "parent version": bundle.get("parent_version") or "none"}
    facts |= _mapping(bundle.get("training"))
    return facts | {f"{name} version": version for name, version in _mapping(bundle.get("library_versions")).items()}


def _scores(scores: Mapping[str, object]) -> str:
    rows: list[list[object]] = [
        [direction, split, *(_shown_score(score, _mapping(values).get(score)) for score in _SCORES)]
        for direction, splits in scores.items()
        for split, values in _mapping(splits).items()
    ]
    explanation = (
        "`unk_rate` is the share of held-out characters outside the dictionary: a model that misses many looks better "
        "per character than it is. `bits_per_byte` pays for them and compares models with different dictionaries."
    )
    return f"{_table(['direction', 'split', *_SCORES], rows)}\n\n{explanation}" if rows else f"{_UNKNOWN.capitalize()}."


def _shown_score(name: str, value: object) -> str | None:
    """A score with three decimals, so that a column compares at a glance; a share in per cent."""
    if not isinstance(value, int | float):
        return None
    return f"{value:.3%}" if name == "unk_rate" else f"{value:.3f}"


def _loss(bundle: Mapping[str, object]) -> str:
    """What an export without torch changes: cosines of vectors, and a tagger's F1 on both."""
    facts = {"precision": bundle["precision"], **_mapping(bundle.get("loss"))}
    return _table(["fact", "value"], [[name.replace("_", " "), _six_digits(value)] for name, value in facts.items()])


def _six_digits(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _exported_loading() -> str:
    return """\
With NumPy and onnxruntime, where `FOLDER` is this folder:

```python
from charlm.runtime import load

vectors = load("FOLDER").embed([["The", "grass", "is", "green", "."]])
```

Without charlm, the file `charlm_runtime.py` of this folder is the same module."""


def _loading(bundle: Mapping[str, object]) -> str:
    directions = list(_mapping(bundle.get("models")))
    unit = find_unit(_mapping(bundle.get("dictionary")).get("unit", "char"))
    kind = "FlairEmbeddings" if unit.items_are_characters else "WordLMEmbeddings"
    ours = ", ".join(f'{kind}("BUNDLE/{direction}")' for direction in directions)
    text = f"""\
Here, where `BUNDLE` is this folder:

```python
from charlm.data import Sentence
from charlm.embeddings import {", ".join(sorted([kind, "StackedEmbeddings"]))}

embeddings = StackedEmbeddings([{ours}])
embeddings.embed(sentence := Sentence("The grass is green ."))
```"""
    if directions:
        text += f'\n\nFrom a registry: `{kind}("models:/NAME/VERSION/{directions[0]}")`.'
    if not unit.in_flair:
        return f"{text}\n\nFlair cannot load them: their unit is the {unit.noun}."
    theirs = ", ".join(f'FlairEmbeddings("BUNDLE/{direction}/best-lm.pt")' for direction in directions)
    return f"""\
{text}

In Flair:

```python
from flair.data import Sentence
from flair.embeddings import FlairEmbeddings, StackedEmbeddings

embeddings = StackedEmbeddings([{theirs}])
embeddings.embed(sentence := Sentence("The grass is green ."))
```"""


def _facts(facts: Mapping[str, object]) -> str:
    if not facts:
        return f"{_UNKNOWN.capitalize()}."
    return _table(["fact", "value"], [[name.replace("_", " "), value] for name, value in facts.items()])


def _table(header: list[str], rows: list[list[object]]) -> str:
    cells = [[escape(_cell(value)) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *cells])


def _cell(value: object) -> str:
    if value is None:
        return _UNKNOWN
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, Mapping):
        value = ", ".join(f"{key}: {_cell(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        value = ", ".join(map(_cell, value))
    return str(value)


def _mapping(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}
