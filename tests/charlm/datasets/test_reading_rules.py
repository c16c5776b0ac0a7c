"""The rules that all readers of labelled data share: one table of tests for each."""

import logging
from pathlib import Path

import pytest

from charlm.datasets import ColumnCorpus, CSVClassificationCorpus
from charlm.datasets.lines import ReadingRules
from charlm.datasets.opening import format_of, open_corpora, read_labelled
from charlm.errors import DatasetError


def put(folder: Path, content: bytes | str, name: str = "train.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def tagged(path: Path, columns: str | None = None, **rules) -> list[list[tuple[str, str]]]:
    """Words of every sentence with the value of the span or word label over them."""
    (sentences,), layer = read_labelled([path], None, columns, rules=ReadingRules(**rules))
    found = []
    for sentence in sentences:
        values = ["O"] * len(sentence)
        for label in sentence.get_labels(layer):
            tokens = getattr(label.data_point, "tokens", [label.data_point])
            for token in tokens:
                values[token.idx - 1] = label.value
        found.append(list(zip(sentence.words, values, strict=True)))
    return found


def texts(path: Path, columns: str | None = None, **rules) -> list[tuple[str, str]]:
    (sentences,), layer = read_labelled([path], None, columns, rules=ReadingRules(**rules))
    return [(",".join(label.value for label in s.get_labels(layer)), s.to_original_text()) for s in sentences]


# ---- comments, documents, blanks -----------------------------------------------------------------------------------

ANN = [("Ann", "PER"), ("left", "O")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# made by hand\n# with\ttabs\tin it\nAnn\tB-PER\nleft\tO\n", [ANN]),
        ("# made by\n# text = Ann left\nAnn B-PER\nleft O\n", [ANN]),
        ("# comment\nAnn B-PER\nleft O\n\n# comment\nAnn B-PER\nleft O\n", [ANN, ANN]),
        ("Ann\tB-PER\n#\tO\nleft\tO\n", [[("Ann", "PER"), ("#", "O"), ("left", "O")]]),
        ("#\tB-LOC\nAnn\tB-PER\n", [[("#", "LOC"), ("Ann", "PER")]]),
        ("#\tO\nAnn\tB-PER\n", [[("#", "O"), ("Ann", "PER")]]),
        ("# O\nAnn B-PER\n", [[("#", "O"), ("Ann", "PER")]]),
        ("#hashtag\tB-ORG\nAnn\tB-PER\n", [[("#hashtag", "ORG"), ("Ann", "PER")]]),
        ("-DOCSTART-\n\nAnn B-PER\nleft O\n", [ANN]),
        ("-DOCSTART- -X- -X- O\n\nAnn B-PER\nleft O\n\n-DOCSTART- -X- -X- O\nAnn B-PER\nleft O\n", [ANN, ANN]),
        ("-DOCSTART-\tO\nAnn\tB-PER\nleft\tO\n", [ANN]),
        ("Ann\tB-PER\nleft\tO\n\t\nAnn\tB-PER\nleft\tO\n \n", [ANN, ANN]),
        ("\ufeffAnn\tB-PER\nleft\tO\n", [ANN]),
        ("Ann\tB-PER\t\nleft\tO\n\nAnn\tB-PER\nleft\tO\n", [ANN, ANN]),
        ("Ann  B-PER\nleft    O \n", [ANN]),
        ("word\ttag\nAnn\tB-PER\nleft\tO\n", [ANN]),
    ],
)
def test_comments_documents_and_headers_are_no_words(tmp_path, text, expected):
    assert tagged(put(tmp_path, text)) == expected


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u2028", "\u0085", "\u3000", "\x0b", "\x1f", "\r"])
@pytest.mark.parametrize("delimiter", ["\t", " "])
def test_only_the_separator_separates(tmp_path, blank, delimiter):
    word = f"1{blank}000"
    path = put(tmp_path, f"{word}{delimiter}B-NUM\nkm{delimiter}O\n\n{blank}{delimiter}O\nAnn{delimiter}B-PER\n")
    assert tagged(path) == [[(word, "NUM"), ("km", "O")], [(blank, "O"), ("Ann", "PER")]]


