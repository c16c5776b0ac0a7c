"""The doctor says what a person wants to know of a text before preparing it."""

import json
from pathlib import Path

import pytest

from charlm.artifacts import CorpusFiles
from charlm.config import SplitConfig
from charlm.errors import ConfigError, SourceError
from charlm.text.corpus.splitting import split_corpus
from charlm.text.doctor import examine
from charlm.text.doctor_advice import suggest_shard_size
from charlm.text.doctor_report import DoctorReport
from charlm.text.sources.checking import BadByte

PROSE = "".join(f"Paragraph {number} begins here.\nIt has a second line.\n\n" for number in range(25_000))


PARAGRAPHS = PROSE.split("\n\n")[:-1]


def report_on(folder: Path, **files: str | bytes) -> DoctorReport:
    for name, text in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return examine([str(folder)])


def advice_on(folder: Path, **files: str | bytes) -> str:
    return "\n".join(report_on(folder, **files).advice)


def test_sound_prose_needs_no_mending(tmp_path: Path) -> None:
    report = report_on(tmp_path, book_txt=PROSE)
    assert report.advice == []
    assert (report.characters, report.bytes) == (len(PROSE), len(PROSE))
    assert (report.lines.number, report.lines.longest) == (75_000, len("Paragraph 24999 begins here."))
    assert report.documents.number == 25_000
    assert report.scripts == {"Latin": 1.0}
    assert report.settings == {"document": "paragraph", "coverage": 1.0, "shard_size": 100_000}
    assert report.to_text()[-1] == "- nothing to fix"


def test_lengths_are_summed_up_in_characters(tmp_path: Path) -> None:
    lengths = report_on(tmp_path, a_txt="ä" * 9 + "\n" + "b\n" * 98 + "c" * 50 + "\n").lines
    assert (lengths.number, lengths.mean, lengths.median, lengths.most, lengths.longest) == (100, 1.6, 1, 9, 50)


def test_scripts_are_shares_of_the_letters(tmp_path: Path) -> None:
    report = report_on(tmp_path, a_txt="abc где 漢字 12345!\n" * 10)
    assert report.scripts == {"Latin": 0.375, "Cyrillic": 0.375, "Han": 0.25}
    assert report.letters == round(8 / 14, 4)


def test_the_first_bad_byte_has_a_file_a_line_and_a_byte(tmp_path: Path) -> None:
    report = report_on(tmp_path, good_txt=PROSE, bad_txt=b"one\ncaf\xe9\nna\xefve\n")
    bad = next(source for source in report.sources if source.name.endswith("bad.txt"))
    assert (bad.encoding, bad.first_bad_byte) == ("not UTF-8", BadByte(2, 7, "0xe9"))
    assert "line 2, byte 7: 0xe9 is not UTF-8" in report.advice[0]
    assert report.settings["bad_bytes"] == "replace"
    assert report.replacement_characters == 0  # those that the doctor put in itself do not count


def test_sources_that_cannot_be_read_are_findings_not_errors(tmp_path: Path) -> None:
    report = report_on(tmp_path, good_txt=PROSE, image_png=b"\x89PNG\0\0\xff" * 100, records_jsonl='{"body": "x"}\n')
    problems = [source.problem for source in report.sources if source.problem]
    assert [source.encoding for source in report.sources].count("unreadable") == 2
    assert "is a binary file" in problems[0]
    assert "no text in 'text', it has fields body" in problems[1]


def test_nothing_readable_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a binary file"):
        report_on(tmp_path, image_png=b"\x89PNG\0\0\xff" * 100)
    with pytest.raises(SourceError, match="there is no file or folder"):
        examine([str(tmp_path / "missing")])


def test_odd_characters_are_named(tmp_path: Path) -> None:
    text = PROSE + "bell\a soft\u00adhyphen \ue000 twice \a � cafe\u0301\r\n"
    report = report_on(tmp_path, a_txt="\ufeff" + text)
    assert report.suspects == {"\\x07": 2, "\\r": 1, "\\xad": 1, "\\ue000": 1}
    assert (report.carriage_returns, report.replacement_characters) == (1, 1)
    advice = "\n".join(report.advice)
    for finding in ("byte order mark", "1 replacement characters", "1 carriage returns", "\\x07 2 times", "form NFC"):
        assert finding in advice
    assert report.settings["normalization"] == "NFC"


