"""Texts are filtered by their scores: what is kept has the format of the text, and nothing is lost."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from charlm.artifacts import Workspace
from charlm.config import DictionaryConfig, ReadConfig, ScoreBounds, SplitConfig
from charlm.errors import CharLMError, ConfigError, CorpusError
from charlm.evaluation.rows import AloneScorer
from charlm.language_models.language_model import LanguageModel
from charlm.serialization.bundle import write_bundle
from charlm.trainers.lm.manifest import corpus_identity
from flows.cli.app import main
from tasks.corpus.filtering import ModelFilter, without_missing_champion
from tasks.corpus.prepare import prepare_corpus
from tasks.inference import filtering
from tasks.inference.filtering import filter_texts
from tasks.inference.scoring import score_texts
from tasks.registry import versions
from tests.conftest import write_sentences
from tests.toy import GOLDEN

pytestmark = pytest.mark.numeric

USUAL = ["I love Berlin", "the grass is green", "a much longer line of usual words that says nothing new"]
ODD = ["ÀÁÂÃ ÅÆÇ", "ʘǁǂ ǃ"]
LINES = [USUAL[0], ODD[0], USUAL[1], ODD[1], USUAL[2]]
BOUND = ScoreBounds(max_bits_per_byte=10.0)  # of untrained models; an unknown character costs 20 bits
NOWHERE = Workspace(Path("workspace"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(texts: list[str], output: str, **settings: Any) -> filtering.FilteredTexts:
    settings = {"bounds": BOUND} | settings
    return filter_texts(NOWHERE, str(GOLDEN / "forward.pt"), texts, Path(output), **settings)


def test_lines_go_to_one_of_two_files_and_are_counted(folder: Path) -> None:
    (folder / "text.txt").write_text("\n".join(LINES) + "\n\n")
    filtered = run(["text.txt"], "kept.txt", per="line", left_out=Path("odd.txt"))
    assert (folder / "kept.txt").read_text().split("\n") == [*USUAL, "", ""]  # the blank line is the last one's
    assert (folder / "odd.txt").read_text().splitlines() == ODD
    assert (filtered.kept, filtered.rows) == (3, 5)
    assert filtered.bytes - filtered.kept_bytes == len((folder / "odd.txt").read_bytes())
    assert sum(kept for kept, _ in filtered.histogram.values()) == 3
    assert all(len(line) <= 80 for line in filtered.lines())
    assert sorted(path.name for path in folder.iterdir()) == ["kept.txt", "odd.txt", "text.txt"]


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
def test_records_keep_all_their_fields_and_packing(suffix: str, folder: Path) -> None:
    records = [json.dumps({"id": number, "text": line}) for number, line in enumerate(LINES)]
    content = "\n".join([records[0], "", *records[1:], '{"text": " "}']).encode()
    name = f"records.jsonl{suffix}"
    (folder / name).write_bytes(gzip.compress(content) if suffix == ".gz" else content)
    if suffix in (".xz", ".zst"):
        (folder / name).rename(folder / "records.jsonl")
        name = "records.jsonl"
    filtered = run([name], f"kept.jsonl{suffix}", per="record")
    packed = (folder / f"kept.jsonl{suffix}").read_bytes()
    with pa.input_stream(f"kept.jsonl{suffix}", compression="gzip" if suffix == ".gz" else "detect") as stream:
        kept = packed if suffix == ".xz" else stream.read()
    if suffix == ".xz":
        import lzma

        kept = lzma.decompress(packed)
    assert [json.loads(line) for line in kept.splitlines()] == [json.loads(records[number]) for number in (0, 2, 4)]
    assert filtered.rows == 5  # the record without text has no score


def test_rows_of_a_table_keep_columns_types_and_metadata(folder: Path) -> None:
    table = pa.table({"id": pa.array(range(6), pa.int16()), "body": [*LINES, ""]}).replace_schema_metadata({"a": "b"})
    pq.write_table(table, "table.parquet", compression="zstd", row_group_size=2)
    run(["table.parquet"], "kept.parquet", left_out=Path("odd.parquet"), reading=ReadConfig(text_column="body"))
    kept = pq.read_table("kept.parquet")
    assert kept.schema.equals(table.schema, check_metadata=True)
    assert kept["id"].to_pylist() == [0, 2, 4]
    assert pq.read_table("odd.parquet")["id"].to_pylist() == [1, 3]
    assert pq.ParquetFile("kept.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_several_texts_go_to_a_folder(folder: Path) -> None:
    (folder / "texts" / "more").mkdir(parents=True)
    (folder / "texts" / "a.txt").write_text(f"{USUAL[0]}\n{ODD[0]}\n")
    (folder / "texts" / "more" / "b.txt").write_text(f"{ODD[1]}\n")
    run(["texts"], "kept")
    assert (folder / "kept" / "texts" / "a.txt").read_text() == f"{USUAL[0]}\n"
    assert (folder / "kept" / "texts" / "more" / "b.txt").read_text() == ""


def test_a_call_that_is_cut_short_leaves_nothing_half_and_is_continued(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "text.txt").write_text("\n".join(LINES))
    with monkeypatch.context() as patch:
        patch.setattr(filtering, "copy_rows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(["text.txt"], "kept.txt")
    assert not (folder / "kept.txt").exists()
    monkeypatch.setattr(AloneScorer, "score", lambda *_: pytest.fail("it has been scored before"))
    assert run(["text.txt"], "kept.txt").kept == 3


def test_percentiles_bound_what_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = Workspace(folder / "workspace")
    text = write_sentences(folder / "text.txt", num_lines=300)
    corpus = prepare_corpus(
        space,
        [str(text)],
        "tiny",
        SplitConfig(valid_share=0.1, test_share=0.2),
        DictionaryConfig(),
        reading=ReadConfig(),
    ).files
    states = {
        name: LanguageModel.load_language_model(GOLDEN / f"{name}.pt").language_model_state()
        for name in ("forward", "backward")
    }
    write_bundle(folder / "pair", states, {"corpus": corpus_identity(corpus)})
    arguments = ["filter", "pair", "text.txt", "--output", "kept.txt", "--per", "line", "--workspace", str(space.root)]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--min-percentile", "20", "--max-percentile", "60", "--json"])
    assert end.value.code == 0
    shown = json.loads(capsys.readouterr().out)
    score_texts(space, "pair", ["text.txt"], output=Path("scores.parquet"), per="line")
    percentiles = pq.read_table("scores.parquet")["percentile"].to_pylist()
    lines = text.read_text().splitlines()
    expected = [line for line, place in zip(lines, percentiles, strict=True) if 20 <= place <= 60]
    assert (folder / "kept.txt").read_text().splitlines() == expected
    assert 0 < shown["kept"] == len(expected) < shown["rows"] == 300
    with pytest.raises(SystemExit):
        main([*arguments, "--max-percentile", "50"])
    assert "kept " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("texts", "settings", "message"),
    [
        (["text.txt"], {"bounds": ScoreBounds()}, "a filter needs a bound"),
        (["text.txt"], {"bounds": ScoreBounds(max_percentile=50.0)}, "has no percentiles here"),
        (["text.txt"], {"left_out": Path("kept.txt")}, "would both go to"),
        (["text.txt"], {"output": "text.txt"}, "is one of the texts"),
        (["text.txt"], {"output": "kept.jsonl"}, "the format stays"),
        (["text.txt"], {"output": "folder"}, "is a folder"),
        (["text.txt", "same/text.txt"], {"output": "kept"}, "two texts would both be written"),
        (["records.jsonl"], {"per": "line", "output": "kept.jsonl"}, "which are kept whole"),
        (["latin.txt"], {}, "is not UTF-8"),
    ],
)
def test_what_cannot_be_filtered_is_refused_and_leaves_nothing(
    texts: list[str], settings: dict[str, Any], message: str, folder: Path
) -> None:
    for name in ("folder", "same"):
        (folder / name).mkdir()
    for name in ("text.txt", "same/text.txt"):
        (folder / name).write_text("\n".join(LINES))
    (folder / "records.jsonl").write_text('{"text": "a"}\n')
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    before = sorted(folder.rglob("*"))
    with pytest.raises(CharLMError, match=message):
        run(texts, settings.pop("output", "kept.txt"), **settings)
    assert sorted(folder.rglob("*")) == before


def test_bounds_stand_in_their_order() -> None:
    for values in (
        {"min_percentile": -1.0},
        {"max_percentile": 101.0},
        {"min_bits_per_byte": 2.0, "max_bits_per_byte": 1.0},
    ):
        with pytest.raises(ConfigError, match="in \\[0, "):
            ScoreBounds(**values)


# ---- on the way into a corpus --------------------------------------------------------------------------------------


def test_new_text_of_a_corpus_is_filtered_and_what_was_left_out_is_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = Workspace(folder / "workspace")
    arguments: tuple[Any, ...] = (
        "tiny",
        SplitConfig(document="line", valid_share=0.1, test_share=0.1),
        DictionaryConfig(),
    )
    first = write_sentences(folder / "first.txt", num_lines=200)
    before = prepare_corpus(space, [str(first)], *arguments, reading=ReadConfig())
    (folder / "new.txt").write_text("\n".join(LINES))
    reading = ReadConfig(max_bits_per_byte=10.0, filter_model=str(GOLDEN / "forward.pt"))
    after = prepare_corpus(space, [str(folder / "new.txt")], *arguments, reading=reading)
    assert after.manifest.documents == before.manifest.documents + 3
    left_out = [json.loads(line) for line in after.files.left_out(2).read_text().splitlines()]
    assert [record["text"] for record in left_out] == [f"{line}\n" for line in ODD]
    assert all(record["bits_per_byte"] > 10 for record in left_out)
    assert "documents left out by their bits per byte: 2" in capsys.readouterr().err
    assert after.manifest.revisions[1].skipped == {"documents left out by their bits per byte": 2}
    again = prepare_corpus(space, [str(folder / "new.txt")], *arguments, reading=reading)
    assert again.manifest.revision == 2  # the source is known
    (folder / "odd.txt").write_text("\n".join(ODD))
    nothing = prepare_corpus(space, [str(folder / "odd.txt")], *arguments, reading=reading)
    assert nothing.manifest.documents == after.manifest.documents
    assert len(nothing.files.left_out(3).read_text().splitlines()) == 2


def test_a_first_revision_that_is_left_out_as_a_whole_is_refused(folder: Path) -> None:
    (folder / "odd.txt").write_text("\n".join(ODD))
    reading = ReadConfig(max_bits_per_byte=10.0, filter_model=str(GOLDEN / "forward.pt"))
    with pytest.raises(CharLMError, match="the filter leaves out all documents"):
        prepare_corpus(Workspace(folder / "w"), ["odd.txt"], "tiny", None, None, reading=reading)


def test_a_retraining_without_a_champion_does_not_filter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading = ReadConfig(max_bits_per_byte=6.0)
    monkeypatch.setattr(versions, "find_champion", lambda name: None)
    assert without_missing_champion("tiny", reading) == ReadConfig()
    assert "tiny has no champion yet, so its text is not filtered" in capsys.readouterr().err
    named = ReadConfig(max_bits_per_byte=6.0, filter_model="best-lm.pt")
    assert without_missing_champion("tiny", named) == named
    monkeypatch.setattr(versions, "find_champion", lambda name: "models:/tiny/1")
    assert without_missing_champion("tiny", reading) == reading


@pytest.mark.parametrize(
    "settings", [{"min_bits_per_byte": 3.0, "max_bits_per_byte": 2.0}, {"filter_model": "best-lm.pt"}]
)
def test_settings_that_filter_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="bits_per_byte"):
        ReadConfig(**settings)


def test_a_model_without_bits_per_byte_filters_nothing() -> None:
    class Scorer:
        def score(self, documents: list[bytes]) -> Any:
            return type("Scores", (), {"bits_per_byte": torch.full((len(documents),), torch.nan).numpy()})

    scorer: Any = Scorer()
    with pytest.raises(CorpusError, match="its tokenizer loses text"):
        ModelFilter(model="m", scorers={"forward": scorer}, bounds=BOUND, identity="").bits_per_byte([b"a\n"])