def test_a_word_may_hold_blanks_between_tabs(tmp_path):
    assert tagged(put(tmp_path, "New York\tB-LOC\nx\tO\n")) == [[("New York", "LOC"), ("x", "O")]]


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("odd", ["b", "b O extra", "New York B-LOC"])
def test_a_row_of_another_width_is_refused_by_its_own_line_wherever_it_stands(tmp_path, order, odd):
    rows = ["a O", "c B-X"]
    rows.insert(order, odd)
    for delimiter in (" ", "\t"):
        text = "\n".join(rows).replace(" ", delimiter)
        with pytest.raises(DatasetError, match=f"line {order + 1}: 2 columns are needed, and [13] found"):
            read_labelled([put(tmp_path, text + "\n")])


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_a_row_of_a_table_of_another_width_is_refused_by_its_own_line(tmp_path, order):
    rows = ["ham,Go home", "spam,Buy it", "ham,Be good"]
    rows.insert(order, "spam,Buy it, now")
    with pytest.raises(DatasetError, match=f"line {order + 1}: 2 columns are needed, and 3 found"):
        read_labelled([put(tmp_path, "\n".join(rows), "train.csv")])


# ---- schemes of tags -----------------------------------------------------------------------------------------------

SPANS = [[("New", "LOC"), ("York", "LOC"), ("City", "LOC"), ("x", "O"), ("Ann", "PER")]]


@pytest.mark.parametrize(
    "tags",
    [
        "B-LOC I-LOC I-LOC O B-PER",
        "I-LOC I-LOC I-LOC O I-PER",
        "B-LOC I-LOC E-LOC O S-PER",
        "B-LOC I-LOC L-LOC O U-PER",
        "B-LOC M-LOC E-LOC O S-PER",
        "B-LOC M-LOC E-LOC O W-PER",
    ],
    ids=["BIO", "IOB1", "BIOES", "BILOU", "BMES", "BMEWO"],
)
def test_tags_of_every_scheme_are_spans(tmp_path, tags):
    words = [word for word, _ in SPANS[0]]
    path = put(tmp_path, "".join(f"{word} {tag}\n" for word, tag in zip(words, tags.split(), strict=True)))
    assert tagged(path) == SPANS
    (sentences,), layer = read_labelled([path])
    assert [span.text for span in sentences[0].get_spans(layer)] == ["New York City", "Ann"]


def test_bare_tags_are_spans_that_are_called_like_the_layer(tmp_path):
    path = put(tmp_path, "a B\nb I\nc O\nd B\n")
    assert tagged(path, "text,gene") == [[("a", "gene"), ("b", "gene"), ("c", "O"), ("d", "gene")]]
    (sentences,), _ = read_labelled([path])
    assert len(sentences[0].get_spans("tag")) == 2


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ("B-X L-X S-X", "tags of two schemes: S and those of BILOU"),
        ("B-X M-X I-X", "tags of two schemes: I and those of BMES"),
        ("B_X I_X O", "are in the form B_LOC; write them as B-LOC"),
        ("X-B X-I O", "are in the form LOC-B; write them as B-LOC"),
        ("b-x i-x O", "are in the form b-loc; write them as B-LOC"),
        ("B-X U-X O", "the sentence|cannot follow B-X in BILOU"),
    ],
)
def test_tags_of_no_known_scheme_are_named(tmp_path, tags, reason):
    path = put(tmp_path, "".join(f"w{number} {tag}\n" for number, tag in enumerate(tags.split())))
    with pytest.raises(DatasetError, match=reason) as error:
        read_labelled([path])
    assert str(path) in str(error.value)


def test_labels_of_words_that_look_like_tags_now_and_then_stay_labels_of_words(tmp_path):
    path = put(tmp_path, "a NP\nb S-BAR\nc NP\nd VP\n")
    assert tagged(path) == [[("a", "NP"), ("b", "S-BAR"), ("c", "NP"), ("d", "VP")]]


# ---- formats by content --------------------------------------------------------------------------------------------

CONLLU = "# text = Im Zug\n1-2\tIm\t_\t_\t_\t_\t_\t_\t_\t_\n" + "".join(
    f"{number}\t{word}\t{word}\t{tag}\t_\t_\t0\tdep\t_\t_\n"
    for number, word, tag in ((1, "In", "ADP"), (2, "dem", "DET"), ("2.1", "x", "X"), (3, "Zug", "NOUN"))
)
HAM = [("ham", "Go on, then"), ("spam", "Buy now")]


