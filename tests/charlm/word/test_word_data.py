"""Text as lists of words, vocab and batches: what GluonNLP's users rely on, on text small enough to count by hand."""

import json
from pathlib import Path

import pytest
import torch

from charlm.errors import ConfigError, CorpusError, DictionaryError, SourceError
from charlm.word import data
from charlm.word.data.batchify import CorpusBatchify, CorpusBPTTBatchify
from charlm.word.vocab import Vocab


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("the cat sat \n \nthe dog\n", encoding="utf-8")
    return tmp_path / "a.txt"


# ---- text ----------------------------------------------------------------------------------------------------------


def test_samples_are_lines_of_words(text: Path) -> None:
    assert list(data.CorpusDataset(text)) == [["the", "cat", "sat"], ["the", "dog"]]
    assert list(data.CorpusDataset([text, text], flatten=True)) == ["the", "cat", "sat", "the", "dog"] * 2
    assert data.CorpusDataset(text, tokenizer=None)[0] == "the cat sat"


def test_blank_lines_stay_where_they_are_not_skipped(text: Path) -> None:
    dataset = data.CorpusDataset(text, skip_empty=False, flatten=True, bos="<bos>", eos="<eos>")
    assert list(dataset) == ["<bos>", "the", "cat", "sat", "<eos>", "<bos>", "<eos>", "<bos>", "the", "dog", "<eos>"]


def test_splitters_may_be_any_functions(text: Path) -> None:
    dataset = data.CorpusDataset(text, sample_splitter=lambda text: text.split("sat"), tokenizer=list)
    assert dataset[0] == list("the cat")


def test_only_a_newline_ends_a_line() -> None:
    assert data.line_splitter("a\x85b\u2028c\x0bd\n\ne") == ["a\x85b\u2028c\x0bd", "", "e"]


def test_sentences_are_split_without_a_download() -> None:
    assert data.sentences("I saw Mr. Smith. He left.") == ["I saw Mr. Smith.", "He left."]


def test_moses_keeps_special_words_and_quotes() -> None:
    tokenizer = data.SacreMosesTokenizer()
    assert tokenizer('He said "don\'t" & left <unk>.') == [
        "He",
        "said",
        '"',
        "don",
        "'t",
        '"',
        "&",
        "left",
        "<unk>",
        ".",
    ]
    assert tokenizer("a, b", return_str=True) == "a , b"
    assert data.SacreMosesTokenizer(escape=True)('"') == ["&quot;"]


@pytest.mark.parametrize("names", [("wiki.train.tokens", "wiki.valid.tokens"), ("train.txt", "valid.txt")])
def test_wikitext_is_read_from_a_folder_or_the_cache(
    names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path))
    folder = tmp_path / "datasets" / "wikitext-2"
    folder.mkdir(parents=True)
    for name, content in zip(names, (" = A = \n \n", "b\n"), strict=True):
        (folder / name).write_text(content)
    assert list(data.WikiText2(segment="train", skip_empty=False)) == ["=", "A", "=", "<eos>", "<eos>"]
    assert list(data.WikiText2("val", root=folder)) == ["b", "<eos>"]
    with pytest.raises(SourceError, match=r"no test segment of WikiText2.*wiki.test.tokens or test.txt"):
        data.WikiText2("test")
    with pytest.raises(ConfigError, match="train, val or test"):
        data.WikiText2("dev")


