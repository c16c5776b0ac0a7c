"""Models by name: their settings, their loss, several devices, files, and the way into the pipeline."""

import math
import random
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import charlm.word as nlp
from charlm.errors import ConfigError, DictionaryError, ModelFileError
from charlm.evaluation.language_model import score_file
from charlm.language_models.language_model import LanguageModel
from charlm.word.data.batchify import BPTTBatches
from charlm.word.model import MODELS, WordLanguageModel
from tests.labelled_data import write_novel

pytestmark = pytest.mark.numeric

SMALL = {"hidden_size": 16, "embedding_size": 16}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    write_novel(path, random.Random(1), num_lines=80, blank_lines=True)
    return path


@pytest.fixture
def vocab(text: Path) -> nlp.Vocab:
    dataset = nlp.data.CorpusDataset(text, flatten=True, skip_empty=False, eos="<eos>")
    return nlp.Vocab(nlp.data.Counter(dataset), padding_token=None, bos_token=None)


@pytest.fixture
def batches(text: Path, vocab: nlp.Vocab) -> BPTTBatches:
    dataset = nlp.data.CorpusDataset(text, flatten=True, skip_empty=False, eos="<eos>")
    return nlp.data.batchify.CorpusBPTTBatchify(vocab, 7, 4, last_batch="discard")(dataset)


def new_model(vocab: nlp.Vocab, name: str = "standard_lstm_lm_200", **settings: object) -> WordLanguageModel:
    torch.manual_seed(1)
    return nlp.model.get_model(name, vocab=vocab, **(SMALL | settings))[0]


@pytest.mark.parametrize(
    ("name", "sizes", "embedding", "dropout"),
    [
        ("standard_lstm_lm_200", [200, 200], 200, 0.2),
        ("standard_lstm_lm_650", [650, 650], 650, 0.5),
        ("standard_lstm_lm_1500", [1500, 1500], 1500, 0.65),
        ("awd_lstm_lm_600", [600, 600, 200], 200, 0.2),
        ("awd_lstm_lm_1150", [1150, 1150, 400], 400, 0.4),
    ],
)
def test_models_have_the_published_sizes(
    name: str, sizes: list[int], embedding: int, dropout: float, vocab: nlp.Vocab
) -> None:
    assert name in MODELS
    with torch.device("meta"):
        model, same = nlp.model.get_model(name, vocab=vocab)
    config = model.lm.config
    assert (same, config.layer_sizes, config.embedding_size, config.dropout) == (vocab, sizes, embedding, dropout)
    assert config.tie_weights
    assert not config.cutoffs


@pytest.mark.parametrize("name", ["standard_lstm_lm_200", "awd_lstm_lm_600"])
def test_the_loss_is_the_cross_entropy_of_the_logits(name: str, vocab: nlp.Vocab, batches: BPTTBatches) -> None:
    model = new_model(vocab, name).eval()
    data, target = batches[0]
    state = model.begin_state(batch_size=4)
    logits, new_state = model(data, state)
    loss, same_state = model.loss(data, target, state)
    assert logits.shape == (7, 4, len(vocab))
    assert loss.item() == pytest.approx(F.cross_entropy(logits.flatten(0, 1), target.flatten()).item(), rel=1e-5)
    assert all(torch.equal(one, other) for one, other in zip(new_state, same_state, strict=True))
    assert not torch.equal(new_state[0], state[0])


def test_a_model_on_several_devices_learns_as_on_one(vocab: nlp.Vocab, batches: BPTTBatches) -> None:
    trained = []
    for devices in (["cpu"], ["cpu", "cpu:0"]):  # to torch, the second is another device
        model = new_model(vocab, dropout=0.0)
        epochs = nlp.train(model, batches, batches, batches, 1, 5.0, devices=devices, log=lambda line: None)
        trained.append((model.lm.state_dict(), [epoch.valid_loss for epoch in epochs]))
    (one, losses), (two, other_losses) = trained
    assert losses == pytest.approx(other_losses, rel=1e-4)
    assert all(torch.allclose(one[name], two[name], atol=1e-3) for name in one)