@pytest.mark.parametrize("name", ["train.txt", "train.csv", "train.tsv", "train.conll", "TRAIN.DATA", "train.jsonl"])
@pytest.mark.parametrize("blank", ["\t", " ", "  ", "\u00a0", " \t"])
def test_lines_of_fasttext_are_such_in_any_suffix(tmp_path, name, blank):
    path = put(tmp_path, f"__label__ham{blank}Go on, then\n__label__spam{blank}Buy now\n", name)
    assert texts(path) == HAM


def test_labels_of_fasttext_may_stand_anywhere_and_in_quotes(tmp_path):
    path = put(tmp_path, '__label__a\t__label__b Go\nBuy it __label__a\n"__label__c Say ""hi"", you"\n')
    assert texts(path) == [("a,b", "Go"), ("a", "Buy it"), ("c", 'Say "hi", you')]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", 'ham,"Go on, then"\nspam,Buy now\n'),
        ("train.CSV", 'ham,"Go on, then"\nspam,Buy now\n'),
        ("train.csv", "ham\tGo on, then\nspam\tBuy now\n"),
        ("train.csv", "ham;Go on, then\nspam;Buy now\n"),
        ("train.tsv", "ham\tGo on, then\nspam\tBuy now\n"),
        ("train.tsv", 'ham,"Go on, then"\nspam,Buy now\n'),
        ("train.txt", "ham\tGo on, then\n\nspam\tBuy now\n"),
        ("train.csv", 'label,text\nham,"Go on, then"\nspam,Buy now\n'),
        ("train.csv", 'text,label\n"Go on, then",ham\nBuy now,spam\n'),
        ("train.csv", 'Id,Text,Category\n1,"Go on, then",ham\n2,Buy now,spam\n'),
        ("train.tsv", "label\ttext\nham\tGo on, then\nspam\tBuy now\n"),
        ("train.csv", '\ufefflabel,text\r\nham,"Go on, then"\r\nspam,Buy now\r\n'),
        ("train.jsonl", '{"text": "Go on, then", "label": "ham"}\n{"text": "Buy now", "label": "spam"}\n'),
        ("train.NDJSON", '\ufeff{"label": "ham", "text": "Go on, then"}\n\n{"text": "Buy now", "label": "spam"}\n'),
        ("train.txt", '{"text": "Go on, then", "label": "ham"}\n{"text": "Buy now", "label": "spam"}\n'),
    ],
)
def test_texts_with_classes_are_told_by_their_content(tmp_path, name, content):
    assert texts(put(tmp_path, content, name)) == HAM


@pytest.mark.parametrize("name", ["train.conllu", "TRAIN.CONLLU", "train.conll", "train.txt", "train.tsv"])
def test_a_treebank_is_one_in_any_suffix(tmp_path, name):
    path = put(tmp_path, CONLLU, name)
    assert format_of(path) == "conllu"
    assert tagged(path) == [[("In", "ADP"), ("dem", "DET"), ("Zug", "NOUN")]]
    assert tagged(path, "_,text,_,pos") == [[("In", "ADP"), ("dem", "DET"), ("Zug", "NOUN")]]


@pytest.mark.parametrize("name", ["train.tsv", "train.txt", "train.csv", "train"])
def test_words_in_columns_are_no_table(tmp_path, name):
    path = put(tmp_path, "Ann\tB-PER\nleft\tO\n\nNew York\tB-LOC\nsleeps\tO\n", name)
    assert format_of(path) == "columns"


def test_files_of_two_formats_are_refused(tmp_path):
    put(tmp_path, "Ann B-PER\n")
    put(tmp_path, "__label__a b\n", "test.txt")
    with pytest.raises(DatasetError, match=r"train\.txt is read as columns and .*test\.txt as lines"):
        open_corpora([str(tmp_path)])


def test_a_text_may_begin_with_a_lone_quote_between_tabs(tmp_path):
    path = put(tmp_path, 'ham\t"Go on\nspam\tBuy "it"\nham\t"all ""of"" it"\n', "train.tsv")
    assert texts(path) == [("ham", '"Go on'), ("spam", 'Buy "it"'), ("ham", 'all "of" it')]


