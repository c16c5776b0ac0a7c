"""A text is scored piece by piece: to the bits of the whole, and in memory that does not grow with it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.data.dictionary import Dictionary
from charlm.evaluation import language_model
from charlm.evaluation.language_model import chunk_outputs, score_encoded, stream_shape, unit_nats
from charlm.language_models.language_model import LanguageModel
from charlm.nn.inference import inference
from charlm.text.corpus import chunks, encoding
from charlm.text.corpus.encoded_ids import EncodedIds
from charlm.text.corpus.encoding import encode_file, read_ids
from tests.conftest import run_program

LINE = "the quick brown fox jumps over the lazy dog, number {}\n"


def small_model(*, is_forward: bool) -> LanguageModel:
    torch.manual_seed(1)
    return LanguageModel(
        Dictionary.from_items("abcdefghijklmno \n,"), is_forward, hidden_size=8, nlayers=1, embedding_size=4
    )


def whole_nats(model: LanguageModel, ids: np.ndarray) -> np.ndarray:
    """Cross entropy of each unit of each stream, (S, L), where all streams are laid out in memory."""
    streams, length = stream_shape(len(ids))
    targets = np.zeros(streams * length, dtype=ids.dtype)
    targets[: len(ids)] = ids if model.is_forward_lm else ids[::-1]
    inputs = np.concatenate([[model.dictionary.get_idx_for_item("\n")], targets[:-1]]).reshape(streams, length)
    parts = []
    with inference(model):
        hidden = model.init_hidden(streams)
        for start in range(0, length, language_model._CHUNK):
            part = slice(start, start + language_model._CHUNK)
            x = torch.from_numpy(inputs[:, part].T.astype(np.int64))
            y = torch.from_numpy(targets.reshape(streams, length)[:, part].T.astype(np.int64))
            _, output, hidden = model.read(x, hidden)
            parts.append(model.target_nats(output, y).T.numpy())
    nats = np.ascontiguousarray(np.concatenate(parts, axis=1))
    nats.reshape(-1)[len(ids) :] = 0
    return nats


@pytest.mark.numeric
@pytest.mark.parametrize("is_forward", [True, False])
@pytest.mark.parametrize("num_lines", [1, 30, 700])
def test_pieces_give_the_bits_of_the_whole(
    is_forward: bool, num_lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_UNITS_PER_BATCH", 3_000)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2_000)
    model = small_model(is_forward=is_forward)
    (tmp_path / "text").write_text("".join(LINE.format(number) for number in range(num_lines)))
    info = encode_file(tmp_path / "text", tmp_path / "text.arrow", model.dictionary)
    ids = read_ids(tmp_path / "text.arrow")
    expected = whole_nats(model, ids)
    with EncodedIds(tmp_path / "text.arrow") as on_disk:
        for source in (ids, on_disk):
            found = [chunk for _, chunk, _, _ in chunk_outputs(model, source, limit=expected.shape[1])]
            assert np.concatenate(found, axis=1).tolist() == expected.tolist()
    in_order = expected.reshape(-1)[: len(ids)]
    assert unit_nats(model, ids).tolist() == (in_order if is_forward else in_order[::-1]).tolist()
    score = score_encoded(model, tmp_path / "text.arrow", info)
    pieces = np.split(expected, range(language_model._CHUNK, expected.shape[1], language_model._CHUNK), axis=1)
    assert math.isclose(score.nats, sum(float(piece.sum(dtype=np.float64)) for piece in pieces), rel_tol=1e-12)
    assert (score.units, score.unknown) == (len(ids), int((ids == 0).sum()))


_PEAK = (
    "import json, sys\n"
    "from pathlib import Path\n"
    "from charlm.evaluation.language_model import score_encoded\n"
    "from charlm.malloc import peak_memory_bytes\n"
    "from charlm.text.corpus.encoding import encode_file\n"
    "from tests.charlm.evaluation.test_scoring_memory import LINE, small_model\n"
    "folder, found = Path(sys.argv[1]), []\n"
    "for size in (2, 2, 60):\n"  # megabytes; the first is for what is loaded on the way
    "    text, encoded, model = folder / 'text', folder / 'text.arrow', small_model(is_forward=False)\n"
    "    lines = ''.join(LINE.format(number) for number in range(10_000))\n"
    "    with text.open('w') as file:\n"
    "        for _ in range(2 * size):\n"
    "            file.write(lines)\n"
    "    info = encode_file(text, encoded, model.dictionary)\n"
    "    score_encoded(model, encoded, info, max_units=100_000)\n"
    "    found.append(peak_memory_bytes())\n"
    "print(json.dumps(found))\n"
)


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    outcome = run_program(_PEAK, tmp_path)
    assert outcome.code == 0, outcome.stderr
    _, small, large = outcome.json
    assert (tmp_path / "text.arrow").stat().st_size > 60_000_000
    assert large - small < 15_000_000
