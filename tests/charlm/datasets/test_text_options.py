"""Options of Flair's readers of labelled texts, dialects of tables, and the corpora of doccano's JSON lines."""

import json

import pytest

from charlm.datasets import (
    ClassificationCorpus,
    ClassificationDataset,
    CSVClassificationCorpus,
    CSVClassificationDataset,
    JsonlCorpus,
    JsonlDataset,
    MultiFileJsonlCorpus,
)
from charlm.errors import DatasetError
from charlm.tokenization import SpaceTokenizer

LINES = "__label__spam Buy it now!\n__label__ham See you there.\n__label__odd What?\n"
DOCCANO = [
    {"data": "This is New Berlin.", "label": [[8, 18, "LOC"]], "metadata": [["page", 3]]},
    {"data": "Peter Blackburn", "label": [[0, 3, "PER"], [5, 15, "PER"]]},
]


@pytest.fixture
def lines(tmp_path):
    (tmp_path / "train.txt").write_text(LINES)
    return tmp_path / "train.txt"


@pytest.fixture
def doccano(tmp_path):
    (tmp_path / "train.jsonl").write_text("".join(f"{json.dumps(value)}\n" for value in DOCCANO))
    return tmp_path


def test_texts_are_truncated_and_filtered(lines):
    def texts(**options):
        return [sentence.to_tokenized_string() for sentence in ClassificationDataset(lines, **options)]

    assert texts() == ["Buy it now !", "See you there .", "What ?"]
    assert texts(truncate_to_max_tokens=2) == ["Buy it", "See you", "What ?"]
    assert texts(truncate_to_max_chars=4) == ["Buy", "See", "What"]
    assert texts(filter_if_longer_than=11) == ["Buy it now !", "What ?"]
    assert texts(skip_labels=["odd"]) == ["Buy it now !", "See you there ."]
    assert texts(tokenizer=SpaceTokenizer()) == ["Buy it now!", "See you there.", "What?"]
    assert texts(tokenizer=False, memory_mode="partial") == ["Buy it now!", "See you there.", "What?"]


def test_labels_are_renamed_or_may_be_missing(lines, caplog):
    dataset = ClassificationDataset(lines, "kind", label_name_map={"ham": "good", "odd": "good"})
    assert [sentence.get_label("kind").value for sentence in dataset] == ["spam", "good", "good"]
    lines.write_text(LINES + "and no label\n")
    with pytest.raises(DatasetError, match=r"line 4: the text has no label: 'and no label'"):
        ClassificationDataset(lines)
    corpus = ClassificationCorpus(lines.parent, allow_examples_without_labels=True, sample_missing_splits=False)
    assert [len(sentence.labels) for sentence in corpus.train] == [1, 1, 1, 0]
    assert len(ClassificationDataset(lines, allow_examples_without_labels=False)) == 3
    assert "1 texts without a label are left out, the first in line 4" in caplog.text


def test_an_option_that_does_not_exist_is_an_error(lines):
    with pytest.raises(DatasetError, match="no option 'truncate' of a reader of texts; there are tokenizer, "):
        ClassificationCorpus(lines.parent, truncate=3)


def test_tables_have_a_dialect(tmp_path):
    (tmp_path / "train.csv").write_text("1;ham;'a; b'\n2;none;'it''s'\n3;spam;c\n")
    columns = {1: "label", 2: "text"}
    dialect = {"delimiter": ";", "quotechar": "'"}
    dataset = CSVClassificationDataset(
        tmp_path / "train.csv", columns, skip_header=False, no_class_label="none", allow_examples_without_labels=True,
        **dialect,
    )  # fmt: skip
    assert [(sentence.to_plain_string(), sentence.tag) for sentence in dataset] == [
        ("a; b", "ham"),
        ("it's", "O"),
        ("c", "spam"),
    ]
    corpus = CSVClassificationCorpus(
        tmp_path, columns, "class", skip_header=False, sample_missing_splits=False, max_tokens_per_doc=1, **dialect
    )
    assert [sentence.to_plain_string() for sentence in corpus.train] == ["a", "it", "c"]
    with pytest.raises(DatasetError, match="the module csv takes no such dialect"):
        CSVClassificationDataset(tmp_path / "train.csv", columns, quotechar="''")


def test_spans_and_metadata_come_from_json_lines(doccano, caplog):
    first, second = JsonlDataset(doccano / "train.jsonl").sentences
    assert [(span.text, span.tag) for span in first.get_spans("ner")] == [("New Berlin", "LOC")]
    assert first.get_metadata("page") == 3
    assert [span.text for span in second.get_spans("ner")] == ["Peter", "Blackburn"]
    assert "2 spans ended inside a word or at white space and were taken as whole words, the first in line 2" in (
        caplog.text
    )


def test_json_lines_make_corpora(doccano):
    corpus = JsonlCorpus(doccano, label_type="place", sample_missing_splits=False)
    assert corpus.label_types == ["place"]
    file = doccano / "train.jsonl"
    assert len(MultiFileJsonlCorpus([file, file], [], [file]).get_all_sentences()) == 6
    assert len(MultiFileJsonlCorpus(None, None, [file]).get_all_sentences()) == 2
    with pytest.raises(DatasetError, match="holds no sentence"):
        MultiFileJsonlCorpus(None, None, None)