def test_bad_text_is_reported_in_one_line(text: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing\.txt"):
        data.CorpusDataset(tmp_path / "missing.txt")
    text.write_bytes(b"\xff")
    with pytest.raises(CorpusError, match="not text in utf-8"):
        data.CorpusDataset(text)
    with pytest.raises(ConfigError, match="give a tokenizer"):
        data.CorpusDataset(text, tokenizer=None, eos="<eos>")


def test_rare_words_are_discarded_from_counts() -> None:
    counter = data.count_tokens(["A", "a", "b", "B", "c"], to_lower=True)
    assert data.count_tokens(["c"], counter=counter) is counter
    assert counter == {"a": 2, "b": 2, "c": 2}
    counter.update(["d", "e"])
    assert counter.discard(2, "<unk>") == {"a": 2, "b": 2, "c": 2, "<unk>": 2}
    assert counter.discard(2, None) == {"a": 2, "b": 2, "c": 2}


# ---- the vocab -----------------------------------------------------------------------------------------------------

COUNTER = data.Counter({"b": 3, "a": 3, "c": 5, "<eos>": 9, "d": 1})


def test_ids_are_special_words_then_frequent_ones_then_by_code_point() -> None:
    assert Vocab(COUNTER).idx_to_token == ["<unk>", "<pad>", "<bos>", "<eos>", "c", "a", "b", "d"]
    assert Vocab(COUNTER, padding_token=None, bos_token=None).idx_to_token[:2] == ["<unk>", "<eos>"]
    small = Vocab(COUNTER, 1, min_freq=2, padding_token=None, bos_token=None, reserved_tokens=["x"])
    assert small.idx_to_token == ["<unk>", "<eos>", "x", "c"]
    fixed = Vocab(COUNTER, padding_token=None, bos_token=None, token_to_idx={"<eos>": 0, "d": 1})
    assert fixed.idx_to_token == ["<eos>", "d", "<unk>", "c", "a", "b"]


def test_words_and_ids_are_looked_up_alone_and_in_lists() -> None:
    vocab = Vocab(COUNTER, padding_token=None, bos_token=None)
    assert (len(vocab), "a" in vocab, "z" in vocab) == (6, True, False)
    assert (vocab["a"], vocab["z"], vocab(["c", "z"]), vocab.to_indices("c")) == (3, 0, [2, 0], 2)
    assert (vocab.to_tokens(1), vocab.to_tokens([2, 0])) == ("<eos>", ["c", "<unk>"])
    with pytest.raises(DictionaryError, match="no id 6"):
        vocab.to_tokens([6])
    with pytest.raises(DictionaryError, match="'z' is not in the vocab"):
        Vocab(COUNTER, unknown_token=None)["z"]


def test_a_vocab_is_the_same_after_json_and_other_json_is_refused() -> None:
    vocab = Vocab(COUNTER, reserved_tokens=["é"], token_to_idx={"a": 0})
    assert Vocab.from_json(vocab.to_json()) == vocab
    values = json.loads(vocab.to_json())
    for change in ({"idx_to_token": ["a", "a"]}, {"eos_token": "missing"}, {"idx_to_token": [1]}, {"bos_token": 3}):
        with pytest.raises(DictionaryError, match="no vocab"):
            Vocab.from_json(json.dumps(values | change))
    for other in ("", "[]", "{}"):
        with pytest.raises(DictionaryError, match="no vocab"):
            Vocab.from_json(other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_freq": 0}, "min_freq"),
        ({"reserved_tokens": ["<unk>"]}, "given twice"),
        ({"token_to_idx": {"zebra": 1}}, "the vocab has not: zebra"),
        ({"token_to_idx": {"a": 1, "b": 1}}, "an id of its own"),
    ],
)
def test_settings_that_make_no_vocab_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Vocab(COUNTER, **settings)  # type: ignore[arg-type]


# ---- batches -------------------------------------------------------------------------------------------------------

VOCAB = Vocab(data.Counter("abcdefghijk"), padding_token=None, bos_token=None, eos_token=None)


def test_streams_stand_side_by_side() -> None:
    streams = CorpusBatchify(VOCAB, 2)(list("abcdefghijk"))
    assert streams.tolist() == [[1, 6], [2, 7], [3, 8], [4, 9], [5, 10]]  # k is left out


def test_targets_are_the_words_that_follow_and_an_incomplete_batch_is_discarded() -> None:
    batches = CorpusBPTTBatchify(VOCAB, 2, 2, last_batch="discard")(list("abcdefghijk"))
    assert len(batches) == 2
    inputs, targets = batches[0]
    assert (inputs.tolist(), targets.tolist()) == ([[1, 6], [2, 7]], [[2, 7], [3, 8]])
    assert inputs.dtype == torch.int64
    assert batches[-1][1].tolist() == [[4, 9], [5, 10]]
    assert len(list(batches)) == len(batches[:5]) == 2
    with pytest.raises(IndexError):
        batches[2]


def test_the_last_batch_is_kept_with_padding() -> None:
    vocab = Vocab(data.Counter("abcdefghijk"), bos_token=None, eos_token=None)  # <pad> is 1, a is 2
    batches = CorpusBPTTBatchify(vocab, 4, 2)(list("abcdefghijk"))
    read = torch.cat([inputs for inputs, _ in batches] + [batches[-1][1][-1:]])
    assert read.t().reshape(-1).tolist() == [*range(2, 13), *[1] * 7]
    assert batches[-1][0].shape == (4, 2)


def test_what_gives_no_batches_is_refused() -> None:
    with pytest.raises(ConfigError, match="this vocab has none"):
        CorpusBPTTBatchify(VOCAB, 2, 2)
    with pytest.raises(CorpusError, match="2 streams of 2, and a batch takes 3"):
        CorpusBPTTBatchify(VOCAB, 2, 2, last_batch="discard")(list("abcde"))
    with pytest.raises(ConfigError, match="flatten=True"):
        CorpusBatchify(VOCAB, 2)([["a"]])  # type: ignore[list-item]
    for settings in ({"seq_len": 0, "batch_size": 1}, {"seq_len": 1, "batch_size": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            CorpusBPTTBatchify(VOCAB, **settings)
