"""What a labelled file could also mean is settled by its content and reported, or refused; never guessed in silence."""

import json
import logging
from pathlib import Path

import pytest

from charlm.datasets import ColumnCorpus
from charlm.datasets.files import find_splits
from charlm.datasets.inputs import read_inputs
from charlm.datasets.lines import ReadingRules
from charlm.datasets.opening import open_data, read_labelled
from charlm.datasets.summary import check_corpus, summarize
from charlm.datasets.texts import read_labelled_lines
from charlm.errors import DatasetError
from tests.charlm.datasets.test_reading_rules import put, tagged, texts

HAM = [("ham", "Go on, then"), ("spam", "Buy now")]


def words_of(path: Path, **rules) -> list[list[str]]:
    return [item.sentence.words for item in read_inputs(path, rules=ReadingRules(**rules))]


def check(folder: Path, task: str) -> None:
    opened = open_data([str(folder)])
    summary = summarize(opened.corpus, opened.label_type)
    check_corpus(opened.corpus, opened.label_type, task, summary, opened.sampled)


# ---- tables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", '"Go on, then",ham\nBuy now,spam\n'),
        ("train.tsv", "Go on, then\tham\n\nBuy now\tspam\n"),
        ("train.txt", "Go on, then\tham\nBuy now\tspam\n"),
        ("train.csv", '__label__ham,"Go on, then"\n__label__spam,Buy now\n'),
        ("train.txt", '__label__ham,"Go on, then"\n__label__spam,Buy now\n'),
        ("train.csv", "__label__ham\tGo on, then\n__label__spam\tBuy now\n"),
        ("train.csv", 'label,text\nham,"Go on, then"\nlabel,text\nspam,Buy now\n'),
        ("train.csv", 'label,text\n__label__ham,"Go on, then"\n__label__spam,Buy now\n'),
        ("train.csv", 'text,label\n"Go on, then",__label__ham\nBuy now,__label__spam\n'),
        ("train.txt", "Go on, then __label__ham\nBuy now __label__spam\n"),
        ("train.tsv", "Go on, then\t__label__ham\nBuy now\t__label__spam\n"),
        ("train.csv", "sep=;\nham;Go on, then\nspam;Buy now\n"),
        ("train.csv", '"sep=|"\nlabel|text\nham|Go on, then\nspam|Buy now\n'),
        ("train.csv", 'tweet_id,airline_sentiment,tweet_text\n1,ham,"Go on, then"\n2,spam,Buy now\n'),
        ("train.csv", 'id,label,text,label_text\n1,ham,"Go on, then",h\n2,spam,Buy now,s\n'),
        ("train.csv", 'id,sentence1,label\n1,"Go on, then",ham \n2,Buy now, spam\n'),
        ("train.jsonl", '{"text": "Go on, then", "label": " ham"}\n{"text": "Buy now", "label": "spam"}\n'),
    ],
)
def test_texts_and_labels_are_told_apart_by_their_content(tmp_path, name, content):
    assert texts(put(tmp_path, content, name)) == HAM


def test_a_cell_may_hold_several_labels(tmp_path):
    path = put(tmp_path, "__label__a __label__b,Go on\n__label__c,Stay\n", "train.csv")
    assert texts(path) == [("a,b", "Go on"), ("c", "Stay")]


def test_labels_with_commas_stay_whole_in_lines_of_fasttext(tmp_path, caplog):
    path = put(tmp_path, "__label__a,b Go on\n__label__a,b Stay\n", "train.txt")
    assert texts(path) == [("a,b", "Go on"), ("a,b", "Stay")]
    assert "every label holds a comma or the like, such as 'a,b'; is this a table?" in caplog.text


def test_a_row_of_labels_with_a_comma_too_many_is_refused(tmp_path):
    path = put(tmp_path, "__label__ham,Go on\n__label__spam,Buy, now\n__label__ham,Come\n", "train.csv")
    with pytest.raises(DatasetError, match="line 2: 2 columns are needed, and 3 found"):
        texts(path)


def test_what_a_table_writer_has_quoted_behind_a_tab_is_read_without_quotes(tmp_path):
    path = put(tmp_path, '__label__a\t"Say ""go"" now"\n__label__b\t"Stay"\n', "train.csv")
    assert texts(path) == [("a", 'Say "go" now'), ("b", '"Stay"')]


