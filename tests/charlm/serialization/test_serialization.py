"""Model files: what goes in comes out, Flair's are read, damaged and hostile ones get one line and run nothing."""

import contextlib
import json
import os
import pickle
import random
import shutil
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from charlm.artifacts import BundleFiles
from charlm.config.language_model import LanguageModelConfig
from charlm.data import Dictionary
from charlm.errors import CharLMError, ModelFileError
from charlm.language_models.language_model import load_language_models
from charlm.models import LanguageModel
from charlm.serialization.bundle import read_bundle, write_bundle
from charlm.serialization.flair_file import read_flair_file, write_flair_file
from charlm.serialization.safetensors_file import read_safetensors
from charlm.serialization.state import LanguageModelState
from charlm.storage.fingerprints import sha256_of
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden" / "flair"
INFO = {"corpus": {"name": "tiny", "characters": 1234}, "scores": {"forward": {"test": {"unk_rate": 0.01}}}}


def make_state(unit: str = "char", **changes: Any) -> LanguageModelState:
    items = [bytes([byte]) for byte in range(256)] if unit == "byte" else "\n abcé😀"
    arguments = {"is_forward_lm": True, "hidden_size": 4, "nlayers": 1, "embedding_size": 3} | changes
    torch.manual_seed(1)
    return LanguageModel(Dictionary.from_items(items, unit=unit), **arguments).language_model_state()


def assert_same(first: LanguageModelState, second: LanguageModelState) -> None:
    assert first.config == second.config
    assert first.dictionary == second.dictionary
    assert first.tensors.keys() == second.tensors.keys()
    assert all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())


def read_error(path: Path) -> str:
    """The message that every reader of a model gives for `path`; it must be one line that names the file."""
    with pytest.raises(CharLMError) as caught:
        LanguageModel.load_language_model(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


# ---- what goes in comes out ----------------------------------------------------------------------------------------

SHAPES = [
    {},
    {"is_forward_lm": False, "document_delimiter": "[SEP]", "dropout": 0.25},
    {"nlayers": 3, "nout": 5},
    {"recurrent_type": "GRU"},
    {"recurrent_type": "GRU", "nlayers": 2, "nout": 2, "has_decoder": False},
    {"unit": "byte"},
]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_comes_back_from_flairs_format(tmp_path, shape):
    state = make_state(**shape)
    write_flair_file(state, tmp_path / "best-lm.pt")
    assert_same(read_flair_file(tmp_path / "best-lm.pt"), state)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_comes_back_from_a_bundle(tmp_path, shape):
    state = make_state(**shape)
    write_bundle(tmp_path / "bundle", {state.config.direction: state}, INFO)
    bundle = read_bundle(tmp_path / "bundle")
    assert_same(bundle.states[state.config.direction], state)
    assert bundle.manifest["corpus"] == INFO["corpus"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("forward", LanguageModelConfig(is_forward_lm=True, hidden_size=8, nlayers=1, embedding_size=6)),
        ("old", LanguageModelConfig(is_forward_lm=False, hidden_size=8, nlayers=1, embedding_size=6, nout=6)),
        (
            "gru",
            LanguageModelConfig(
                is_forward_lm=True, hidden_size=8, nlayers=2, embedding_size=6, nout=5, recurrent_type="GRU",
                document_delimiter="[SEP]",
            ),
        ),
    ],
)  # fmt: skip
def test_files_of_flair_are_read_with_defaults_for_what_old_ones_lack(name, expected):
    state = read_flair_file(GOLDEN / f"{name}.pt")
    assert state.config == expected
    assert state.dictionary.idx2item[:3] == [b"<unk>", b"\n", b" "]
    assert state.dictionary.add_unk


def test_flairs_checkpoint_is_read_as_a_model(tmp_path):
    """`checkpoint.pt` holds an optimizer too, with tensors of other types."""
    plain = torch.load(rewritten(tmp_path / "plain.pt"), weights_only=False)
    plain |= {
        "optimizer_state_dict": {"state": {0: {"step": torch.tensor(3), "m": torch.ones(2).double()}}},
        "epoch": 1,
    }
    torch.save(plain, tmp_path / "checkpoint.pt", pickle_protocol=4)
    assert_same(read_flair_file(tmp_path / "checkpoint.pt"), make_state())


