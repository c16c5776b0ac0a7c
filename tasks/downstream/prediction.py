"""Label a text with a tagger or classifier.

Reads  a text with a sentence a line, or labelled data to judge the model by
Writes a JSON object a line: the words of a sentence and its labels
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from charlm.artifacts import Workspace
from charlm.errors import SourceError
from charlm.storage.atomic import atomic_write
from tasks.downstream.registry import resolve_task_model
from tasks.terminal import Bar, terminal

if TYPE_CHECKING:
    from charlm.data.sentence import Sentence
    from charlm.models.downstream_model import TaskModel

_SENTENCES_AT_ONCE = 2_000


@dataclass(frozen=True, kw_only=True)
class LabelledText:
    """The result of labelling a text."""

    num_sentences: int
    output: Path | None = None
    """The file that holds the predictions; without it they are in `predictions`."""

    predictions: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, Any] | None = None
    """How well the model did, where the text has labels to judge it by."""

    table: str | None = None
    """The same for eyes."""

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = {"sentences": self.num_sentences, "scores": self.scores}
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
) -> LabelledText:
    """Label every sentence of the file `text`: its lines, or what charlm/datasets/inputs.py finds in it."""
    path = _file(text)
    labeller = _load(workspace, model)
    from charlm.datasets.inputs import read_inputs
    from charlm.datasets.lines import ReadingRules

    rules = ReadingRules(encoding=encoding, header=header)
    sentences = (item.sentence for item in read_inputs(path, rules=rules))
    with terminal.step(f"label {path.name}") as bar:
        if output is None:
            predictions = list(_predictions(labeller, sentences, bar))
            bar.finish(f"{len(predictions):,} sentences")
            return LabelledText(num_sentences=len(predictions), predictions=predictions)
        output = output.expanduser().absolute()
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
) -> LabelledText:
    """Compare what a model says of the labelled file `data` with its labels; `output` takes both, word by word.

    Raises DatasetError with file and line where the model does not know a label.
    """
    path = _file(data)
    labeller = _load(workspace, model)
    from charlm.datasets.lines import ReadingRules
    from charlm.datasets.opening import read_labelled
    from charlm.evaluation.collapse import collapse_of
    from charlm.trainers.downstream.build import known_labels

    rules = ReadingRules(encoding=encoding, header=header)
    (sentences,), _ = read_labelled([path], labeller.label_type, columns, known_labels(labeller), rules)
    with terminal.step(f"judge {path.name}") as bar:
        evaluation = labeller.evaluate(sentences, out_path=output)
        bar.finish(f"micro F1 {evaluation.main_score:.4f}")
    return LabelledText(
        num_sentences=len(sentences),
        output=output and output.expanduser().absolute(),
        scores=evaluation.scores.to_json(),
        table="\n".join(filter(None, [evaluation.scores.table(), collapse_of(evaluation.scores)])),
    )


def _file(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise SourceError(f"there is no text file {text!r} to label")
    return path


def _load(workspace: Workspace, model: str) -> "TaskModel":
    """The model on a GPU where there is one."""
    path = resolve_task_model(model, workspace)
    import torch

    from charlm.models import TaskModel

    return TaskModel.load(path).to("cuda" if torch.cuda.is_available() else "cpu")


def _predictions(labeller: "TaskModel", sentences: "Iterable[Sentence]", bar: Bar) -> Iterator[dict[str, Any]]:
    """What the model says of each sentence, in bounded memory."""
    from charlm.trainers.downstream.build import prediction_json

    sentences = iter(sentences)
    count = 0
    while block := list(islice(sentences, _SENTENCES_AT_ONCE)):
        labeller.predict(block)
        count += len(block)
        bar.update(note=f"{count:,} sentences")
        for sentence in block:
            yield {"text": sentence.text, **prediction_json(sentence, labeller.label_type)}


def _write(file: IO[bytes], predictions: Iterable[dict[str, Any]]) -> int:
    count = 0
    for count, prediction in enumerate(predictions, 1):  # noqa: B007  # the number of the last one
        file.write(json.dumps(prediction, ensure_ascii=False).encode() + b"\n")
    return count
