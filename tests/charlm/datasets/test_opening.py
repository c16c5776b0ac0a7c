"""Labelled data is opened by the name of its folder, and its labels can be checked against those of a model."""

from pathlib import Path

import pytest

from charlm.datasets.opening import open_corpora, read_labelled
from charlm.errors import DatasetError
from tests.charlm.datasets.test_datasets import CONLLU, put

TEXTS = {
    "lines": ("train.txt", "__label__HUM Who?\n", "class", ["HUM"]),
    "jsonl": ("train.jsonl", '{"text": "Who?", "label": "HUM"}\n', "class", ["HUM"]),
    "spans": ("train.jsonl", '{"text": "Ann left.", "label": [[0, 3, "PER"]]}\n', "tag", ["PER"]),
    "csv": ("train.csv", "HUM,Who?\n", "class", ["HUM"]),
    "conllu": ("de-train.conllu", CONLLU.partition("\n\n")[0], "upos", ["ADP", "DET", "NOUN", "PUNCT", "NUM"]),
    "columns": ("train.tsv", "Ann\tNNP\tB-PER\n", "tag", ["PER"]),
}


def values(sentence, layer: str) -> list[str]:
    return [label.value for label in sentence.get_labels(layer)]


@pytest.mark.parametrize(("name", "text", "layer", "labels"), TEXTS.values(), ids=TEXTS)
def test_format_of_a_folder_is_told_by_its_files(tmp_path, name, text, layer, labels):
    (tmp_path / name).write_text(text)
    corpus, found = open_corpora([str(tmp_path)])
    assert found == layer
    assert values(corpus.train[0], layer) == labels
    assert corpus.name == tmp_path.name


def test_layer_and_columns_can_be_chosen(tmp_path):
    put(tmp_path, train="Ann\tNNP\tB-PER\n")
    corpus, layer = open_corpora([str(tmp_path)], "pos", "text,pos,_")
    assert (layer, values(corpus.train[0], "pos")) == ("pos", ["NNP"])
    corpus, layer = open_corpora([str(tmp_path)], None, "text,_,ner")
    assert (layer, values(corpus.train[0], "ner")) == ("ner", ["PER"])
    with pytest.raises(DatasetError, match="no column of text,_,ner is 'pos'"):
        open_corpora([str(tmp_path)], "pos", "text,_,ner")
    with pytest.raises(DatasetError, match="name the column of the words, for example text,tag; got 'pos,ner'"):
        open_corpora([str(tmp_path)], None, "pos,ner")


def test_several_folders_are_one_corpus_if_they_label_the_same(tmp_path):
    for number, name in enumerate(("one", "two"), 1):
        put(tmp_path / name, train="Ann\tB-PER\n\n" * number, dev="a\tO\n", test="a\tO\n")
    corpus, layer = open_corpora([str(tmp_path / "one"), str(tmp_path / "two")])
    assert (len(corpus.train), layer) == (3, "tag")
    put(tmp_path / "texts", train="__label__HUM Who?\n")
    with pytest.raises(DatasetError, match="labelled with class, tag; choose one with --label"):
        open_corpora([str(tmp_path / "one"), str(tmp_path / "texts")])


def test_prepared_corpus_is_opened_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path))
    put(tmp_path / "datasets" / "trec_6", train="__label__HUM Who?\n", test="__label__NUM How?\n")
    corpus, layer = open_corpora(["TREC_6"])
    assert (corpus.name, layer) == ("TREC_6", "question_class")


def test_what_is_not_there_is_an_error_that_names_the_prepared_corpora(tmp_path):
    with pytest.raises(DatasetError, match=r"no folder 'NOWHERE' .* UD_ENGLISH, UD_GERMAN, WNUT_17, TREC_6"):
        open_corpora(["NOWHERE"])
    with pytest.raises(DatasetError, match="no labelled data was named"):
        open_corpora([])
    put(tmp_path, train="Ann\nsaid\n")
    with pytest.raises(DatasetError, match="has one column only"):
        open_corpora([str(tmp_path)])


@pytest.mark.parametrize("kind", TEXTS)
def test_label_that_a_model_does_not_know_is_refused_with_file_and_line(tmp_path, kind):
    line, unknown = {"conllu": (4, "DET"), "columns": (1, "PER"), "spans": (1, "PER")}.get(kind, (1, "HUM"))
    name, text, layer, labels = TEXTS[kind]
    path: Path = tmp_path / name
    path.write_text(text)
    read_labelled([path], layer, known=labels)
    others = [label for label in labels if label != unknown] + ["X"]
    shown = ", ".join(sorted(others))
    with pytest.raises(DatasetError) as error:
        read_labelled([path], layer, known=others)
    assert str(error.value) == f"{path}, line {line}: the label {unknown!r} is unknown; the model knows {shown}"
