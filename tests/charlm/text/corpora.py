"""Small corpora for tests: made of numbered lines, split with small shards."""

from pathlib import Path
from typing import Any

from charlm.artifacts import CorpusFiles
from charlm.config import ReadConfig, SplitConfig
from charlm.text.corpus.splitting import SplitResult, split_corpus

CONFIG: dict[str, Any] = {"shard_size": 3000, "valid_share": 0.1, "test_share": 0.1, "document": "line"}


def lines(start: int, stop: int) -> list[str]:
    return [f"document {number}: Grüße an die Welt, мир, 世界\n" for number in range(start, stop)]


def write(path: Path, documents: list[str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(documents).encode())
    return str(path)


def split(corpus: CorpusFiles, *raw: str, **changes: Any) -> SplitResult:
    options = {name: changes.pop(name) for name in ("domain", "on_progress") if name in changes}
    reading = ReadConfig(**{name: changes.pop(name) for name in ("bad_bytes", "deduplicate") if name in changes})
    return split_corpus(raw, corpus, SplitConfig(**CONFIG | changes), reading, **options)


def content(corpus: CorpusFiles) -> dict[str, bytes]:
    """Every file of a corpus but its lock, by name."""
    files = [path for path in corpus.root.rglob("*") if path.is_file() and path != corpus.lock]
    return {path.relative_to(corpus.root).as_posix(): path.read_bytes() for path in files}