def rewritten(path: Path) -> Path:
    """A file as Flair's that torch can read here: its dictionary is a class that exists in this process."""
    write_flair_file(make_state(), path)
    content = path.read_bytes()
    assert b"cflair.data\nDictionary\n" in content
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    pickled = entries["archive/data.pkl"].replace(b"cflair.data\nDictionary", b"ccharlm.data.dictionary\nDictionary")
    with zipfile.ZipFile(path, "w") as archive:
        for name, entry in (entries | {"archive/data.pkl": pickled}).items():
            archive.writestr(name, entry)
    return path


def saved_by_torch(path: Path, *, old_format: bool = False, **changes: Any) -> Path:
    """A model file written by torch itself, with some of its content changed."""
    value = torch.load(rewritten(path), weights_only=False)
    torch.save(value | changes, path, pickle_protocol=4, _use_new_zipfile_serialization=not old_format)
    return path


def test_equal_models_give_equal_bytes(tmp_path):
    for name in ("first", "second"):
        write_bundle(tmp_path / name, {"forward": make_state()}, INFO)
    files = [path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file()]
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_a_bundles_fingerprint_is_that_of_weights_and_dictionary(tmp_path):
    state = make_state()
    other = LanguageModelState(state.config, state.dictionary, {n: t + 1e-6 for n, t in state.tensors.items()})
    fingerprints = [
        write_bundle(tmp_path / "a", {"forward": state}, INFO),
        write_bundle(tmp_path / "b", {"forward": state}, {}),
        write_bundle(tmp_path / "c", {"forward": other}, INFO),
        write_bundle(tmp_path / "d", {"forward": state, "backward": make_state(is_forward_lm=False)}, INFO),
    ]
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == 3
    assert read_bundle(tmp_path / "a").fingerprint == fingerprints[0]


def test_a_bundle_lists_its_files_with_their_digests(tmp_path):
    write_bundle(tmp_path / "bundle", {"forward": make_state(), "backward": make_state(is_forward_lm=False)}, INFO)
    files = BundleFiles(tmp_path / "bundle")
    manifest = json.loads(files.manifest.read_text())
    assert files.directions() == ["forward", "backward"]
    for direction in files.directions():
        digests = manifest["models"][direction]["sha256"]
        assert digests == {name: sha256_of(files.direction_dir(direction) / name) for name in digests}
        assert sorted(digests) == ["best-lm.pt", "config.json", "model.safetensors"]


def test_a_byte_bundle_has_no_file_for_flair(tmp_path):
    write_bundle(tmp_path / "bundle", {"forward": make_state(unit="byte")}, INFO)
    assert not BundleFiles(tmp_path / "bundle").best_lm("forward").exists()
    assert load_language_models(tmp_path / "bundle")["forward"].unit == "byte"


def test_the_pair_of_a_bundle_shares_direction_names_and_dictionary(tmp_path):
    with pytest.raises(ModelFileError, match="backward model cannot be the forward one"):
        write_bundle(tmp_path / "bundle", {"forward": make_state(is_forward_lm=False)}, INFO)
    other = LanguageModel(Dictionary.from_items("\n xyz"), False, 4, 1, 3).language_model_state()
    with pytest.raises(ModelFileError, match="share one dictionary"):
        write_bundle(tmp_path / "bundle", {"forward": make_state(), "backward": other}, INFO)
    assert not (tmp_path / "bundle").exists()


# ---- damaged files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["forward.pt", "old.pt"])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, name):
    content = (GOLDEN / name).read_bytes()
    for size in [*range(0, len(content) - 1, 97), len(content) - 1]:
        path = tmp_path / "cut.pt"
        path.write_bytes(content[:size])
        read_error(path)


def test_a_missing_file_is_an_error(tmp_path):
    assert "no model at" in read_error(tmp_path / "nothing.pt")


