"""Options of Flair's readers of columns, and columns that are no labels: the values are those that Flair gives."""

import pytest

from charlm.data import Sentence
from charlm.datasets import ColumnCorpus, ColumnDataset, MultiFileColumnCorpus, SentenceDataset
from charlm.errors import DatasetError

NER = {0: "text", 1: "ner"}
DOCUMENTS = "Ann B-PER\nleft O\n\n-DOCSTART-\n\nWe O\nsaw O\nRome B-LOC\n\nNo O\n\n-DOCSTART-\n\nYes O\n"


def read(tmp_path, text: str, column_format: dict[int, str], **options) -> list[Sentence]:
    (tmp_path / "train.txt").write_text(text)
    return ColumnDataset(tmp_path / "train.txt", column_format, **options)


def words(sentences: list[Sentence]) -> list[str]:
    return [sentence.to_tokenized_string() for sentence in sentences]


def test_column_space_after_gives_the_text_its_spaces(tmp_path):
    text = "It O +\nis O +\nGerman B-LOC -\n- O -\nowned O -\n. O +\n"
    (sentence,) = read(tmp_path, text, {0: "text", 1: "ner", 2: "space-after"})
    assert sentence.to_plain_string() == "It is German-owned."
    assert sentence.to_tokenized_string() == "It is German - owned ."
    assert [token.start_position for token in sentence] == [0, 3, 6, 12, 13, 18]
    assert [label.value for label in sentence.get_labels()] == ["LOC"]


def test_columns_of_features_and_heads_are_split(tmp_path):
    text = "1 They Case=Nom|Number=Plur 2 SpaceAfter=No\n2 buy _ 0 _\n3 it Number=Sing 2 Gloss=es|SpaceAfter=No\n"
    (sentence,) = read(tmp_path, text, {1: "text", 2: "feats", 3: "head", 4: "misc"})
    assert [token.head_id for token in sentence] == [2, 0, 2]
    assert [label.value for label in sentence.get_labels("Number")] == ["Plur", "Sing"]
    assert sentence[2].get_label("Gloss").value == "es"
    assert sentence.to_plain_string() == "Theybuy it"
    with pytest.raises(DatasetError, match=r"train\.txt, line 1: the head must be the number of a word, got 'x'"):
        read(tmp_path, "a x\n", {0: "text", 1: "head"})


def test_first_line_is_skipped_and_labels_are_renamed(tmp_path):
    text = "WORD\tTAG\nThis\tO\nis\tO\nNew Berlin\tLOC\nAnn\tPER\n"
    options = {"skip_first_line": True, "label_name_map": {"LOC": "place", "PER": "O"}}
    (sentence,) = read(tmp_path, text, NER, column_delimiter="\t", **options)
    assert sentence.to_tokenized_string() == "This is New Berlin Ann"
    assert [(label.data_point.text, label.value) for label in sentence.get_labels("ner")] == [("New Berlin", "place")]
    (sentence,) = read(tmp_path, "Ann B-PER\nLee I-PER\nleft O\n", NER, label_name_map={"PER": "person"})
    assert [(span.text, span.tag) for span in sentence.get_spans("ner")] == [("Ann Lee", "person")]


def test_delimiter_can_be_a_regular_expression(tmp_path):
    (sentence,) = read(tmp_path, "Ann ;; PER\nleft;O\n", NER, column_delimiter=r"\s*;+\s*")
    assert [(token.text, token.get_label("ner").value) for token in sentence] == [("Ann", "PER"), ("left", "O")]
    (sentence,) = read(tmp_path, "a|X\nb|Y\n", NER, column_delimiter="|")
    assert [token.get_label("ner").value for token in sentence] == ["X", "Y"]
    with pytest.raises(DatasetError, match="is no regular expression"):
        read(tmp_path, "a X\n", NER, column_delimiter="(a")


def test_underscore_is_a_label_of_words_but_in_conllu(tmp_path):
    (sentence,) = read(tmp_path, "Ann NNP\nleft _\n", {0: "text", 1: "pos"})
    assert [label.value for label in sentence.get_labels("pos")] == ["NNP", "_"]
    conllu = "1\tAnn\tann\tPROPN\t_\t_\t0\troot\t_\t_\n"
    (sentence,) = read(tmp_path, conllu, {1: "text", 3: "upos", 4: "xpos"})
    assert [label.value for label in sentence.get_labels()] == ["PROPN"]


