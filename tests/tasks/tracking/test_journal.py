"""Following a journal that grows, is cut back, and grows again."""

import json
from pathlib import Path

from tasks.tracking.journal import JournalReader


def line(step: int, text: str = "") -> str:
    return json.dumps({"event": "train", "step": step, "text": text}) + "\n"


def steps(reader: JournalReader) -> list[int]:
    return [event["step"] for event in reader.new_events()]


def test_a_journal_that_does_not_exist_yet_has_no_events(tmp_path: Path) -> None:
    assert JournalReader(tmp_path / "journal.jsonl").new_events() == []


def test_each_line_is_given_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    reader = JournalReader(path)
    path.write_text(line(1) + line(2)[:10])
    assert steps(reader) == [1]
    path.write_text(line(1) + line(2))
    assert steps(reader) == [2]
    assert steps(reader) == []


def test_a_journal_cut_back_to_a_checkpoint_is_read_again_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    reader = JournalReader(path)
    path.write_text(line(1) + line(2) + line(3))
    assert steps(reader) == [1, 2, 3]
    path.write_text(line(1))
    assert steps(reader) == [1]


def test_a_cut_is_seen_although_the_journal_has_grown_past_its_old_end(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    reader = JournalReader(path)
    path.write_text(line(1) + line(2))
    assert steps(reader) == [1, 2]
    path.write_text(line(1) + line(2, text="redone, and longer") + line(3))
    assert steps(reader) == [1, 2, 3]


def test_line_separators_inside_a_sample_do_not_split_an_event(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(
        json.dumps({"event": "validation", "step": 7, "sample": "a\u2028b\x85c"}, ensure_ascii=False) + "\n"
    )
    (event,) = JournalReader(path).new_events()
    assert event["sample"] == "a\u2028b\x85c"