@pytest.mark.parametrize("content", [b"", b"PK", b"some text\n" * 10, b"PK\x03\x04" + b"\0" * 100, b"\x80\x04N."])
def test_what_is_no_model_file_is_refused(tmp_path, content):
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    read_error(path)


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_size": 5}, r"rnn.weight_ih_l0 has shape \[16, 3\] where \[20, 3\] is declared"),
        ({"hidden_size": 10**12}, "hidden_size is a number from 1 to 1000000"),
        ({"hidden_size": True}, "hidden_size is a number"),
        ({"hidden_size": "4"}, "hidden_size is a number"),
        ({"nlayers": 10**6}, "declares 1000000 layers but holds 7 tensors"),
        ({"nlayers": 2}, "is missing"),
        ({"nout": 4}, "is missing"),
        ({"recurrent_type": "RNN"}, "recurrent_type is LSTM or GRU, not 'RNN'"),
        ({"recurrent_type": ["LSTM"]}, "recurrent_type is LSTM or GRU"),
        ({"recurrent_type": "GRU"}, "has shape"),
        ({"dropout": "x"}, "dropout is a share"),
        ({"document_delimiter": 3}, "document_delimiter is text"),
        ({"state_dict": {}}, "declares 1 layers but holds 0 tensors"),
        ({"state_dict": {"encoder.weight": 3}}, "not a tensor"),
        ({"state_dict": [1]}, "no state_dict and dictionary"),
        ({"dictionary": {"idx2item": [b"a"]}}, "dictionary holds no items"),
        ({"dictionary": Dictionary.from_items("\n ab")}, "encoder.weight has shape"),
    ],
)
def test_content_that_does_not_fit_together_is_refused(tmp_path, old_format, changes, reason):
    path = saved_by_torch(tmp_path / "model.pt", old_format=old_format, **changes)
    with pytest.raises(ModelFileError, match=reason):
        read_flair_file(path)
    read_error(path)


def test_a_tensor_that_belongs_to_no_model_is_refused(tmp_path):
    state_dict = {**make_state().tensors, "extra.weight": torch.zeros(2)}
    path = saved_by_torch(tmp_path / "model.pt", state_dict=state_dict)
    assert "'extra.weight' belongs to no language model" in read_error(path)


@pytest.mark.parametrize("nothing", ["is_forward_lm", "hidden_size", "nlayers"])
def test_a_file_that_does_not_say_what_it_holds_is_refused(tmp_path, nothing):
    value = torch.load(rewritten(tmp_path / "model.pt"), weights_only=False)
    del value[nothing]
    torch.save(value, tmp_path / "model.pt", pickle_protocol=4)
    assert f"it has no {nothing}" in read_error(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["forward.pt", "old.pt"])
def test_flipped_bytes_are_read_or_refused(tmp_path, name):
    draw = random.Random(3)
    path = tmp_path / "flipped.pt"
    for _ in range(400):
        content = bytearray((GOLDEN / name).read_bytes())
        for _ in range(draw.choice((1, 2, 10))):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        with contextlib.suppress(ModelFileError):  # and nothing else
            read_flair_file(path)


# ---- hostile files -------------------------------------------------------------------------------------------------


class Exploit:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("place", ["state_dict", "dictionary", "document_delimiter", "unused"])
def test_a_pickle_that_would_run_a_command_is_refused_and_does_nothing(tmp_path, old_format, place):
    exploit = {place: Exploit(tmp_path / "proof")}
    value = torch.load(rewritten(tmp_path / "model.pt"), weights_only=False)
    path = tmp_path / "exploit.pt"
    torch.save(value | exploit, path, pickle_protocol=4, _use_new_zipfile_serialization=not old_format)
    assert "asks to import posix.mkdir, which is refused" in read_error(path)
    assert not (tmp_path / "proof").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "proof").exists()  # the exploit is a real one


def test_a_bare_exploit_pickle_is_refused(tmp_path):
    path = tmp_path / "bare.pt"
    path.write_bytes(pickle.dumps(Exploit(tmp_path / "proof")))
    assert "which is refused" in read_error(path)
    assert not (tmp_path / "proof").exists()


def with_entries(path: Path, compression: int = zipfile.ZIP_STORED, **changed: bytes) -> Path:
    """The model file with some zip entries replaced."""
    with zipfile.ZipFile(path) as archive:
        entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, entry in (entries | changed).items():
            archive.writestr(f"archive/{name}", entry)
    return path


def test_a_zip_bomb_is_refused(tmp_path):
    write_flair_file(make_state(), tmp_path / "model.pt")
    path = with_entries(tmp_path / "model.pt", zipfile.ZIP_DEFLATED, **{"data/0": b"\0" * 10**7})
    assert "compressed" in read_error(path)