def test_duplicates_and_leaks_across_splits_are_counted(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "train_split_0001").write_text(
        PROSE + "".join(f"{paragraph}\n\n" for paragraph in PARAGRAPHS[:1000])
    )
    one, two, three = PARAGRAPHS[:3]
    report = report_on(tmp_path, valid_txt=f"{one}\n\n{two}\n\nnew\n\n", test_txt=f"{three}\n\nnews\n\n")
    assert report.leaks == {"valid": 2, "test": 1}
    assert report.duplicates == 1003
    assert report.settings["deduplicate"] is True
    assert "documents of the valid file that are in the train file too: 2;" in "\n".join(report.advice)


def test_of_a_prepared_corpus_only_the_text_is_looked_at_and_nothing_leaks(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(PROSE + PROSE.replace("Paragraph", "Section"))
    corpus = CorpusFiles(tmp_path / "corpora" / "prose")
    split_corpus([str(tmp_path / "a.txt")], corpus, SplitConfig(shard_size=500_000))
    report = examine([str(corpus.root)])
    assert [source.name for source in report.sources][-2:] == ["valid.txt", "test.txt"]
    assert all(source.problem is None for source in report.sources)
    assert report.leaks == {"valid": 0, "test": 0}


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("".join(f"token\tB-{number}\n" for number in range(9000)), "a table or annotated data"),
        ("".join(f"{number} 0.123 0.456\n" for number in range(9000)), "of the visible characters are letters"),
        (PROSE + "word " * 30_000 + "\n", "the longest line has 150,000 characters"),
        ("word\n" * 600, "3,000 characters are little"),
    ],
)
def test_text_that_will_not_train_well_is_pointed_out(text: str, finding: str, tmp_path: Path) -> None:
    assert finding in advice_on(tmp_path, a_txt=text)


def test_the_report_is_plain_json(tmp_path: Path) -> None:
    report = report_on(tmp_path, a_txt=PROSE)
    assert json.loads(json.dumps(report.to_json()))["documents"]["number"] == 25_000


@pytest.mark.parametrize(
    ("num_bytes", "size"),
    [(1_000, 100_000), (13_000_000, 600_000), (400_000_000, 20_000_000), (10**11, 50_000_000)],
)
def test_about_twenty_shards_are_suggested(num_bytes: int, size: int) -> None:
    assert suggest_shard_size(num_bytes) == size


def test_vocabularies_are_shown_for_words_with_what_they_leave_unknown(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat and the dog\nthe end\n")
    report = examine([str(tmp_path)], unit="word")
    assert report.words is not None
    assert (report.words.tokenizer, report.words.words, report.words.types) == ("rules", 9, 6)
    two = report.words.vocabularies[1]
    assert (two.min_count, two.size) == (2, 3)  # <unk>, the, and the end of a line
    assert (two.coverage, two.unk_rate) == (round(5 / 9, 4), round(6 / 9, 4))
    assert report.settings["unit"] == "word"
    assert "coverage" not in report.settings
    assert "words       9 by rules, 6 different" in report.to_text()
    assert json.loads(json.dumps(report.to_json()))["words"]["vocabularies"][0]["min_count"] == 1
    with pytest.raises(ConfigError, match="tokenizer is a setting of the unit word; the unit of this text is char"):
        examine([str(tmp_path)], tokenizer="rules")


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({}, "is for --unit word --tokenizer whitespace"),
        ({"unit": "word"}, "the tokenizer rules cuts it up"),
        ({"unit": "word", "tokenizer": "whitespace"}, "with the tokenizer whitespace it is a word that is not known"),
    ],
)
def test_literal_special_words_are_pointed_out(settings: dict[str, str], advice: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the <unk> cat and the <unk> dog\n" * 20)
    (line,) = [line for line in examine([str(tmp_path)], **settings).advice if "<unk>" in line]
    assert line.startswith("<unk> stands in the text 40 times: ")
    assert advice in line
