"""Pictures of a training: they appear beside their files, whoever wrote these, and mistakes are told in one line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from charlm.artifacts import RunFiles
from charlm.errors import ConfigError, RunError
from charlm.evaluation.labels import LabelScores, score_labels, score_spans
from charlm.trainers.lm import curves
from charlm.trainers.lm.curves import TrainingCurve
from charlm.visual import Highlighter
from charlm.visual.confusion_matrix import draw_confusion_matrix
from charlm.visual.training_curves import Plotter

FLAIR = """\
EPOCH\tTIMESTAMP\tBAD_EPOCHS\tLEARNING_RATE\tTRAIN_LOSS\tDEV_LOSS\tDEV_PRECISION\tDEV_RECALL\tDEV_F1\tDEV_ACCURACY
1\t10:00:00\t0\t0.1000,0.0500\t1.5\t1.4\t0.5\t0.5\t0.5\t0.4
2\t10:00:01\t0\t0.0500,0.0200\t1.2\t_\t_\t_\t_\t_
3\t10:00:02\t1\t0.0100,0.0100\t1.0\t1.1\t0.6\t0.6\t0.6\t0.5
"""
LANGUAGE_MODEL = """\
step\tcharacters\tepoch\tsplit\tlearning_rate\ttrain_loss\tloss\tperplexity\tbits_per_character\tbits_per_byte\tunk_rate\tbest
40\t6400\t0\t1\t0.007\t3.02\t2.98\t19.7\t4.3\t4.3\t0\t1
"""


def size_of(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG, in pixels."""
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(content[16:20]), int.from_bytes(content[20:24])


@pytest.mark.parametrize("text", [FLAIR, LANGUAGE_MODEL], ids=["Flair's", "a language model's"])
def test_training_curves_are_drawn_beside_the_table(tmp_path, text):
    (tmp_path / "loss.tsv").write_text(text)
    picture = Plotter().plot_training_curves(str(tmp_path / "loss.tsv"))
    assert picture == tmp_path / "training.png"
    assert min(size_of(picture)) > 400


def test_what_is_drawn_can_be_chosen(tmp_path):
    (tmp_path / "loss.tsv").write_text(FLAIR)
    one = size_of(Plotter().plot_training_curves(tmp_path / "loss.tsv", plot_values=["loss"]))
    two = size_of(Plotter().plot_training_curves(tmp_path / "loss.tsv", plot_values=["loss", "F1"]))
    assert one[0] == two[0]
    assert one[1] < two[1]


def test_a_score_that_another_one_equals_is_not_drawn_twice(tmp_path):
    header, row = "epoch\ttrain_loss\tdev_accuracy\tdev_micro_f1\n", "1\t1.5\t0.5\t{}\n"
    heights = []
    for micro_f1 in (0.5, 0.4):
        (tmp_path / "loss.tsv").write_text(header + row.format(micro_f1))
        heights.append(size_of(Plotter().plot_training_curves(tmp_path / "loss.tsv"))[1])
    assert heights[0] < heights[1]
    assert size_of(Plotter().plot_training_curves(tmp_path / "loss.tsv", ["loss", "F1"]))[1] == heights[0]


def test_weights_are_drawn_beside_their_file(tmp_path):
    lines = [
        f"{epoch}\t{name}\t{number}\t{epoch * number / 10}\n"
        for epoch in range(1, 4)
        for name in ("rnn.weight", "rnn.bias", "linear.weight", "linear.bias")
        for number in range(3)
    ]
    (tmp_path / "weights.txt").write_text("".join(lines))
    picture = Plotter().plot_weights(tmp_path / "weights.txt")
    assert picture == tmp_path / "weights.png"
    assert min(size_of(picture)) > 300


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("EPOCH\tTRAIN_LOSS\n", "holds no row yet"),
        ("EPOCH\tTRAIN_LOSS\n1\n", "line 2: 2 columns are needed, and 1 found"),
        ("EPOCH\tTRAIN_LOSS\n1\thigh\n", "is not a table of a training: could not convert"),
        ("EPOCH\tTIME\n1\t2\n", "has no column for loss, .*; it has epoch, time"),
    ],
)
def test_table_with_nothing_to_draw_is_refused(tmp_path, text, expected):
    (tmp_path / "loss.tsv").write_text(text)
    with pytest.raises(RunError, match=rf"loss\.tsv.* {expected}"):
        Plotter().plot_training_curves(tmp_path / "loss.tsv")
    assert [path.name for path in tmp_path.iterdir()] == ["loss.tsv"]