def test_a_storage_of_another_size_than_declared_is_refused(tmp_path):
    write_flair_file(make_state(), tmp_path / "model.pt")
    path = with_entries(tmp_path / "model.pt", **{"data/0": b"\0" * 8})
    assert "has 8 bytes where 96 are declared" in read_error(path)


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path):
    write_flair_file(make_state(), tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt") as archive:
        content = archive.read("archive/data.pkl")
    number = b"J" + struct.pack("<i", 8)  # V of encoder.weight, (8, 3)
    grown = content.replace(b"(" + number + b"J\x03\0\0\0t", b"(J" + struct.pack("<i", 2**31 - 1) + b"J\x03\0\0\0t")
    assert grown != content
    path = with_entries(tmp_path / "model.pt", **{"data.pkl": grown})
    assert "has shape [2147483647, 3] where [8, 3] is declared" in read_error(path)


def test_a_header_of_ten_gigabytes_is_refused_in_safetensors(tmp_path):
    write_bundle(tmp_path / "bundle", {"forward": make_state()}, INFO)
    model = BundleFiles(tmp_path / "bundle").model("forward")
    content = model.read_bytes()
    model.write_bytes(struct.pack("<Q", 10**10) + content[8:])
    with pytest.raises(ModelFileError, match=r"model\.safetensors is damaged"):
        read_bundle(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("bundle.json", b"{", "is damaged"),
        ("bundle.json", b"[" * 100_000, "is damaged"),
        ("bundle.json", b'{"format": "charlm.bundle/9"}', "has no format"),
        ("bundle.json", b'{"format": "charlm.bundle/1", "models": {"forward": []}}', "is not the file that"),
        ("bundle.json", b'{"format": "charlm.bundle/1", "models": {"sideways": {}}}', "no models of known directions"),
        ("dictionary.json", b"{}", "not a dictionary"),
        ("forward/config.json", b"{}", "has no format"),
        ("forward/config.json", b'{"format": "charlm.language_model/1", "hidden": 1}', "another dictionary"),
        ("forward/model.safetensors", b"", "is damaged"),
    ],
)
def test_a_damaged_bundle_is_refused(tmp_path, file, content, reason):
    write_bundle(tmp_path / "bundle", {"forward": make_state()}, INFO)
    (tmp_path / "bundle" / file).write_bytes(content)
    with pytest.raises(CharLMError, match=reason):
        read_bundle(tmp_path / "bundle")


def test_a_missing_part_of_a_bundle_is_an_error(tmp_path):
    write_bundle(tmp_path / "whole", {"forward": make_state()}, INFO)
    for part in ("bundle.json", "dictionary.json", "forward/config.json", "forward/model.safetensors"):
        shutil.copytree(tmp_path / "whole", tmp_path / "bundle", dirs_exist_ok=True)
        (tmp_path / "bundle" / part).unlink()
        with pytest.raises(CharLMError, match=Path(part).name):
            read_bundle(tmp_path / "bundle")


def test_weights_swapped_for_others_are_noticed(tmp_path):
    write_bundle(tmp_path / "bundle", {"forward": make_state()}, INFO)
    state = make_state()
    write_bundle(
        tmp_path / "other",
        {"forward": replace(state, tensors={name: tensor * 2 for name, tensor in state.tensors.items()})},
        INFO,
    )
    shutil.copy(BundleFiles(tmp_path / "other").model("forward"), BundleFiles(tmp_path / "bundle").model("forward"))
    with pytest.raises(ModelFileError, match=r"is not the file that .* was written with"):
        read_bundle(tmp_path / "bundle")


def test_a_model_of_another_dictionary_is_noticed(tmp_path):
    write_bundle(tmp_path / "bundle", {"forward": make_state()}, INFO)
    with pytest.raises(ModelFileError, match="was written with another dictionary"):
        read_safetensors(tmp_path / "bundle" / "forward", Dictionary.from_items("\n xyz"))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "best-lm.pt"
    write_flair_file(make_state(), path)
    before = path.read_bytes()
    state = make_state()
    object.__setattr__(state.dictionary, "idx2item", [object()])
    with pytest.raises(TypeError):
        write_flair_file(state, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["best-lm.pt"]