def test_sentences_that_are_banned_are_left_out(tmp_path):
    sentences = read(tmp_path, "Ann O\nleft O\n\nNo O\nway O\n\nYes O\n", NER, banned_sentences=["No way"])
    assert words(sentences) == ["Ann left", "Yes"]
    assert sentences[0].next_sentence() is sentences[1]


def test_documents_end_the_context(tmp_path):
    plain = read(tmp_path, DOCUMENTS, NER)
    assert words(plain) == ["Ann left", "We saw Rome", "No", "Yes"]
    assert [token.text for token in plain[0].right_context(3)] == ["We", "saw", "Rome"]

    marked = read(tmp_path, DOCUMENTS, NER, document_separator_token="-DOCSTART-")
    assert words(marked) == ["Ann left", "-DOCSTART-", "We saw Rome", "No", "-DOCSTART-", "Yes"]
    assert marked[0].right_context(3) == []
    assert [token.text for token in marked[3].left_context(5)] == ["We", "saw", "Rome"]
    assert [label.value for sentence in marked for label in sentence.labels] == ["PER", "LOC"]

    alone = read(tmp_path, DOCUMENTS, NER, every_sentence_is_independent=True)
    assert alone[0].right_context(3) == []


def test_documents_are_sentences_on_request(tmp_path):
    options = {"document_separator_token": "-DOCSTART-", "documents_as_sentences": True}
    documents = read(tmp_path, DOCUMENTS, NER, **options)
    assert words(documents) == ["Ann left", "We saw Rome No", "Yes"]
    assert documents[0].right_context(3) == []
    assert [span.text for span in documents[1].get_spans("ner")] == ["Rome"]
    with pytest.raises(DatasetError, match="documents_as_sentences needs document_separator_token"):
        read(tmp_path, DOCUMENTS, NER, documents_as_sentences=True)


def test_a_split_can_have_several_files(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.txt").write_text(f"{name} X\n")
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    corpus = MultiFileColumnCorpus(NER, train_files=files, test_files=[tmp_path / "three.txt"], in_memory=False)
    assert (words(corpus.train), words(corpus.dev), words(corpus.test)) in (
        (["one"], ["two"], ["three"]),
        (["two"], ["one"], ["three"]),
    )


def test_arguments_of_a_corpus_reach_it(tmp_path):
    (tmp_path / "train.txt").write_text("a X\n\nb X\n\nc X\n")
    corpus = ColumnCorpus(tmp_path, NER, train_file="train.txt", autofind_splits=False, sample_missing_splits=False)
    assert str(corpus) == "Corpus: 3 train + 0 dev + 0 test sentences"
    with pytest.raises(DatasetError, match="no option 'skip_last_line' of a reader of columns; there are skip_first"):
        ColumnCorpus(tmp_path, NER, skip_last_line=True)


def test_columns_of_conllu_may_stand_between_blanks_and_one_tab(tmp_path):
    text = (
        "# text = They buy books.\n"
        "1    They     they    PRON    PRP    Case=Nom|Number=Plur    2    nsubj    2:nsubj\t_\n"
        "2    buy      buy     VERB    VBP    Number=Plur|Person=3    0    root     0:root\t_\n"
        "3    books    book    NOUN    NNS    Number=Plur             2    obj      2:obj\tSpaceAfter=No\n"
        "4    .        .       PUNCT   .      _                       2    punct    2:punct\t_\n"
    )
    names = ("text", "lemma", "upos", "pos", "feats", "head", "deprel", "deps", "misc")
    (sentence,) = read(tmp_path, text, dict(enumerate(names, 1)))
    assert sentence.to_plain_string() == "They buy books."
    assert [token.get_label("deprel").value for token in sentence] == ["nsubj", "root", "obj", "punct"]
    assert [sentence[0].get_label(layer).value for layer in ("upos", "Case", "Number")] == ["PRON", "Nom", "Plur"]


def test_a_data_set_of_sentences_names_its_newer_name():
    with pytest.warns(DeprecationWarning, match="SentenceDataset is called FlairDatapointDataset now"):
        assert len(SentenceDataset(Sentence("one"))) == 1