def test_a_field_may_be_of_any_length(tmp_path):
    path = put(tmp_path, "book," + "word " * 40_000 + "\nnote,short one\n", "train.csv")
    (sentences,), _ = read_labelled([path])
    assert [len(sentence) for sentence in sentences] == [40_000, 2]


@pytest.mark.parametrize(
    ("content", "text"),
    [("ham,\tGo home\nspam,\tBuy now\n", " Go home"), ("ham\tGo, home\nspam\tBuy now\n", "Go, home")],
)
def test_commas_separate_before_tabs_where_the_file_is_named_csv(tmp_path, content, text):
    assert texts(put(tmp_path, content, "train.csv"))[0] == ("ham", text)


# ---- headers -------------------------------------------------------------------------------------------------------


def test_a_header_is_reported_and_may_be_denied_or_demanded(tmp_path, caplog):
    path = put(tmp_path, "label,text\nham,Go home\nspam,Buy it now\n", "train.csv")
    with caplog.at_level(logging.WARNING):
        assert len(texts(path)) == 2
    assert "train.csv, line 1: taken as the header: label, text" in caplog.text
    assert texts(path, header=False)[0] == ("label", "text")
    assert texts(path, "label,text")[0] == ("ham", "Go home")
    path = put(tmp_path, "Art,Inhalt\nham,Go home\nspam,Buy it\n", "other.csv")
    assert texts(path, header=True)[0] == ("ham", "Go home")


@pytest.mark.parametrize("columns", [None, {0: "label", 1: "text"}])
def test_the_corpus_of_a_table_knows_headers_too(tmp_path, columns):
    put(tmp_path, "label,text\nham,Go home\nspam,Buy it now\n", "train.csv")
    if columns is None:
        corpus = open_corpora([str(tmp_path)])[0]
    else:
        corpus = CSVClassificationCorpus(tmp_path, columns, sample_missing_splits=False)
    assert "label" not in {label.value for s in corpus.get_all_sentences() for label in s.get_labels("class")}


def test_a_first_row_that_looks_like_a_header_of_unknown_names_is_refused(tmp_path):
    path = put(tmp_path, "Art,Inhalt\nham,Go home\nspam,Buy it now\nham,Come home\nspam,Buy two\n", "train.csv")
    with pytest.raises(
        DatasetError, match=r"line 1: Art, Inhalt looks like a header, .* --skip-header, or --no-header"
    ):
        read_labelled([path])
    assert len(texts(path, header=True)) == 4
    assert len(texts(path, header=False)) == 5


def test_a_label_that_comes_again_is_no_header(tmp_path):
    path = put(tmp_path, "label,text\nlabel,more text\nspam,Buy it\n", "train.csv")
    assert texts(path)[0] == ("label", "text")


def test_columns_without_names_must_be_chosen(tmp_path):
    path = put(tmp_path, "1,ham,Go home\n2,spam,Buy it\n", "train.csv")
    with pytest.raises(DatasetError, match="3 columns are found; name those of label and text"):
        read_labelled([path])
    assert texts(path, "_,label,text")[0] == ("ham", "Go home")


# ---- encodings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"])
def test_files_are_read_in_the_encoding_that_was_asked_for(tmp_path, encoding):
    words = ["Zürich", "\u0a0d\u0d0a", "\U0001f600"]  # with bytes of line ends inside
    text = "".join(f"{word}\tB-LOC\r\n" for word in words)
    path = put(tmp_path, text.encode(encoding))
    assert [word for word, _ in tagged(path, encoding=encoding)[0]] == words
    corpus = ColumnCorpus(tmp_path, {0: "text", 1: "ner"}, encoding=encoding)
    assert corpus.train[0].words == words


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_encoding_that_was_not_asked_for_is_named(tmp_path, encoding):
    path = put(tmp_path, "Berlin\tB-LOC\nis\tO\n".encode(encoding))
    for rules in ({}, {"encoding": "latin-1"}):
        with pytest.raises(DatasetError, match=r"train\.txt, line 1: .*this is utf-"):
            tagged(path, **rules)