def test_weights_that_are_missing_or_damaged_are_refused(tmp_path):
    with pytest.raises(RunError, match=r"cannot read .*weights\.txt: No such file"):
        Plotter().plot_weights(tmp_path / "weights.txt")
    (tmp_path / "weights.txt").write_text("1\trnn\t0\t0.5\n1\trnn\n")
    with pytest.raises(RunError, match="line 2: an epoch, a name, a number and a value are needed"):
        Plotter().plot_weights(tmp_path / "weights.txt")


def test_the_curve_of_a_run_is_drawn_at_its_end_and_between_only_after_a_while(tmp_path, monkeypatch):
    files = RunFiles(tmp_path)
    files.journal.touch()
    curve = TrainingCurve(files)
    curve.on_event({"event": "validation"})
    assert not files.training_curve.exists()
    for event in ("end", "interrupted"):
        curve.on_event({"event": event})
        size_of(files.training_curve)
        files.training_curve.unlink()
    monkeypatch.setattr(curves, "_SECONDS_BETWEEN", 0.0)
    curve.on_event({"event": "validation"})
    assert files.training_curve.exists()


def test_confusion_matrix_is_drawn_and_grows_with_its_labels(tmp_path):
    small = size_of(draw_confusion_matrix(score_labels("aabb", "abbb"), tmp_path / "small.png"))
    letters = "abcdefghijklmnopqrstuvwxyz"
    large = size_of(draw_confusion_matrix(score_labels(letters, letters), tmp_path / "large.png"))
    capped = size_of(draw_confusion_matrix(score_labels(letters, letters), tmp_path / "capped.png", max_labels=2))
    assert small == capped < large
    assert small[0] >= 400  # room for the title
    draw_confusion_matrix(score_spans([["S-A", "O"]], [["O", "S-A"]]), tmp_path / "spans.png")
    with pytest.raises(ConfigError, match="no labels to draw"):
        draw_confusion_matrix(LabelScores(), tmp_path / "none.png")


def test_pictures_leave_no_figure_open_and_need_no_window(tmp_path):
    (tmp_path / "loss.tsv").write_text(FLAIR)
    code = (
        "import sys\nfrom charlm.visual.training_curves import Plotter\n"
        f"Plotter().plot_training_curves({str(tmp_path / 'loss.tsv')!r})\nassert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"DISPLAY": ":99"})


def test_characters_are_coloured_by_what_a_unit_makes_of_them(tmp_path):
    activations = torch.tensor([[0.0, 1.0, 5.0], [1.0, 0.0, 5.0], [0.5, 0.5, 5.0]])
    page = Highlighter().highlight(activations[:, 0], "a<b")
    assert [(hue, text) for hue, text in re.findall(r"hsl\((\d+), .*?>(.*?)</span>", page)] == [
        ("240", "a"),
        ("0", "&lt;"),
        ("120", "b"),
    ]
    Highlighter().highlight_selection(activations, "a<b", tmp_path / "page.html", n=1000)
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("<p>") == 3
    Highlighter().highlight_selection(activations, "a<b", tmp_path / "page.html", n=2)
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("<p>") == 2
    with pytest.raises(ConfigError, match=r"one activation a character is needed: \(3,\) for 2"):
        Highlighter().highlight(activations[:, 0], "ab")
