"""Dictionaries that would run a command: refused in one line, and nothing is executed."""

import pickle
from pathlib import Path

import pytest

from charlm.data import Dictionary
from charlm.errors import DictionaryError
from tests.charlm.serialization import test_hostile_files as hostile

proof = hostile.proof


@pytest.mark.parametrize("exploit", hostile.EXPLOITS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["char_mappings", "dictionary.json"])
def test_a_dictionary_that_would_run_something_is_refused(
    name: str, protocol: int, exploit: type, proof: Path, tmp_path: Path
) -> None:
    for value in (exploit(proof), {"idx2item": exploit(proof), "item2idx": {}}, {"idx2item": [exploit(proof)]}):
        (tmp_path / name).write_bytes(pickle.dumps(value, protocol))
        with pytest.raises(DictionaryError, match=name) as refused:
            Dictionary.load_from_file(tmp_path / name)
        assert "\n" not in str(refused.value)
