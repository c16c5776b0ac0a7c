"""Small labelled data in the formats of the published sets, made of a few words, the same for the same seed."""

import random
from pathlib import Path

_WORDS = {
    "PRON": ["I", "you", "we", "they"],
    "VERB": ["love", "see", "visit", "leave"],
    "DET": ["the", "a", "this"],
    "NOUN": ["city", "house", "river", "tower"],
    "PROPN": ["Berlin", "Paris", "Anna", "Rome"],
    "PUNCT": [".", "!"],
}
_TREEBANK_TAGS = {"PRON": "PRP", "VERB": "VBP", "DET": "DT", "NOUN": "NN", "PROPN": "NNP", "PUNCT": "."}
_PATTERNS = [("PRON", "VERB", "PROPN", "PUNCT"), ("PRON", "VERB", "DET", "NOUN", "PUNCT"), ("PROPN", "VERB", "PROPN")]
_QUESTIONS = {"HUM": "Who built the {} ?", "LOC": "Where is the {} ?", "NUM": "How many {} are there ?"}

Tagged = list[tuple[str, str]]


def tagged_sentences(count: int, seed: int = 1) -> list[Tagged]:
    """Words with their universal parts of speech."""
    draw = random.Random(seed)
    return [[(draw.choice(_WORDS[tag]), tag) for tag in draw.choice(_PATTERNS)] for _ in range(count)]


def write_treebank(folder: Path, name: str, counts: tuple[int, int, int] = (60, 10, 10)) -> Path:
    """CoNLL-U files `NAME-ud-train.conllu` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (split, count) in enumerate(zip(("train", "dev", "test"), counts, strict=True)):
        lines = []
        for sentence in tagged_sentences(count, seed):
            for number, (word, tag) in enumerate(sentence, 1):
                columns = [str(number), word, word.lower(), tag, _TREEBANK_TAGS[tag], "_", "0", "dep", "_", "_"]
                lines.append("\t".join(columns))
            lines.append("")
        (folder / f"{name}-ud-{split}.conllu").write_text("\n".join(lines) + "\n")
    return folder


def write_entities(
    folder: Path,
    counts: tuple[int, int, int] = (60, 10, 10),
    names: tuple[str, str, str] = ("train.tsv", "dev.tsv", "test.tsv"),
) -> Path:
    """Two columns: words, and places and persons in BIO."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate(zip(names, counts, strict=True)):
        lines = []
        for sentence in tagged_sentences(count, seed):
            for word, tag in sentence:
                label = "O" if tag != "PROPN" else "B-person" if word == "Anna" else "B-location"
                lines.append(f"{word}\t{label}")
            lines.append("")
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def write_questions(folder: Path, counts: tuple[int, int] = (60, 12)) -> Path:
    """The two files of TREC, as published."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(4)
    for name, count in zip(("train_5500.label", "TREC_10.label"), counts, strict=True):
        kinds = [draw.choice(list(_QUESTIONS)) for _ in range(count)]
        lines = [f"{kind}:other {_QUESTIONS[kind].format(draw.choice(_WORDS['NOUN']))}\n" for kind in kinds]
        (folder / name).write_text("".join(lines))
    return folder


def write_vectors(path: Path, width: int = 12) -> Path:
    """A vector for each word, as GloVe writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = random.Random(2)
    words = sorted(
        {word.lower() for words in _WORDS.values() for word in words} | {"who", "where", "how", "many", "is"}
    )
    path.write_text("".join(f"{word} {' '.join(f'{draw.gauss(0, 1):.4f}' for _ in range(width))}\n" for word in words))
    return path


_NAMES = ("Holmes", "Watson", "Mr. Lestrade", "Irene")
_VERBS = ("saw", "followed", "asked", "answered", "<unk>")
_THINGS = ("the door", "a letter", "the window", "an old hat", "London")


def write_novel(path: Path, choose: random.Random, *, num_lines: int, blank_lines: bool) -> None:
    """A tokenised text that a language model learns quickly: who did what, in sentences of five to eight words."""
    lines = []
    for number in range(num_lines):
        words = f'{choose.choice(_NAMES)} {choose.choice(_VERBS)} {choose.choice(_THINGS)} , " and <unk> it .'
        lines.append(f" {words} \n" if blank_lines else f"{words} \n")
        if blank_lines and number % 10 == 9:
            lines.append(" \n")
    path.write_text("".join(lines), encoding="utf-8")
