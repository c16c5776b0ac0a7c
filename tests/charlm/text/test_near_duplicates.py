"""Documents that are nearly one before are found, whatever the script, the process and the hash seed."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from charlm.artifacts import CorpusFiles
from charlm.config import ReadConfig, SplitConfig
from charlm.errors import ConfigError
from charlm.text.corpus.near_duplicates import NearDuplicates, choose_bands
from charlm.text.corpus.splitting import SplitResult, split_corpus
from charlm.text.doctor import examine
from tests.charlm.text.corpora import content

pytest.importorskip("datasketch")
WORDS = [f"w{number}" for number in range(500)]


def novel(seed: int, words: int = 120) -> list[str]:
    return random.Random(seed).choices(WORDS, k=words)


def changed(words: list[str], count: int, seed: int = 0) -> list[str]:
    """`words` with `count` of them replaced, in one place."""
    place = random.Random(seed).randrange(len(words) - count)
    return [*words[:place], *["other"] * count, *words[place + count :]]


def document(words: list[str], *, space: str = " ") -> bytes:
    return f"{space.join(words)}\n".encode()


def test_one_changed_word_in_a_long_document_is_near_and_half_of_it_is_not(tmp_path: Path) -> None:
    near = NearDuplicates(tmp_path, 0.8)
    originals = [document(novel(seed)) for seed in range(60)]
    assert near.add(near.keys(originals)).all()
    copies = [document(changed(novel(seed), 1, seed)) for seed in range(60)]
    assert near.contains(near.keys(copies)).mean() > 0.9
    halves = [document(changed(novel(seed), 60, seed)) for seed in range(60)]
    assert not near.contains(near.keys(halves)).any()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The grass is green, and the sky blue.", "the GRASS  is green and the sky blue"),
        ("今日は良い天気ですね、散歩に行きましょう。", "今日は良い天気ですね 散歩に行きましょう"),
        ("Yes.", "yes!"),
        ("...", "...\n"),
    ],
)
def test_case_punctuation_and_white_space_do_not_matter(one: str, other: str, tmp_path: Path) -> None:
    near = NearDuplicates(tmp_path, 0.8)
    assert near.add(near.keys([one.encode(), b"something else"])).all()
    assert near.contains(near.keys([other.encode()])).all()


def test_a_text_without_spaces_is_compared_by_its_characters(tmp_path: Path) -> None:
    near = NearDuplicates(tmp_path, 0.8)
    characters = random.Random(1).choices([chr(code) for code in range(0x4E00, 0x5200)], k=200)
    near.add(near.keys([document(characters, space="")]))
    found = near.contains(near.keys([document(changed(characters, 1), space=""), document(characters[:50], space="")]))
    assert found.tolist() == [True, False]


def test_the_documents_seen_can_be_taken_up_again(tmp_path: Path) -> None:
    near = NearDuplicates(tmp_path, 0.8)
    near.add(near.keys([document(novel(1))]))
    again = NearDuplicates(tmp_path, 0.8, near.flush())
    assert again.add(again.keys([document(novel(1)), document(novel(2)), document(novel(2))])).tolist() == [
        False,
        True,
        False,
    ]


def test_keys_depend_on_neither_the_hash_seed_nor_the_process(tmp_path: Path) -> None:
    """They are stored, so these must never change; other numbers need another VERSION."""
    program = (
        "from pathlib import Path\nfrom charlm.text.corpus.near_duplicates import NearDuplicates\n"
        "print(NearDuplicates(Path('.'), 0.8).keys([b'the grass is green and the sky is blue'])[0, :2].tolist())"
    )
    shown = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    here = NearDuplicates(tmp_path, 0.8).keys([b"the grass is green and the sky is blue"])[0, :2].tolist()
    assert shown == {f"{here}\n"}
    assert here == KEYS


KEYS = [7463956599035275522, 10253050599093702868]


@pytest.mark.parametrize(("threshold", "bands"), [(0.8, (11, 11)), (0.7, (16, 8)), (0.9, (7, 18))])
def test_bands_find_two_thirds_of_the_pairs_at_the_threshold(threshold: float, bands: tuple[int, int]) -> None:
    assert choose_bands(threshold) == bands
    assert 0.55 < 1 - (1 - threshold ** bands[1]) ** bands[0] < 0.7


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_a_threshold_is_a_share(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"in \(0, 1\]"):
        choose_bands(threshold)
    with pytest.raises(ConfigError, match=r"in \(0, 1\]"):
        ReadConfig(deduplicate=True, near_threshold=threshold)


# ---- corpora -------------------------------------------------------------------------------------------------------

CONFIG = SplitConfig(document="line", valid_share=0.15, test_share=0.15, shard_size=20_000)
NEAR = ReadConfig(deduplicate=True, near_threshold=0.8)


def write_lines(path: Path, documents: list[list[str]]) -> str:
    path.write_bytes(b"".join(map(document, documents)))
    return str(path)


def prepare(root: Path, *raw: str, reading: ReadConfig = NEAR) -> SplitResult:
    return split_corpus(raw, CorpusFiles(root), CONFIG, reading, domain="novels")


def near_skipped(result: SplitResult) -> int:
    return sum(number for name, number in result.skipped.items() if name.startswith("near_duplicates_"))


def test_near_duplicates_are_dropped_and_counted_by_split_in_later_text_too(tmp_path: Path) -> None:
    originals = [novel(seed) for seed in range(80)]
    first = prepare(tmp_path / "a", write_lines(tmp_path / "1.txt", [*originals, changed(originals[0], 1)]))
    assert near_skipped(first) == 1
    assert first.manifest.documents == 80
    assert first.manifest.revisions[0].near_threshold == 0.8
    later = [*[changed(words, 1, 5) for words in originals[:40]], *[novel(seed) for seed in range(100, 110)]]
    second = prepare(tmp_path / "a", write_lines(tmp_path / "2.txt", later))
    assert near_skipped(second) > 30
    assert second.manifest.documents == 80 + 50 - near_skipped(second)


def test_text_that_was_not_searched_is_reported(tmp_path: Path) -> None:
    prepare(tmp_path / "a", write_lines(tmp_path / "1.txt", [novel(seed) for seed in range(50)]), reading=ReadConfig())
    result = prepare(tmp_path / "a", write_lines(tmp_path / "2.txt", [changed(novel(1), 1), novel(200)]))
    assert result.skipped == {"earlier_documents_not_searched_for_near_duplicates": 50}


def test_only_a_corpus_with_the_setting_has_it_in_its_fingerprint(tmp_path: Path) -> None:
    raw = write_lines(tmp_path / "1.txt", [novel(seed) for seed in range(50)])
    exact = prepare(tmp_path / "exact", raw, reading=ReadConfig(deduplicate=True)).manifest
    near = prepare(tmp_path / "near", raw).manifest
    assert exact.fingerprint != near.fingerprint
    assert not any("near" in name for name in [*exact.to_json()["revisions"][0], *ReadConfig().to_json()])
    assert [file.sha256 for file in exact.files.values()] == [file.sha256 for file in near.files.values()]


def test_a_killed_preparation_continues_with_what_it_has_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    originals = [novel(seed) for seed in range(60)]
    first = write_lines(tmp_path / "1.txt", originals)
    second = write_lines(tmp_path / "2.txt", [changed(words, 1) for words in originals])
    prepare(tmp_path / "whole", first, second)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("charlm.text.corpus.revision.CHECKPOINT_BYTES", 1)
    with pytest.raises(KeyboardInterrupt):
        split_corpus([first, second], CorpusFiles(tmp_path / "killed"), CONFIG, NEAR, domain="novels", on_progress=stop)
    prepare(tmp_path / "killed", first, second)
    assert content(CorpusFiles(tmp_path / "killed")) == content(CorpusFiles(tmp_path / "whole"))


def test_given_held_out_text_stays_as_it_is(tmp_path: Path) -> None:
    held_out = [novel(1), changed(novel(1), 1), novel(2)]
    given = write_lines(tmp_path / "valid.txt", held_out)
    raw = write_lines(tmp_path / "raw.txt", [changed(novel(2), 1), *[novel(seed) for seed in range(10, 60)]])
    reading = ReadConfig(deduplicate=True, near_threshold=0.8, valid_text=(given,))
    result = prepare(tmp_path / "a", raw, reading=reading)
    assert (tmp_path / "a" / "valid.txt").read_bytes() == (tmp_path / "valid.txt").read_bytes()
    assert near_skipped(result) == 1


def test_the_doctor_finds_held_out_documents_with_a_near_copy_in_the_train_text(tmp_path: Path) -> None:
    train = write_lines(tmp_path / "train.txt", [novel(seed) for seed in range(20)])
    test = write_lines(tmp_path / "test.txt", [changed(novel(3), 1), novel(30), novel(4)])
    report = examine([test, train], near_threshold=0.8)
    assert report.near is not None
    assert (report.near.documents, report.near.leaks) == (2, {"test": 2})
    assert report.leaks == {"test": 1}
    assert any("with a near copy in the train file: 2" in line for line in report.to_text())
    assert examine([test, train]).near is None


def test_flags_of_the_command_line() -> None:
    from flows.cli.context import near_threshold
    from flows.cli.options import with_default_values

    assert with_default_values(["a", "--deduplicate", "near"]) == ["a", "--deduplicate", "near"]
    assert with_default_values(["--deduplicate", "--name", "x"]) == ["--deduplicate=exact", "--name", "x"]
    assert with_default_values(["a", "--deduplicate"]) == ["a", "--deduplicate=exact"]
    assert [near_threshold(mode, None) for mode in (None, "exact", "near")] == [None, None, 0.8]
    for wrong in [("all", None), ("exact", 0.9), (None, 0.9)]:
        with pytest.raises(ConfigError):
            near_threshold(*wrong)
