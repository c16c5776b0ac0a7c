"""Readers of labelled files: what they give, and the line that a mistake is reported with."""

import json
from functools import partial
from pathlib import Path

import pytest

from charlm.data.spans import tags_of
from charlm.datasets import (
    TREC_6,
    UD_ENGLISH,
    UD_GERMAN,
    WNUT_17,
    ClassificationCorpus,
    ColumnCorpus,
    CSVClassificationCorpus,
    JSONLClassificationCorpus,
    JSONLSpanCorpus,
    UniversalDependenciesCorpus,
)
from charlm.errors import DatasetError

NER = {0: "text", 1: "ner"}
CONLLU = """\
# text = Im Zug, 1
1-2	Im	_	_	_	_	_	_	_	_
1	In	in	ADP	APPR	_	3	case	_	_
2	dem	der	DET	ART	Case=Dat|Number=Sing	3	det	_	_
3	Zug	Zug	NOUN	NN	Case=Dat|Number=Sing	0	root	_	SpaceAfter=No
4	,	,	PUNCT	$,	_	3	punct	_	_
4.1	fuhr	_	_	_	_	_	_	_	_
5	1	1	NUM	CARD	_	3	nummod	_	_

1-2	don't	_	_	_	_	_	_	_	SpaceAfter=No
1	do	do	AUX	VBP	_	0	root	_	_
2	n't	not	PART	RB	_	1	advmod	_	_
3	_	_	PUNCT	_	_	1	punct	_	_
"""


