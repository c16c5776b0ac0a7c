"""Files go to workers in batches, with all that a worker needs to know of them."""

from pathlib import Path

import pytest

from charlm.text.corpus.text_files import TextFile, in_batches

MB = 1_000_000


def files_of(*sizes: int) -> list[TextFile]:
    return [
        TextFile(name=f"train_split_{number:04d}", path=Path(), sha256=None, bytes=size)
        for number, size in enumerate(sizes, start=1)
    ]


def test_a_few_files_are_a_batch_each() -> None:
    batches = in_batches(files_of(1, 2, 3))
    assert [batch.title for batch in batches] == ["train_split_0001", "train_split_0002", "train_split_0003"]
    assert in_batches([]) == []


def test_very_many_files_make_few_batches_which_hold_all_in_order() -> None:
    files = files_of(*[1_000] * 20_000)
    batches = in_batches(files)
    assert len(batches) == 64
    assert [file for batch in batches for file in batch.files] == files
    assert {len(batch.files) for batch in batches} == {312, 313}
    assert batches[0].title == "train_split_0001 to train_split_0312"


@pytest.mark.parametrize(("num_files", "size", "num_batches"), [(65, 1_000 * MB, 65), (20_000, 50 * MB, 512)])
def test_large_files_make_more_batches_up_to_a_limit(num_files: int, size: int, num_batches: int) -> None:
    assert len(in_batches(files_of(*[size] * num_files))) == num_batches


def test_a_large_file_among_small_ones_has_no_large_company() -> None:
    batches = in_batches(files_of(*[1_000] * 1_000, 500 * MB, *[1_000] * 1_000))
    (company,) = [len(batch.files) for batch in batches if any(file.bytes > MB for file in batch.files)]
    assert company == 1
