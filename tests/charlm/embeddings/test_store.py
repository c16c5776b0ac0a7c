"""The store of vectors: exactly what was computed, once, whatever the embeddings are called."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from charlm.data import Sentence
from charlm.embeddings import DocumentPoolEmbeddings, FlairEmbeddings, StackedEmbeddings, store
from charlm.embeddings.store import EmbeddingStore, embeddings_fingerprint
from charlm.errors import RunError
from charlm.nn.precision import can_compute_bf16
from tests.charlm.models.test_downstream_models import word_vectors
from tests.conftest import ROOT
from tests.precision import CPU
from tests.toy import GOLDEN, toy_sentences

pytestmark = pytest.mark.numeric


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def forward(**settings) -> FlairEmbeddings:
    return FlairEmbeddings(GOLDEN / "forward.pt", **settings)


def matrices(sentences: list[Sentence]) -> list[torch.Tensor]:
    return [sentence.get_token_embeddings() for sentence in sentences]


def test_stored_vectors_are_the_computed_ones_to_the_bit(tmp_path):
    computed = forward().embed([*toy_sentences(40, seed=1), Sentence("")])
    stored = [*toy_sentences(40, seed=1), Sentence("")]
    EmbeddingStore(forward(), tmp_path).attach(stored[::-1])
    assert all(torch.equal(*pair) for pair in zip(matrices(computed), matrices(stored), strict=True))


def test_vectors_of_texts_and_of_words_from_a_file_are_stored_too(tmp_path):
    sentences = toy_sentences(10, seed=1)
    embeddings = DocumentPoolEmbeddings([word_vectors(tmp_path)])
    EmbeddingStore(embeddings, tmp_path / "store").attach(sentences)
    found = [sentence.embedding for sentence in sentences]
    expected = [sentence.embedding for sentence in embeddings.embed(toy_sentences(10, seed=1))]
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.filterwarnings("ignore::charlm.errors.CharLMWarning")
def test_vectors_computed_in_bf16_are_kept_apart_and_are_the_same_but_for_rounding(tmp_path):
    exact, rounded = forward(), forward().in_bf16()
    sentences = [toy_sentences(20, seed=1) for _ in range(2)]
    for embeddings, batch in zip((exact, rounded), sentences, strict=True):
        EmbeddingStore(embeddings, tmp_path).attach(batch)
    assert len(list(tmp_path.iterdir())) == 2
    pairs = list(zip(*map(matrices, sentences), strict=True))
    assert all(torch.equal(*pair) for pair in pairs) != can_compute_bf16(CPU)
    assert all(torch.cosine_similarity(*pair).min() > 0.999 for pair in pairs)


def test_what_is_there_is_not_computed_again_and_new_sentences_are_added(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_PART_BYTES", 1000)
    attached = EmbeddingStore(forward(), tmp_path)
    attached.attach(toy_sentences(20, seed=1))
    old = {path.name: path.read_bytes() for path in attached.folder.glob("*.arrow")}
    assert len(old) > 2
    broken = forward(name="another name")
    fingerprint = attached.folder.name
    sentences = toy_sentences(20, seed=1)
    other = EmbeddingStore(broken, tmp_path)
    assert other.folder.name == fingerprint
    broken.lm.rnn.weight_hh_l0.data.fill_(float("nan"))  # what it computed now would be seen
    other.attach(sentences)
    assert all(torch.isfinite(matrix).all() for matrix in matrices(sentences))
    attached.attach(toy_sentences(30, seed=2))
    new = {path.name: path.read_bytes() for path in attached.folder.glob("*.arrow")}
    assert len(new) > len(old)
    assert {name: new[name] for name in old} == old


def test_a_text_stands_in_the_store_once_and_white_space_makes_another_text(tmp_path):
    texts = ["New York", "New  York", "New York", "NewYork"]
    sentences = [Sentence(text) for text in texts]
    attached = EmbeddingStore(forward(tokenized_lm=False), tmp_path)
    attached.attach(sentences)
    (part,) = attached.folder.glob("*.arrow")
    assert len(pa.ipc.open_stream(part.read_bytes()).read_all()) == 3
    computed = forward(tokenized_lm=False).embed([Sentence(text) for text in texts])
    for found, expected in zip(matrices(sentences), matrices(computed), strict=True):
        assert torch.allclose(found, expected, atol=1e-7)


def test_the_fingerprint_is_of_weights_and_settings_not_of_names():
    same = {embeddings_fingerprint(forward()), embeddings_fingerprint(forward(name="x"))}
    others = {
        embeddings_fingerprint(forward(with_whitespace=False)),
        embeddings_fingerprint(forward(precision="bf16")),
        embeddings_fingerprint(FlairEmbeddings(GOLDEN / "backward.pt")),
    }
    assert len(same) == 1
    assert len(same | others) == 4


def test_only_what_never_changes_is_kept():
    assert forward(fine_tune=True).frozen_parts() == []
    static, changing = forward(), forward(fine_tune=True)
    assert StackedEmbeddings([static, changing]).frozen_parts() == [static]


def test_vectors_are_mapped_and_not_held_in_memory(tmp_path):
    sentences = toy_sentences(5, seed=1)
    EmbeddingStore(forward(), tmp_path).attach(sentences)
    address = sentences[0].get_token_embeddings().data_ptr()
    ranges = re.findall(r"^(\w+)-(\w+) .*part_000001\.arrow$", Path("/proc/self/maps").read_text(), re.MULTILINE)
    assert any(int(start, 16) <= address < int(end, 16) for start, end in ranges)


_KILLED = """
import os, signal, sys
from pathlib import Path
from charlm.embeddings import store
from tests.charlm.embeddings.test_store import forward
from tests.toy import toy_sentences
store._PART_BYTES = 1000
write = store._write
def kill_at_the_third(path, *rest):
    if path.name == "part_000003.arrow":
        path.with_name(".tmp-part").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, *rest)
store._write = kill_at_the_third
store.EmbeddingStore(forward(), Path(sys.argv[1])).attach(toy_sentences(20, seed=1))
"""


def test_a_store_that_was_killed_goes_on_behind_its_last_part(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", _KILLED, tmp_path], cwd=ROOT, env=environment, check=False)
    attached = EmbeddingStore(forward(), tmp_path)
    assert len(list(attached.folder.glob("*.arrow"))) == 2
    sentences = toy_sentences(20, seed=1)
    attached.attach(sentences)
    assert not list(attached.folder.glob(".tmp-*"))
    computed = forward().embed(toy_sentences(20, seed=1))
    assert all(np.allclose(a, b, atol=1e-7) for a, b in zip(matrices(sentences), matrices(computed), strict=True))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="CHARLM_CACHE be a folder of your own"):
        EmbeddingStore(forward(), tmp_path / "store").attach(toy_sentences(1, seed=1))
