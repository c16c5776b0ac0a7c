"""Label a text with a tagger or classifier.

Reads  a text with a sentence a line, or labelled data to score the model on
Writes a JSON object a line: the words of a sentence and its labels
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypedDict

from charlm.artifacts import Workspace
from charlm.errors import SourceError
from charlm.storage.atomic import atomic_write
from charlm.storage.user_paths import user_path
from tasks.downstream.registry import resolve_downstream_model
from tasks.terminal import Bar, terminal

if TYPE_CHECKING:
    from charlm.data.sentence import Sentence
    from charlm.evaluation.labels import LabelValues
    from charlm.models.downstream_model import DownstreamModel
    from charlm.trainers.downstream.build import LabelJson

_SENTENCES_AT_ONCE = 2_000


class TextPrediction(TypedDict):
    """The words and labels of a text."""

    text: str
    tokens: list[str]
    labels: "list[LabelJson]"


@dataclass(frozen=True, kw_only=True)
class LabelledText:
    """The result of labelling a text."""

    num_sentences: int
    output: Path | None = None
    """The file that holds the predictions; without it they are in `predictions`."""

    predictions: "list[TextPrediction]" = field(default_factory=list)
    scores: "LabelValues | None" = None
    """The scores of the model, where the text has labels."""

    table: str | None = None
    """The same as a table."""

    def to_json(self) -> dict[str, object]:
        result: dict[str, object] = {"sentences": self.num_sentences, "scores": self.scores}
        if self.output is not None:
            return {"output": str(self.output), **result}
        return result if self.scores is not None else {**result, "predictions": self.predictions}


def label_text(
    workspace: Workspace,
    model: str,
    text: str,
    *,
    output: Path | None = None,
    encoding: str = "utf-8",
    header: bool | None = None,
    tokenizer: str | None = None,
) -> LabelledText:
    """Label every sentence of the file `text`: its lines, or what charlm/datasets/inputs.py finds in it.

    Texts are cut as those that the model was trained on, or by `tokenizer`.
    """
    path = _file(text)
    labeller = _load(workspace, model)
    from charlm.datasets.inputs import read_inputs
    from charlm.datasets.lines import ReadingRules
    from charlm.tokenization import tokenizer_of

    rules = ReadingRules(encoding=encoding, header=header, tokenizer=tokenizer or tokenizer_of(labeller.tokenizer))
    sentences = (item.sentence for item in read_inputs(path, rules=rules))
    with terminal.step(f"label {path.name}") as bar:
        if output is None:
            predictions = list(_predictions(labeller, sentences, bar))
            bar.finish(f"{len(predictions):,} sentences")
            return LabelledText(num_sentences=len(predictions), predictions=predictions)
        output = user_path(output).absolute()
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(output) as file:
            count = _write(file, _predictions(labeller, sentences, bar))
        bar.finish(f"{count:,} sentences")
    return LabelledText(num_sentences=count, output=output)


def judge_labels(
    workspace: Workspace,
    model: str,
    data: str,
    *,
    columns: str | None = None,
    output: Path | None = None,
    encoding: str = "utf-8",
    header: bool | None = None,
    tokenizer: str | None = None,
) -> LabelledText:
    """Score the predictions of a model on the labelled file `data`; `output` gets both, word by word.

    Raises DatasetError with file and line where the model does not know a label.
    """
    path = _file(data)
    labeller = _load(workspace, model)
    from charlm.datasets.lines import ReadingRules
    from charlm.datasets.opening import read_labelled
    from charlm.evaluation.collapse import collapse_of
    from charlm.tokenization import tokenizer_of
    from charlm.trainers.downstream.build import known_labels

    rules = ReadingRules(encoding=encoding, header=header, tokenizer=tokenizer or tokenizer_of(labeller.tokenizer))
    (sentences,), _ = read_labelled([path], labeller.label_type, columns, known_labels(labeller), rules)
    with terminal.step(f"evaluate {path.name}") as bar:
        evaluation = labeller.evaluate(sentences, out_path=output)
        bar.finish(f"micro F1 {evaluation.main_score:.4f}")
    return LabelledText(
        num_sentences=len(sentences),
        output=output and user_path(output).absolute(),
        scores=evaluation.scores.to_json(),
        table="\n".join(filter(None, [evaluation.scores.table(), collapse_of(evaluation.scores)])),
    )


def _file(text: str) -> Path:
    path = user_path(text)
    if not path.is_file():
        raise SourceError(f"there is no text file {text!r} to label")
    return path


def _load(workspace: Workspace, model: str) -> "DownstreamModel":
    """The model, on the default device."""
    path = resolve_downstream_model(model, workspace)
    from charlm.models import DownstreamModel

    return DownstreamModel.load(path)


def _predictions(labeller: "DownstreamModel", sentences: "Iterable[Sentence]", bar: Bar) -> Iterator[TextPrediction]:
    """The labels of each sentence, in bounded memory."""
    from charlm.trainers.downstream.build import prediction_json

    sentences = iter(sentences)
    count = 0
    while block := list(islice(sentences, _SENTENCES_AT_ONCE)):
        labeller.predict(block)
        count += len(block)
        bar.update(None, f"{count:,} sentences")
        for sentence in block:
            yield {"text": sentence.text, **prediction_json(sentence, labeller.label_type)}


def _write(file: IO[bytes], predictions: Iterable[TextPrediction]) -> int:
    count = 0
    for count, prediction in enumerate(predictions, 1):  # noqa: B007  # the number of the last one
        file.write(json.dumps(prediction, ensure_ascii=False).encode() + b"\n")
    return count


def labelled_line(prediction: TextPrediction) -> str:
    """A text and its labels: `I love Berlin  →  Berlin/LOC 0.98`."""
    labels = (f"{one['text']}/{one['value']} {one['confidence']:.2f}" for one in prediction["labels"])
    if [one["text"] for one in prediction["labels"]] == [prediction["text"]]:  # the label of the text itself
        labels = (f"{one['value']} {one['confidence']:.2f}" for one in prediction["labels"])
    return f"{prediction['text']}  →  {', '.join(labels) or '–'}"
