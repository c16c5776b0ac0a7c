"""The set of seen documents is exact, lives on disk, and can be taken up again."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.text.corpus import deduplication
from charlm.text.corpus.deduplication import SeenKeys

SOME_KEYS = st.lists(st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1), st.just(2**64 - 1)), max_size=40)


@given(batches=st.lists(SOME_KEYS, max_size=12), resume_at=st.integers(0, 12))
def test_a_key_is_new_once(batches: list[list[int]], resume_at: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("seen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deduplication, "_KEYS_PER_RUN", 8)
        seen, known = SeenKeys(folder), set()
        for number, batch in enumerate(batches):
            if number == resume_at:
                seen = SeenKeys(folder, seen.flush())
            expected = []
            for key in batch:
                expected.append(key not in known)
                known.add(key)
            assert seen.add(np.array(batch, dtype=np.uint64)).tolist() == expected
        assert seen.contains(np.array(sorted(known), dtype=np.uint64)).all()


def test_many_keys_stay_in_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deduplication, "_KEYS_PER_RUN", 1000)
    seen = SeenKeys(tmp_path)
    keys = np.random.default_rng(1).integers(0, 2**64, size=64_000, dtype=np.uint64)
    for start in range(0, len(keys), 500):
        assert seen.add(keys[start : start + 500]).all()
    assert not seen.add(keys).any()
    names = seen.flush()
    assert len(names) <= 7  # log2(64)
    assert sum(len(np.load(tmp_path / name)) for name in names) == 64_000