def put(folder: Path, **files: str) -> Path:
    """Write `train="…"` to train.txt and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def read(folder: Path, text: str, column_format=NER, **options):
    put(folder, train=text)
    return ColumnCorpus(folder, column_format, sample_missing_splits=False, **options).train


def spans(sentence, layer: str = "ner") -> list[tuple[str, str]]:
    return [(span.text, span.get_label(layer).value) for span in sentence.get_spans(layer)]


# ---- columns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "New B-LOC\nYork I-LOC\nParis B-LOC\n\nAnn B-PER\nsaid O\n",
        "New B-LOC\nYork E-LOC\nParis S-LOC\n\nAnn S-PER\nsaid O\n",
        "New I-LOC\nYork I-LOC\nParis B-LOC\n\nAnn I-PER\nsaid O\n",
        "New\tB-LOC\r\nYork\tI-LOC\r\nParis\tB-LOC\r\n\r\n\r\nAnn\tB-PER\r\nsaid\t_\r\n\r\n",
        "-DOCSTART- O\n\nNew B-LOC\nYork I-LOC\nParis B-LOC\n \nAnn B-PER\nsaid O",
    ],
    ids=["BIO", "BIOES", "IOB1", "tabs", "document start"],
)
def test_columns_are_read_in_every_scheme_of_tags(tmp_path, text):
    first, second = read(tmp_path, text)
    assert first.words == ["New", "York", "Paris"]
    assert spans(first) == [("New York", "LOC"), ("Paris", "LOC")]
    assert spans(second) == [("Ann", "PER")]


def test_columns_of_words_and_spans_stand_side_by_side_in_any_order(tmp_path):
    text = "# a comment\nDET the O 1\nNOUN house B-ORG 2\n_ # O 3\n"
    (sentence,) = read(tmp_path, text, {0: "pos", 1: "text", 2: "ner"}, comment_symbol="# ")
    assert [token.get_label("pos").value for token in sentence] == ["DET", "NOUN", "_"]
    assert sentence.words == ["the", "house", "#"]
    assert spans(sentence) == [("house", "ORG")]


def test_words_may_hold_spaces_where_columns_are_delimited_by_something_else(tmp_path):
    assert read(tmp_path, "New York|B-LOC\n", column_delimiter="|")[0].words == ["New York"]
    assert read(tmp_path, "1 000\tO\n")[0].words == ["1 000"]


def test_whether_a_column_labels_spans_is_told_from_all_files_together(tmp_path):
    put(tmp_path, train="a O\n", dev="b O\n", test="Rome B-LOC\n")
    corpus = ColumnCorpus(tmp_path, NER)
    assert spans(corpus.test[0]) == [("Rome", "LOC")]
    assert not corpus.train[0].labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a O\nb\n", "line 2: 2 columns are needed, and 1 found: 'b'"),
        ("a O\n\tO\n", "line 2: column 0 holds no word"),
        ("a B-X\n\nb I-X\n", "line 3: I-X cannot follow O in BIO"),
        ("a B-X\nb B-Y\nc I-X\n", "line 3: I-X cannot follow B-Y in BIO"),
        ("a B-X\nb S-X\n", "line 2: S-X cannot follow B-X in BIOES"),
        ("a E-X\n", "line 1: E-X cannot follow O in BIOES"),
        ("a S-X\nb B-X\n\nc O\n", "line 2: the sentence ends inside a span, with B-X in BIOES"),
        ("a B-X\nb B-X\nc LOC\n", "line 3: 'LOC' is not the tag of a span such as B-LOC"),
        ("\n\n", "line 1: the file holds no word"),
    ],
)
def test_malformed_columns_are_refused_with_file_and_line(tmp_path, text, expected):
    with pytest.raises(DatasetError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'train.txt'}, {expected}")
    assert "\n" not in str(error.value)


def test_tags_in_a_wrong_order_can_be_read_as_conlleval_does(tmp_path):
    (sentence,) = read(tmp_path, "a B-X\nb I-Y\nc O\nd I-Y\n", check_tags=False)
    assert spans(sentence) == [("a", "X"), ("b", "Y"), ("d", "Y")]


def test_text_in_another_encoding_is_refused_with_its_line_unless_it_is_named(tmp_path):
    (tmp_path / "train.txt").write_bytes("a O\nM\xfcnchen B-LOC\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"train\.txt, line 2: this is not utf-8 text"):
        ColumnCorpus(tmp_path, NER)
    corpus = ColumnCorpus(tmp_path, NER, encoding="latin-1", sample_missing_splits=False)
    assert corpus.train[0].words == ["a", "München"]


# ---- files of the splits -------------------------------------------------------------------------------------------


def test_names_of_files_tell_their_splits(tmp_path):
    for names in (("eng.train", "eng.testa", "eng.testb"), ("train.tsv", "devel.tsv", "test.tsv")):
        folder = tmp_path / names[0]
        folder.mkdir()
        for number, name in enumerate((*names, "README.md", "train.txt.gz"), 1):
            (folder / name).write_text("word O\n\n" * number)
        assert str(ColumnCorpus(folder, NER)) == "Corpus: 1 train + 2 dev + 3 test sentences"


def test_files_can_be_named_and_missing_splits_are_sampled(tmp_path):
    put(tmp_path, mine="a O\n\n" * 10, other="b O\n")
    corpus = ColumnCorpus(tmp_path, NER, train_file="mine.txt", dev_file="other.txt")
    assert str(corpus) == "Corpus: 9 train + 1 dev + 1 test sentences"
    assert corpus.dev[0].text == "b"


def test_files_that_are_missing_or_not_told_apart_are_an_error(tmp_path):
    with pytest.raises(DatasetError, match=f"no folder with labelled data at {tmp_path / 'no'}"):
        ColumnCorpus(tmp_path / "no", NER)
    put(tmp_path, mine="a O\n")
    with pytest.raises(DatasetError, match="has train, dev or test in its name; rename or choose"):
        ColumnCorpus(tmp_path, NER)
    with pytest.raises(DatasetError, match=r"no file .*/yours\.txt"):
        ColumnCorpus(tmp_path, NER, train_file="yours.txt")
    put(tmp_path, train1="a O\n", train2="a O\n")
    with pytest.raises(DatasetError, match=r"several files for one split \(train1\.txt, train2\.txt\)"):
        ColumnCorpus(tmp_path, NER)


# ---- CoNLL-U -------------------------------------------------------------------------------------------------------


def row(number: str, head: str) -> str:
    return f"{number}\tIn\tin\tADP\tAPPR\t_\t{head}\tcase\t_\t_\n"


def treebank(folder: Path, text: str = CONLLU, name: str = "de-ud-train.conllu") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_treebank_gives_words_layers_heads_and_white_space(tmp_path):
    corpus = UniversalDependenciesCorpus(treebank(tmp_path), sample_missing_splits=False)
    german, english = corpus.train
    assert german.words == ["In", "dem", "Zug", ",", "1"]
    assert german.to_plain_string() == "In dem Zug, 1"
    assert [token.get_label("upos").value for token in german] == ["ADP", "DET", "NOUN", "PUNCT", "NUM"]
    assert [token.get_label("pos").value for token in german] == ["APPR", "ART", "NN", "$,", "CARD"]
    assert [token.head_id for token in german] == [3, 3, 0, 3, 3]
    assert {layer: german[1].get_label(layer).value for layer in ("lemma", "dependency", "case", "number")} == {
        "lemma": "der",
        "dependency": "det",
        "case": "Dat",
        "number": "Sing",
    }
    assert english.to_plain_string() == "don't_"
    assert [token.get_label("lemma").value for token in english] == ["do", "not", "_"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\tIn\tin\n", "line 1: 10 columns are needed, and 3 found: '1\\tIn\\tin'"),
        ("1 In in ADP APPR _ 3 case _ _\n", "line 1: 10 columns are needed, and 1 found"),
        (row("2", "3"), "line 1: word 1 is expected, and '2' found"),
        ("# x\n" + row("1", "x"), "line 2: the head must be the number of a word"),
        ("# only a comment\n", "line 1: the file holds no word"),
    ],
)
def test_malformed_treebank_is_refused_with_file_and_line(tmp_path, text, expected):
    with pytest.raises(DatasetError) as error:
        UniversalDependenciesCorpus(treebank(tmp_path, text))
    assert str(error.value).startswith(f"{tmp_path / 'de-ud-train.conllu'}, {expected}")


# ---- labelled texts ------------------------------------------------------------------------------------------------


def labelled(sentences, layer: str = "class") -> list[tuple[str, list[str]]]:
    return [(sentence.text, [label.value for label in sentence.get_labels(layer)]) for sentence in sentences]


EXPECTED = [("Who wrote it?", ["HUM"]), ("Buy, now!", ["spam", "short"])]


def test_lines_with_labels_in_front_are_read(tmp_path):
    put(tmp_path, train="__label__HUM Who wrote it?\n\n__label__spam __label__short Buy, now!\n")
    corpus = ClassificationCorpus(tmp_path, sample_missing_splits=False)
    assert labelled(corpus.train) == EXPECTED
    assert corpus.train[0].words == ["Who", "wrote", "it", "?"]
    corpus = ClassificationCorpus(tmp_path, use_tokenizer=False, sample_missing_splits=False)
    assert corpus.train[0].words == ["Who", "wrote", "it?"]


def test_rows_of_a_table_are_read(tmp_path):
    (tmp_path / "train.csv").write_text('id;first;second;text\n7;HUM;;Who wrote it?\n8;spam;short;"Buy,\n now!"\n')
    corpus = CSVClassificationCorpus(
        tmp_path,
        {1: "label_kind", 2: "label_length", 3: "text"},
        skip_header=True,
        delimiter=";",
        sample_missing_splits=False,
    )
    assert [labels for _, labels in labelled(corpus.train)] == [["HUM"], ["spam", "short"]]
    assert corpus.train[1].words == ["Buy", ",", "now", "!"]


def test_json_lines_are_read(tmp_path):
    values = [{"q": "Who wrote it?", "kind": "HUM"}, {"q": "Buy, now!", "kind": ["spam", "short"]}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    corpus = JSONLClassificationCorpus(tmp_path, "q", "kind", sample_missing_splits=False)
    assert labelled(corpus.train) == EXPECTED


def test_json_lines_may_hold_several_texts_with_a_label_each(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"sentences": ["One.", "Two."], "labels": ["aim", "result"]}\n')
    corpus = JSONLClassificationCorpus(tmp_path, "sentences", "labels", sample_missing_splits=False)
    assert labelled(corpus.train) == [("One.", ["aim"]), ("Two.", ["result"])]


def test_json_lines_may_hold_spans(tmp_path):
    text = "Ann Lee saw  Bonn, again."
    spans = [[0, 7, "PER"], {"start": 13, "end": 17, "label": "LOC"}]
    values = [{"text": text, "label": spans}, {"text": "Nobody came.", "label": []}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    corpus = JSONLSpanCorpus(tmp_path, sample_missing_splits=False)
    assert [tags_of(sentence, "ner") for sentence in corpus.train] == [
        ["B-PER", "E-PER", "O", "S-LOC", "O", "O", "O"],
        ["O", "O", "O"],
    ]
    assert [span.text for span in corpus.train[0].get_spans("ner")] == ["Ann Lee", "Bonn"]


TABLE = partial(CSVClassificationCorpus, column_name_map={0: "label", 1: "text"})


@pytest.mark.parametrize(
    ("make", "text", "expected"),
    [
        (ClassificationCorpus, "__label__a x\nno label\n", "line 2: the text has no label: 'no label'"),
        (ClassificationCorpus, "__label__a x\n\n__label__b  \n", "line 3: the text is empty"),
        (ClassificationCorpus, "__label__ x\n", "line 1: a label is missing behind __label__"),
        (ClassificationCorpus, "\n", "line 1: the file holds no text"),
        (JSONLClassificationCorpus, '{"text": "x"}\n', "line 1: the object has no field 'label'"),
        (JSONLClassificationCorpus, "\n[1]\n", "line 2: one JSON object is needed on each line, and this is"),
        (JSONLClassificationCorpus, '{"text": 3, "label": "a"}', "line 1: the field 'text' holds neither"),
        (JSONLClassificationCorpus, '{"text": "x", \n', "line 1: this is not valid JSON"),
        (JSONLClassificationCorpus, '{"text": ["x"], "label": []}', "line 1: there must be as many labels"),
        (JSONLClassificationCorpus, '{"text": "", "label": "a"}', "line 1: the text is empty"),
        (JSONLSpanCorpus, '{"text": "x"}\n', "line 1: the object has no list of spans in a field 'label'"),
        (JSONLSpanCorpus, '{"label": []}\n', "line 1: the object has no text in a field 'text'"),
        (JSONLSpanCorpus, '{"text": "a b", "label": [[0, 1]]}', "line 1: a span is [start, end, label], got [0, 1]"),
        (JSONLSpanCorpus, '\n{"text": "Ann", "label": [[0, 2, "P"]]}', "line 2: the span 0 to 2 ('An') is not one of"),
        (
            JSONLSpanCorpus,
            '{"text": "Ann", "label": [[0, 9, "P"]]}',
            "line 1: the span 0 to 9 (outside the text)",
        ),
        (TABLE, 'a,"two\nlines"\nb\n', "line 3: 2 columns are needed, and 1 found"),
        (TABLE, 'a,x\nb,"open\n', "line 2: this is not a valid table"),
        (TABLE, ",x\n", "line 1: the text has no label"),
    ],
)
def test_malformed_texts_are_refused_with_file_and_line(tmp_path, make, text, expected):
    put(tmp_path, train=text)
    with pytest.raises(DatasetError) as error:
        make(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'train.txt'}, {expected}")


def test_table_needs_to_know_its_columns(tmp_path):
    put(tmp_path, train="a,b\n")
    with pytest.raises(DatasetError, match='name the columns of "text" and "label"'):
        CSVClassificationCorpus(tmp_path, {0: "text"})


# ---- prepared corpora ----------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


def test_treebanks_are_found_in_the_cache_or_in_a_given_folder(cache, tmp_path):
    for folder, name in (("ud_english", "en_ewt"), ("ud_german", "de_gsd")):
        for split in ("train", "dev", "test"):
            treebank(cache / folder, name=f"{name}-ud-{split}.conllu")
    for corpus in (UD_ENGLISH(), UD_GERMAN(), UD_ENGLISH(cache), UD_GERMAN(cache / "ud_german")):
        assert str(corpus) == "Corpus: 2 train + 2 dev + 2 test sentences"
    assert corpus.name == "UD_GERMAN"


def test_entities_of_wnut_are_read_with_the_mistakes_that_were_published(tmp_path):
    for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"):
        (tmp_path / name).write_text("Lil\tB-person\nSly-\tI-person\nTurn\tI-creative-work\n#\tO\n\n", encoding="utf-8")
    corpus = WNUT_17(tmp_path)
    assert str(corpus) == "Corpus: 1 train + 1 dev + 1 test sentences"
    assert spans(corpus.test[0]) == [("Lil Sly-", "person"), ("Turn", "creative-work")]


@pytest.mark.parametrize("names", [("train_5500.label", "TREC_10.label"), ("TREC.train", "TREC.test")])
def test_questions_of_trec_have_their_coarse_label(tmp_path, names):
    for name in names:
        (tmp_path / name).write_bytes("NUM:dist How far is Saint-\xc9tienne ?\nHUM:ind Who ?\n".encode("latin-1"))
    corpus = TREC_6(tmp_path)
    assert labelled(corpus.test, "question_class") == [("How far is Saint-Étienne ?", ["NUM"]), ("Who ?", ["HUM"])]
    assert str(corpus) == "Corpus: 1 train + 1 dev + 2 test sentences"


def test_questions_of_trec_may_be_in_the_format_that_flair_makes_of_them(cache):
    put(cache / "trec_6", train="__label__NUM How far ?\n" * 10, test="__label__HUM Who ?\n")
    assert labelled(TREC_6().test, "question_class") == [("Who ?", ["HUM"])]
    put(cache / "trec_6", test="NUM How far ?\n")
    with pytest.raises(DatasetError, match=r"test\.txt, line 1: the question has no label such as NUM:dist in front"):
        TREC_6()