def test_a_comment_above_a_table_is_refused(tmp_path):
    path = put(tmp_path, "# from us, in May\nham,Go on\nspam,Buy now\n", "train.csv")
    with pytest.raises(DatasetError, match="line 1: # from us,  in May looks like a comment"):
        texts(path)
    assert texts(put(tmp_path, "#ham,Go on\n#spam,Buy now\n", "train.csv"))[0] == ("#ham", "Go on")


def test_columns_that_are_not_read_are_reported(tmp_path, caplog):
    texts(put(tmp_path, "id,label,text,text2\n1,a,Go on,x\n2,b,Stay here,y\n", "train.csv"))
    assert "texts are read from the column text and labels from label" in caplog.text


@pytest.mark.parametrize("values", [("B-PER", "I-PER"), ("PER", "O")])
def test_spans_that_are_labelled_like_words_are_refused(tmp_path, values):
    spans = [[0, 3, values[0]], [4, 7, values[1]]]
    put(tmp_path, json.dumps({"text": "Ann Dyk left", "label": spans}) + "\n", "train.jsonl")
    with pytest.raises(DatasetError, match=r"which means (the beginning of a span|no label); label whole spans"):
        check(tmp_path, "tagger")


def test_a_header_that_comes_again_is_reported_with_its_lines(tmp_path, caplog):
    put(tmp_path, "text,label\nGo on,a\ntext,label\nStay here,b\n", "train.csv")
    read_labelled([tmp_path / "train.csv"])
    assert "line 1, and again in line 3: taken as the header: text, label" in caplog.text


def test_a_tab_behind_every_row_is_no_column(tmp_path):
    path = put(tmp_path, "Ann\tB-PER\t\nleft\tO\t\n")
    assert tagged(path) == [[("Ann", "PER"), ("left", "O")]]
    assert words_of(path) == [["Ann", "left"]]
    put(tmp_path, "Ann\tB-PER\t\nleft\tO\t\n", "test.txt")
    assert ColumnCorpus(tmp_path, {0: "text", 2: "ner"}).test[0].labels == []
    assert tagged(put(tmp_path, "Ann\t\nleft\t\n", "test.txt")) == [[("Ann", "O"), ("left", "O")]]


def test_all_files_of_a_corpus_have_the_same_columns(tmp_path):
    put(tmp_path, "Go on now,ham\nBuy it now,spam\n", "train.csv")
    put(tmp_path, "Go,ham\nBuy,spam\n", "test.csv")
    opened = open_data([str(tmp_path)])
    assert [[label.value for label in sentence.labels] for sentence in opened.corpus.test] == [["ham"], ["spam"]]


def test_the_text_behind_a_label_keeps_its_first_character(tmp_path):
    path = put(tmp_path, "__label__a \u00a0Go\n__label__b\u00a0\u3000Stop\n__label__c\t Wait\n")
    assert [text for _, _, text in read_labelled_lines(path)] == ["\u00a0Go", "\u3000Stop", "Wait"]


def test_a_decimal_comma_separates_no_columns(tmp_path):
    path = put(tmp_path, "ham;3,5;Go on\nspam;2,5;Buy now\n", "train.csv")
    assert texts(path, "label,_,text") == [("ham", "Go on"), ("spam", "Buy now")]


@pytest.mark.parametrize("label", ['""', '"  "', '["a", ""]'])
def test_an_empty_label_is_none(tmp_path, label):
    path = put(tmp_path, f'{{"text": "Go home", "label": {label}}}\n', "train.jsonl")
    with pytest.raises(DatasetError, match="line 1: the text has no label: 'Go home'"):
        texts(path)


@pytest.mark.parametrize(
    ("task", "files", "reason"),
    [
        ("classifier", {"train.csv": "great,pos\nbad,neg\nfine,pos\nsad,neg\n"}, "has a class of its own, such as"),
        ("classifier", {"train.csv": "word,tag\nAnn,B-PER\nleft,O\n"}, "the classes of .* are tags such as 'B-PER'"),
        ("tagger", {"train.csv": "word,tag\nAnn,B-PER\nleft,O\n"}, "the classes of .* are tags such as 'B-PER'"),
        (
            "classifier",
            {"train.jsonl": '{"text": ["Ann", "left"], "label": ["B-PER", "O"]}\n' * 5},
            "the classes of .* are tags such as 'B-PER'.* use tag-train",
        ),
        (
            "classifier",
            {"train.txt": "__label__a Go\n__label__b Stop\n"},
            "only the class 'a' is left to train on after the dev and test texts of .* were drawn from train",
        ),
        ("tagger", {"train.txt": "a B-X\nb O\n", "test.txt": "a N B-X\n"}, "has 2 columns and .* has 3; name those"),
        ("tagger", {"train.txt": "B-X a\nO b\n"}, "has tags such as B-LOC in its first column"),
        ("tagger", {"train.txt": "\n \n"}, "train.txt holds no word"),
        ("tagger", {"train.txt": "a <START>\nb X\n"}, "has the label '<START>', which models use for themselves"),
    ],
)
def test_what_is_surely_read_in_a_wrong_way_is_refused(tmp_path, task, files, reason):
    for name, content in files.items():
        put(tmp_path, content, name)
    with pytest.raises(DatasetError, match=reason) as error:
        check(tmp_path, task)
    assert "\n" not in str(error.value)