@pytest.mark.parametrize(
    ("content", "encoding", "reason"),
    [
        (b"a O\nM\xfcnchen B-X\n", "utf-8", "line 2: this is not utf-8 text"),
        (b"a O\n\x81 B-X\n", "cp1252", "line 2: this is not cp1252 text"),
        ("a O\nb B-X\n".encode("utf-16")[:-1], "utf-16", "line 2: this is not utf-16 text"),
        (b"a O\rb O\r", "utf-8", "the lines end with carriage returns alone"),
        (b"a O\n", "utf-16", "this is utf-8, not utf-16, for it has no zero byte"),
        ("a O\n".encode("utf-16-le"), "utf-16", "its zero bytes show that this is utf-16-le, not utf-16"),
        ("a O\n".encode("utf-16-be"), "utf-16-le", "its zero bytes show that this is utf-16-be, not utf-16-le"),
        ("\ufeffa O\n".encode("utf-16-be"), "utf-16-le", "this is utf-16 by its byte order mark, not utf-16-le"),
        (b"a O\n", "utf-9", "unknown encoding 'utf-9'"),
        (b"a O\n", "hex", "unknown encoding 'hex'"),
        (b"+2AA- O\n", "utf-7", "line 1: U\\+D800 is half a character"),
    ],
)
def test_what_is_not_in_the_encoding_is_refused_with_its_line(tmp_path, content, encoding, reason):
    with pytest.raises(DatasetError, match=reason) as error:
        tagged(put(tmp_path, content), encoding=encoding)
    str(error.value).encode()


def test_bad_bytes_may_be_replaced(tmp_path):
    path = put(tmp_path, b"M\xfcnchen\tB-LOC\n")
    assert tagged(path, bad_bytes="replace") == [[("M\ufffdnchen", "LOC")]]
    path = put(tmp_path, '{"text": "a \\ud800 b", "label": "x"}\n', "train.jsonl")
    assert texts(path, bad_bytes="replace") == [("x", "a \ufffd b")]


# ---- JSON ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "expected"),
    [("1", "1"), ("true", "true"), ("false", "false"), ("-3", "-3"), ("2.0", "2"), ('["a", 1]', "a,1"), ('"a"', "a")],
)
def test_labels_of_json_may_be_numbers_and_truth_values(tmp_path, label, expected):
    path = put(tmp_path, f'{{"text": "Go home", "label": {label}, "score": NaN, "x": [Infinity]}}\n', "train.jsonl")
    assert texts(path) == [(expected, "Go home")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "a \\ud800", "label": "x"}', "line 2: U\\+D800 is half a character"),
        ('{"text": "a", "label": "\\udc00"}', "line 2: U\\+DC00 is half a character"),
        ('{"text": "a", "label": null}', "line 2: the field 'label' holds no label"),
        ('{"text": "a", "label": 1.5}', "line 2: the field 'label' holds no label"),
        ('{"text": "a", "text": "b", "label": "x"}', "line 2: the object has the field 'text' twice"),
        ('{"text": ' + "[" * 100_000, "line 2: this is not valid JSON: it is nested too deeply"),
        ('{"text": "a", "label": "x", "n": ' + "9" * 5000 + "}", "line 2: this is not valid JSON"),
        ('["a", "x"]', "line 2: one JSON object is needed on each line, and this is"),
        ("{", "line 2: this is not valid JSON.* an object may not go on in the next line"),
    ],
)
def test_what_json_cannot_mean_is_refused_with_its_line(tmp_path, line, reason):
    path = put(tmp_path, '{"text": "ok", "label": "x"}\n' + line + "\n", "train.jsonl")
    with pytest.raises(DatasetError, match=reason) as error:
        texts(path)
    str(error.value).encode()
    assert "\n" not in str(error.value)


def test_a_split_without_spans_is_read_like_the_others(tmp_path):
    put(tmp_path, '{"text": "Ann left.", "label": [[0, 3, "PER"]]}\n', "train.jsonl")
    put(tmp_path, '{"text": "Nobody left.", "label": []}\n', "test.jsonl")
    corpus, layer = open_corpora([str(tmp_path)])
    assert (layer, len(corpus.test)) == ("tag", 1)
