"""The texts that version 0.1 was recorded on: made from formulas, so that every machine has the same bytes."""

import json
from pathlib import Path

_SCRIPTS = {
    "latin": ("the", "quick", "brown", "fox", "jumps", "naïve", "größer", "Straße", "café", "e\u0301tude", "No.", "42"),
    "cyrillic": ("и", "в", "не", "слово", "язык", "модель", "текст", "ещё", "Москва", "чтение", "буква"),
    "chinese": ("我們", "文字", "語言", "模型", "讀", "書", "的", "學習", "一個", "漢字"),
    "emoji": ("😀", "👍🏽", "👩‍💻", "🇩🇪", "ok", "fine", "…", "“yes”", "no"),
}
_PARAGRAPHS = 60
_LINES = 3
_WORDS = 7


def write_texts(folder: Path) -> list[Path]:
    """One file per script: paragraphs, some with blank lines of their own, some twice; one file has CRLF, one is JSON.

    Latin holds a decomposed letter, and each file a rare character that no dictionary of 99.5 % has room for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {script: _paragraphs(words, seed) for seed, (script, words) in enumerate(_SCRIPTS.items(), 1)}
    return [
        _write(folder / "latin.txt", "\n\n".join(texts["latin"]) + "\n"),
        _write(folder / "cyrillic.txt", "\r\n\r\n".join(texts["cyrillic"]).replace("\n", "\r\n") + "\r\n"),
        _write(folder / "chinese.txt", "\n\n\n".join(texts["chinese"])),
        _write(folder / "emoji.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts["emoji"])),
    ]


def write_later_text(folder: Path) -> Path:
    """Text for a second revision: paragraphs of the first one, and new ones with Greek letters."""
    old = _paragraphs(_SCRIPTS["latin"], 1)[:5]
    new = _paragraphs(("λόγος", "γράμμα", "the", "word", "καὶ", "μῆνιν"), 9)
    return _write(folder / "later.txt", "\n\n".join(old + new) + "\n")


def write_sentences(folder: Path) -> Path:
    """Sentences to embed: one a line, one of them empty, one with characters that no dictionary knows."""
    lines = ["the quick größer fox .", "", "слово 文字 😀 e\u0301tude", "ᚠᚢᚦ λόγος\tx", "no"]
    return _write(folder / "sentences.txt", "\n".join(lines) + "\n")


def write_labels(folder: Path) -> Path:
    """Two columns: words, and whether they are of the Latin script, in files for train, dev and test."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = _numbers(5)
    for name, count in (("train.tsv", 40), ("dev.tsv", 8), ("test.tsv", 8)):
        lines = []
        for _ in range(count):
            for _ in range(5):
                script = ("latin", "cyrillic", "emoji")[next(draw) % 3]
                words = _SCRIPTS[script]
                lines.append(f"{words[next(draw) % len(words)]}\t{script.upper()}\n")
            lines.append("\n")
        _write(folder / name, "".join(lines))
    return folder


def _paragraphs(words: tuple[str, ...], seed: int) -> list[str]:
    draw = _numbers(seed)
    paragraphs = []
    for number in range(_PARAGRAPHS):
        lines = [" ".join(words[next(draw) % len(words)] for _ in range(_WORDS)) + "." for _ in range(_LINES)]
        if number % 20 == 0:
            lines[0] += chr(0x2190 + seed * 16 + number // 20)  # an arrow: rare
        paragraphs.append("\n".join(lines))
    return [*paragraphs, paragraphs[3]]


def _numbers(seed: int):  # type: ignore[no-untyped-def]
    """Numbers without end, from the linear congruence of the C standard's example."""
    state = seed
    while True:
        state = (state * 1_103_515_245 + 12_345) % 2**31
        yield state >> 16


def _write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path
