"""Texts with labelled spans as the annotation tool doccano exports them, under the names that they have in Flair.

Reads  train.jsonl …   `{"data": "George went home.", "label": [[0, 6, "PER"]], "metadata": [["page", 3]]}`

A span that ends inside a word takes the whole word, as in Flair; how many did is reported. JSONLSpanCorpus (spans.py)
takes that for an error.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from charlm.data.corpus import Corpus
from charlm.data.sentence import Sentence
from charlm.data.token_sequence import Tokenizer
from charlm.datasets.base import FlairDatapointDataset
from charlm.datasets.files import find_splits
from charlm.datasets.lines import ReadingRules
from charlm.datasets.spans import read_spans

if TYPE_CHECKING:
    from charlm.tokenization import Tokenizer as TokenizerObject

Files = Sequence[Path | str] | None


class JsonlDataset(FlairDatapointDataset[Sentence]):
    """The sentences of one file.

    Args:
        path_to_jsonl_file: the file.
        encoding: of the file.
        text_column_name, label_column_name, metadata_column_name: names of its fields; metadata may be missing.
        label_type: the layer that the labels get.
        use_tokenizer: see Sentence.

    Raises DatasetError with file and line where an object has no text, or a span is outside the text.
    """

    def __init__(
        self,
        path_to_jsonl_file: Path | str,
        encoding: str = "utf-8",
        text_column_name: str = "data",
        label_column_name: str = "label",
        metadata_column_name: str = "metadata",
        label_type: str = "ner",
        use_tokenizer: "bool | str | Tokenizer | TokenizerObject" = True,
    ) -> None:
        self.path_to_json_file = Path(path_to_jsonl_file)
        self.label_type = label_type
        super().__init__(
            read_spans(
                self.path_to_json_file,
                text_column_name,
                label_column_name,
                label_type,
                use_tokenizer=use_tokenizer,
                rules=ReadingRules(encoding=encoding),
                metadata_field=metadata_column_name,
                widen=True,
            )
        )

    @property
    def sentences(self) -> list[Sentence]:
        return list(self)


class MultiFileJsonlCorpus(Corpus):
    """A corpus from any number of files for each split.

    Args:
        train_files, test_files, dev_files: their paths.
        encoding, text_column_name, label_column_name, metadata_column_name: see JsonlDataset.
        label_type, use_tokenizer: see JsonlDataset.
        name, sample_missing_splits, random_seed: see Corpus.
    """

    def __init__(
        self,
        train_files: Files = None,
        test_files: Files = None,
        dev_files: Files = None,
        encoding: str = "utf-8",
        text_column_name: str = "data",
        label_column_name: str = "label",
        metadata_column_name: str = "metadata",
        label_type: str = "ner",
        use_tokenizer: "bool | str | Tokenizer | TokenizerObject" = True,
        *,
        name: str = "corpus",
        sample_missing_splits: bool | Literal["only_dev", "only_test"] = True,
        random_seed: int | None = 0,
    ) -> None:
        fields = (encoding, text_column_name, label_column_name, metadata_column_name, label_type, use_tokenizer)
        train, dev, test = (
            [sentence for file in files for sentence in JsonlDataset(file, *fields)] if files else None
            for files in (train_files, dev_files, test_files)
        )
        super().__init__(train, dev, test, name, sample_missing_splits, random_seed)


class JsonlCorpus(MultiFileJsonlCorpus):
    """A corpus from a file for each split.

    Args:
        data_folder: where the files are.
        train_file, test_file, dev_file: their names; without any, the names in the folder tell (see `find_splits`).
        autofind_splits: whether names are looked for in the folder.

    All other arguments are those of MultiFileJsonlCorpus.
    """

    def __init__(
        self,
        data_folder: Path | str,
        train_file: Path | str | None = None,
        test_file: Path | str | None = None,
        dev_file: Path | str | None = None,
        encoding: str = "utf-8",
        text_column_name: str = "data",
        label_column_name: str = "label",
        metadata_column_name: str = "metadata",
        label_type: str = "ner",
        autofind_splits: bool = True,
        name: str | None = None,
        use_tokenizer: "bool | str | Tokenizer | TokenizerObject" = True,
        *,
        sample_missing_splits: bool | Literal["only_dev", "only_test"] = True,
        random_seed: int | None = 0,
    ) -> None:
        files = find_splits(data_folder, train_file, dev_file, test_file, look=autofind_splits)
        super().__init__(
            [files.train] if files.train else None,
            [files.test] if files.test else None,
            [files.dev] if files.dev else None,
            encoding,
            text_column_name,
            label_column_name,
            metadata_column_name,
            label_type,
            use_tokenizer,
            name=name or str(data_folder),
            sample_missing_splits=sample_missing_splits,
            random_seed=random_seed,
        )
