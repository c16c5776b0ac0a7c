"""Text files as lists of words, in memory.

Reads  text files; WikiText-2 and WikiText-103 from a folder, or from CHARLM_CACHE (nothing is downloaded)
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar, overload

from charlm.data.cache import cache_dir
from charlm.errors import ConfigError, CorpusError, SourceError
from charlm.word.data.splitting import line_splitter, whitespace_splitter

Sample = TypeVar("Sample", str, list[str])
Splitter = Callable[[str], Iterable[str]]
PathLike = str | os.PathLike[str]


class CorpusDataset(Sequence[str | list[str]]):
    """The samples of text files: lists of words, or with `flatten` the words of all samples one after the other.

    Args:
        filename: a file, or several.
        encoding: of the files.
        flatten: one list of words instead of a list for each sample.
        skip_empty: leave out samples without text; otherwise an empty one has `bos` and `eos` alone.
        sample_splitter: from the whole text of a file to its samples: lines by default, or `nlp.data.sentences`.
        tokenizer: from a sample to its words; None leaves samples as strings.
        bos, eos: words put before and after the words of each sample.
    """

    def __init__(
        self,
        filename: PathLike | Sequence[PathLike],
        encoding: str = "utf-8",
        flatten: bool = False,
        skip_empty: bool = True,
        sample_splitter: Splitter = line_splitter,
        tokenizer: Splitter | None = whitespace_splitter,
        bos: str | None = None,
        eos: str | None = None,
    ) -> None:
        if tokenizer is None and (flatten or bos is not None or eos is not None):
            raise ConfigError("flatten, bos and eos are for samples that are split into words: give a tokenizer")
        files = [filename] if isinstance(filename, str | os.PathLike) else filename
        self._samples: list[str | list[str]] = []
        for file in files:
            stripped = (sample.strip() for sample in sample_splitter(_read(Path(file), encoding)))
            for sample in (sample for sample in stripped if sample or not skip_empty):
                if tokenizer is None:
                    self._samples.append(sample)
                    continue
                words = [*([] if bos is None else [bos]), *tokenizer(sample), *([] if eos is None else [eos])]
                self._samples.extend(words) if flatten else self._samples.append(words)

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[str | list[str]]:
        return iter(self._samples)

    @overload
    def __getitem__(self, index: int) -> str | list[str]: ...

    @overload
    def __getitem__(self, index: slice) -> list[str | list[str]]: ...

    def __getitem__(self, index: int | slice) -> str | list[str] | list[str | list[str]]:
        return self._samples[index]


class _WikiText(CorpusDataset):
    """A segment (`train`, `val` or `test`) of a tokenised corpus, one list of words.

    Published perplexities count blank lines too, an `<eos>` each: `skip_empty=False`.
    """

    folder: ClassVar[str]

    def __init__(
        self,
        segment: str = "train",
        skip_empty: bool = True,
        bos: str | None = None,
        eos: str | None = "<eos>",
        root: PathLike | None = None,
    ) -> None:
        super().__init__(self._find(segment, root), flatten=True, skip_empty=skip_empty, bos=bos, eos=eos)

    @classmethod
    def _find(cls, segment: str, root: PathLike | None) -> Path:
        names = {"train": "train", "val": "valid", "valid": "valid", "test": "test"}
        if segment not in names:
            raise ConfigError(f"segment is train, val or test, got {segment!r:.60}")
        folder = Path(root) if root is not None else cache_dir() / "datasets" / cls.folder
        files = [folder / f"wiki.{names[segment]}.tokens", folder / f"{names[segment]}.txt"]
        for file in files:
            if file.is_file():
                return file
        raise SourceError(
            f"no {segment} segment of {cls.__name__} in {folder}: put {files[0].name} or {files[1].name} there, "
            f"or name its folder with root= (nothing is downloaded)"
        )


class WikiText2(_WikiText):
    """WikiText-2 (Merity et al. 2017, "Pointer Sentinel Mixture Models"): two million words of Wikipedia."""

    folder = "wikitext-2"


class WikiText103(_WikiText):
    """WikiText-103, its larger version."""

    folder = "wikitext-103"


def _read(file: Path, encoding: str) -> str:
    try:
        return file.read_text(encoding=encoding)
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}") from error
    except (UnicodeDecodeError, LookupError) as error:
        raise CorpusError(f"{file} is not text in {encoding}: {error}") from error