def test_training_learns_anneals_and_keeps_the_better_epochs(
    vocab: nlp.Vocab, batches: BPTTBatches, tmp_path: Path
) -> None:
    model = new_model(vocab)
    start = nlp.evaluate(model, batches, 4)
    assert start == pytest.approx(math.log(len(vocab)), abs=0.1)
    lines: list[str] = []
    save_prefix = tmp_path / "small"
    epochs = nlp.train(
        model, batches, batches, batches, 3, 5.0, log_interval=10, save_prefix=save_prefix, log=lines.append
    )
    assert epochs[-1].valid_loss < start - 0.3
    assert epochs[0].test_loss == pytest.approx(epochs[0].valid_loss)  # it is the same text
    assert (tmp_path / "small-0.params").is_file()
    assert any(line.startswith("[Epoch 0 Batch 10/") for line in lines)
    # So high a rate leaves chance to say which epochs are worse than the best before them; not all of ten are better.
    worse = nlp.train(model, batches, batches, batches, 10, 1e6, grad_clip=1e6, log=lines.append)
    assert any(epoch.test_loss is None for epoch in worse)
    assert {epoch.lr for epoch in worse} <= {1e6 / 4**times for times in range(10)}
    assert any(line.startswith("Learning rate now 250000.0") for line in lines)


def test_states_are_detached_in_whatever_holds_them() -> None:
    x = torch.ones(1, requires_grad=True) * 2
    one, (two, three) = nlp.detach([x, (x, x)])
    assert not any(part.requires_grad for part in (one, two, three))


def test_batches_are_split_over_devices() -> None:
    data = torch.arange(12).view(2, 6)
    assert [part.tolist() for part in nlp.split_and_load(data, ["cpu", "cpu"], batch_axis=1)] == [
        [[0, 1, 2], [6, 7, 8]],
        [[3, 4, 5], [9, 10, 11]],
    ]
    assert [part.shape[1] for part in nlp.split_and_load(data, ["cpu"] * 4, 1, even_split=False)] == [2, 2, 1, 1]
    for devices, even in ((["cpu"] * 4, True), ([], True), (["cpu"] * 7, False)):
        with pytest.raises(ConfigError, match="a batch of 6 streams"):
            nlp.split_and_load(data, devices, 1, even_split=even)


# ---- files ---------------------------------------------------------------------------------------------------------


def test_parameters_are_the_same_after_they_were_saved(vocab: nlp.Vocab, batches: BPTTBatches, tmp_path: Path) -> None:
    model, other = new_model(vocab), new_model(vocab)
    nlp.train(model, batches, batches, batches, 1, 5.0, log=lambda line: None)
    model.save_parameters(tmp_path / "a.params")
    other.load_parameters(tmp_path / "a.params")
    assert nlp.evaluate(other, batches, 4) == nlp.evaluate(model, batches, 4)
    with pytest.raises(ModelFileError, match=r"parameters of another model: encoder.weight is \(\d+, 16\) there"):
        new_model(vocab, embedding_size=8, hidden_size=8).load_parameters(tmp_path / "a.params")
    (tmp_path / "b.params").write_bytes(b"\x80\x04N.")
    for name in ("b.params", "missing.params"):
        with pytest.raises(ModelFileError, match="cannot read parameters"):
            other.load_parameters(tmp_path / name)


def test_model_and_vocab_go_into_the_pipeline(
    vocab: nlp.Vocab, text: Path, batches: BPTTBatches, tmp_path: Path
) -> None:
    model = new_model(vocab)
    nlp.train(model, batches, batches, batches, 2, 5.0, log=lambda line: None)
    loaded = LanguageModel.load_language_model(nlp.to_bundle(model, vocab, tmp_path / "bundle"))
    assert loaded.unit == "word"
    score = score_file(loaded, text)
    assert score.units == len(nlp.data.CorpusDataset(text, flatten=True, skip_empty=False, eos="<eos>"))
    assert score.loss == pytest.approx(nlp.evaluate(model, batches, 4), abs=0.1)
    with pytest.raises(ConfigError, match="not the one that the model was made with"):
        nlp.to_bundle(model, nlp.Vocab(), tmp_path / "other")


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "gpt"}, "there is no model 'gpt'; there are standard_lstm_lm_200"),
        ({"pretrained": True}, "no pretrained models"),
        ({"dataset_name": "wikitext-2"}, "no pretrained models, of wikitext-2"),
        ({"vocab": None}, "needs a vocab"),
        ({"colour": 1}, "has no setting 'colour'"),
        ({"dropout": 2.0}, "dropout"),
    ],
)
def test_models_that_there_are_not_are_refused(arguments: dict[str, object], message: str, vocab: nlp.Vocab) -> None:
    with pytest.raises(ConfigError, match=message):
        nlp.model.get_model(**({"name": "standard_lstm_lm_200", "vocab": vocab} | arguments))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "vocab",
    [nlp.Vocab(unknown_token=None), nlp.Vocab(eos_token=None), nlp.Vocab(token_to_idx={"<eos>": 0})],
)
def test_a_vocab_that_is_no_dictionary_is_refused(vocab: nlp.Vocab) -> None:
    with pytest.raises(DictionaryError, match="needs a vocab with"):
        vocab.to_dictionary()
