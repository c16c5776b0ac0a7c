"""The options of `prepare` and `run` about raw text and corpus."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from flows.cli import options


@dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """The options of `prepare` and `run` about raw text and corpus, under the names of the settings they change.

    None means the setting that the corpus was first prepared with, or the default of a new one.
    """

    document: Annotated[
        str | None,
        typer.Option(help="A document: line, paragraph, file or auto (the default).", rich_help_panel=options.CORPUS),
    ] = None
    unit: Annotated[
        str | None,
        typer.Option(
            help="What the model predicts: char (the default), byte or word.", rich_help_panel=options.DICTIONARY
        ),
    ] = None
    tokenizer: options.Tokenizer = None
    sentences: Annotated[
        str | None,
        typer.Option(
            help="What ends words like a line: none (the default) or punkt, at each sentence.",
            rich_help_panel=options.DICTIONARY,
        ),
    ] = None
    lowercase: Annotated[
        bool | None,
        typer.Option(
            "--lowercase/--keep-case",
            help="Words in lower case, or as they are (the default).",
            rich_help_panel=options.DICTIONARY,
        ),
    ] = None
    normalization: Annotated[
        str | None,
        typer.Option(help="Unicode form: none (the default; of words NFC), NFC or NFKC.", rich_help_panel=options.TEXT),
    ] = None
    normalize_newlines: Annotated[
        bool | None,
        typer.Option(
            "--normalize-newlines/--keep-newlines",
            help=r"Turn \\r\\n into \\n (the default), or leave it.",
            rich_help_panel=options.TEXT,
        ),
    ] = None
    shard_size: Annotated[
        str | None,
        typer.Option(help="A train shard is closed at this size; 50MB by default.", rich_help_panel=options.CORPUS),
    ] = None
    valid_share: Annotated[
        float | None,
        typer.Option(
            help="Share of documents held out for validation; 0.02 by default.", rich_help_panel=options.CORPUS
        ),
    ] = None
    test_share: Annotated[
        float | None,
        typer.Option(help="Share of documents held out for testing; 0.02 by default.", rich_help_panel=options.CORPUS),
    ] = None
    directions: Annotated[
        str | None,
        typer.Option(
            help="What a champion needs: both (the default; of words forward), or one direction.",
            rich_help_panel=options.CORPUS,
        ),
    ] = None
    valid_text: Annotated[
        list[str] | None,
        typer.Option(
            "--valid-text",
            metavar="RAW",
            help="The validation text, instead of a share (repeatable).",
            rich_help_panel=options.CORPUS,
        ),
    ] = None
    test_text: Annotated[
        list[str] | None,
        typer.Option(
            "--test-text", metavar="RAW", help="The test text, likewise (repeatable).", rich_help_panel=options.CORPUS
        ),
    ] = None
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Share of text that the dictionary covers; 0.9999 by default, of words 1.",
            rich_help_panel=options.DICTIONARY,
        ),
    ] = None
    max_size: Annotated[
        int | None,
        typer.Option(
            help="Maximum ids in the dictionary; no limit by default, of words 100,000.",
            rich_help_panel=options.DICTIONARY,
        ),
    ] = None
    min_count: Annotated[
        int | None,
        typer.Option(
            help="Minimum occurrences of what gets an id; 1 by default, of words 3.", rich_help_panel=options.DICTIONARY
        ),
    ] = None
    reserved: Annotated[
        list[str] | None,
        typer.Option(
            "--reserve",
            metavar="ITEM",
            help="What gets an id whether it occurs or not (repeatable).",
            rich_help_panel=options.DICTIONARY,
        ),
    ] = None
    extend_dictionary: Annotated[
        bool,
        typer.Option(
            "--extend-dictionary", help="Append new characters to the dictionary.", rich_help_panel=options.DICTIONARY
        ),
    ] = False
    domain: Annotated[
        str | None,
        typer.Option(help="Domain of this text; the corpus name by default.", rich_help_panel=options.CORPUS),
    ] = None
    licence: options.Licence = None
    languages: options.Languages = None
    deduplicate: Annotated[
        str | None,
        typer.Option(
            "--deduplicate",
            metavar="MODE",
            help="exact: drop documents that the corpus holds; near: those that are nearly one of them too.",
            rich_help_panel=options.DUPLICATES,
        ),
    ] = None
    near_threshold: options.NearThreshold = None
    min_bits_per_byte: options.MinBitsPerByte = None
    max_bits_per_byte: options.MaxBitsPerByte = None
    filter_model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The model that needs these bits; by default the champion of the corpus.",
            rich_help_panel=options.KEPT,
        ),
    ] = None
    encoding: options.TextEncoding = None
    bad_bytes: Annotated[
        str | None,
        typer.Option(
            help="Bytes that are not UTF-8: strict (an error, the default), replace or skip.",
            rich_help_panel=options.TEXT,
        ),
    ] = None
    text_column: options.TextColumn = None
    max_document_bytes: Annotated[
        str | None,
        typer.Option(
            "--max-document-size",
            help="A longer document or line is an error; 32MB by default.",
            rich_help_panel=options.TEXT,
        ),
    ] = None
    max_ratio: Annotated[
        float | None,
        typer.Option(
            help="Maximum text per compressed byte, against bombs; 200 by default.", rich_help_panel=options.TEXT
        ),
    ] = None
    max_unpacked_bytes: Annotated[
        str | None,
        typer.Option(
            "--max-unpacked-size",
            help="Maximum text of one compressed file; 10,000 GB by default.",
            rich_help_panel=options.TEXT,
        ),
    ] = None

    def given(self) -> dict[str, Any]:
        """The options that were given."""
        values = {field.name: (getattr(self, field.name), field.default) for field in dataclasses.fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}


def with_corpus_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command`, whose parameter `corpus: CorpusOptions` is an option for each of its fields on the command line."""
    return spread(command, CorpusOptions)


def spread(command: Callable[..., None], kind: type) -> Callable[..., None]:
    """`command`, whose parameter of the dataclass `kind` is an option for each of its fields on the command line."""
    signature = inspect.signature(command)
    (grouped,) = [name for name, parameter in signature.parameters.items() if parameter.annotation is kind]

    @functools.wraps(command)
    def collected(**values: Any) -> None:
        given = {field.name: values.pop(field.name) for field in dataclasses.fields(kind)}
        command(**values, **{grouped: kind(**given)})

    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name == grouped:
            parameters += inspect.signature(kind).parameters.values()
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    collected.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    return collected