def test_what_cannot_be_learned_is_noted_in_the_summary(tmp_path):
    put(tmp_path, '{"text": "Ann left Rome.", "label": [[0, 3, "PER"], [0, 8, "X"], [9, 13, "LOC"]]}\n', "train.jsonl")
    put(tmp_path, '{"text": "Rome Inc.", "label": [[0, 4, "LOC"], [5, 8, "ORG"]]}\n', "test.jsonl")
    opened = open_data([str(tmp_path)])
    summary = summarize(opened.corpus, opened.label_type)
    assert summary.to_json()["notes"] == [
        "1 spans of train overlap an earlier one and cannot be learned: X in [[Ann PER] left X] [Rome LOC] .",
        "test has labels that do not occur in train: ORG 1",
    ]
    assert summary.lines()[-1] == "! test has labels that do not occur in train: ORG 1"


# ---- words in columns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ("B- I- O", "such as [BI]- are in the form B-; write them as B-LOC"),
        ("b-x b-y O", "are in the form b-loc"),
        ("b-x i-x o", "are in the form b-loc"),
        ("BEGIN-X INSIDE-X O", "INSIDE-X are in the form BEGIN-LOC"),
        ("(X* *) *", r"\(X\* are in the form \(LOC\*\)"),
        ("B:X I:X O", "are in the form B_LOC"),
        ("B-X Heading O O", "line 2: 'Heading' is not the tag of a span such as B-Heading"),
        ("b-x O B-x", "line 1: 'b-x' is not the tag of a span"),
    ],
)
def test_tags_in_other_forms_are_refused_and_never_learned_as_labels_of_words(tmp_path, tags, reason):
    path = put(tmp_path, "".join(f"w{number} {tag}\n" for number, tag in enumerate(tags.split())))
    with pytest.raises(DatasetError, match=reason):
        read_labelled([path])


@pytest.mark.parametrize(("tags", "spans"), [("B O B", 2), ("I I O", 1), ("B I O", 1), ("S B E", 2), ("I O I", 2)])
def test_bare_tags_are_spans(tmp_path, tags, spans):
    path = put(tmp_path, "".join(f"w{number}\t{tag}\n" for number, tag in enumerate(tags.split())))
    (sentences,), layer = read_labelled([path])
    assert [label.value for label in sentences[0].get_labels(layer)] == ["tag"] * spans


@pytest.mark.parametrize(
    "content",
    [
        "# source\n1\tAnn\tB-PER\n2\tleft\tO\n\n1\tBob\tB-PER\n",
        "0 Ann B-PER\n1 left O\n\n0 Bob B-PER\n",
        "id word tag\n1 Ann B-PER\n2 left O\n\n1 Bob B-PER\n",
        "# global.columns = ID FORM X\n1\tAnn\tB-PER\n2-3\tleftit\t_\n2\tleft\tO\n\n1\tBob\tB-PER\n",
    ],
)
def test_numbers_of_words_are_no_words(tmp_path, content, caplog):
    path = put(tmp_path, content)
    with caplog.at_level(logging.WARNING):
        assert tagged(path) == [[("Ann", "PER"), ("left", "O")], [("Bob", "PER")]]
    assert "train.txt: the first column counts the words, which are in the second" in caplog.text
    path = put(tmp_path, content, "train.conll")
    assert words_of(path) == [["Ann", "left"], ["Bob"]]


def test_blanks_around_a_cell_between_tabs_are_no_part_of_it(tmp_path):
    assert tagged(put(tmp_path, "New York  \t B-LOC\nx\tO \n")) == [[("New York", "LOC"), ("x", "O")]]


@pytest.mark.parametrize(
    ("first", "others", "is_comment", "is_reported"),
    [
        ("# SYM", "hash NN\n", False, True),
        ("# test", "hash NN\n", True, True),
        ("# hash", "cat noun\n", False, True),
        ("#\tSYM", "hash\tNN\n", False, True),
        ("## Title", "Ann B-PER\nleft O\n", True, False),
        ("## O", "Ann B-PER\nleft O\n", False, False),
        ("# id 1\tdomain=en", "Ann _ _ B-PER\n", True, False),
        ("# a b c", "Ann _ _ B-PER\n", True, False),
    ],
)
def test_a_line_that_could_be_a_comment_or_a_word_is_reported(tmp_path, caplog, first, others, is_comment, is_reported):
    path = put(tmp_path, f"{first}\n{others}")
    with caplog.at_level(logging.WARNING):
        (sentences,), _ = read_labelled([path])
    assert sentences[0].words[0].startswith("#") is not is_comment
    assert (f"line 1: {first!r} is read as a {'comment' if is_comment else 'word'}" in caplog.text) is is_reported


@pytest.mark.parametrize(
    "content", ["TOKEN\tNE-COARSE\nAnn\tB-PER\nleft\tO\n", "Wort\tWortart\nAnn\tNE\nleft\tVVFIN\nher\tPPER\n"]
)
def test_a_header_of_words_under_other_names_is_refused(tmp_path, content):
    path = put(tmp_path, content)
    with pytest.raises(DatasetError, match=r"line 1: .* looks like a header, .* use --skip-header, or --no-header"):
        read_labelled([path])
    assert tagged(path, header=True)[0][0][0] == "Ann"
    with pytest.raises(DatasetError, match="looks like a header"):
        ColumnCorpus(tmp_path, {0: "text", 1: "pos"})


def test_a_corpus_of_columns_takes_a_header_as_such(tmp_path, caplog):
    put(tmp_path, "word\tpos\nAnn\tNE\n\nleft\tV\n")
    corpus = ColumnCorpus(tmp_path, {0: "text", 1: "pos"}, sample_missing_splits=False)
    assert [sentence.words for sentence in corpus.train] == [["Ann"], ["left"]]
    assert "line 1: taken as the header: word, pos" in caplog.text


# ---- texts to embed and to label -----------------------------------------------------------------------------------


def test_texts_to_embed_with_headers_hashes_and_numbers(tmp_path):
    assert words_of(put(tmp_path, "Token\tNER\nAnn\tB-PER\nleft\tO\n")) == [["Ann", "left"]]
    assert words_of(put(tmp_path, "#1\tB-X\nwe\tO\n")) == [["#1", "we"]]
    assert words_of(put(tmp_path, "Wort Tag\nAnn B-PER\n", "x.conll"), header=True) == [["Ann"]]
    assert words_of(put(tmp_path, "O\t-DOCSTART-\n\nAnn\tB-PER\n")) == [["Ann"]]
    with pytest.raises(DatasetError, match="has tags such as B-LOC in its first column; put the words there"):
        words_of(put(tmp_path, "O\t-DOCSTART-\n\nB-PER\tAnn\nO\tleft\n"))


def test_a_file_that_is_almost_one_of_tagged_words_is_reported(tmp_path, caplog):
    path = put(tmp_path, "Ann B-PER\nleft\nBob B-PER\n")
    assert len(words_of(path)) == 3
    assert "is read as lines of text, though most look like words with tags; not 'left'" in caplog.text


# ---- names of files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "found", "others"),
    [
        (("train.txt", "val.txt", "test.txt"), ("train.txt", "val.txt", "test.txt"), ()),
        (("train.txt", "devices.txt", "dev.txt"), ("train.txt", "dev.txt", None), ("devices.txt",)),
        (("eng.train", "eng.testa", "eng.testb"), ("eng.train", "eng.testa", "eng.testb"), ()),
        (("trainset.txt", "devset.txt", "testset.txt"), ("trainset.txt", "devset.txt", "testset.txt"), ()),
        (("Train.TXT", "heldout.TXT", "README.TXT"), ("Train.TXT", None, None), ("heldout.TXT",)),
        (("contest-train.txt", "contest-test.txt"), ("contest-train.txt", None, "contest-test.txt"), ()),
        (("wnut17train.conll", "emerging.dev.conll"), ("wnut17train.conll", "emerging.dev.conll", None), ()),
    ],
)
def test_splits_are_found_by_words_in_names_and_what_is_not_read_is_reported(tmp_path, caplog, names, found, others):
    for name in names:
        (tmp_path / name).write_text("a O\n")
    files = find_splits(tmp_path)
    assert [path and path.name for path in (files.train, files.dev, files.test)] == list(found)
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == list(others)
