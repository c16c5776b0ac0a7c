"""Commands that use language models: `evaluate`, `score`, `filter`, `generate`, `embed`, `static`, `export`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.errors import ConfigError
from flows.cli import options
from flows.cli.context import DEFAULT_WORKSPACE, check_utf8, open_session, show
from flows.cli.options import example
from tasks.terminal import print_result, score_table, write_stdout

if TYPE_CHECKING:
    from charlm.config import CacheConfig

_CONTEXT = "Cache and n-gram model"  # a panel of the help of `score`


@example("charlm evaluate models:/books@champion other-book.txt")
@options.with_device
@options.with_held_out_limit
def evaluate(
    model: options.Model,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT", help="UTF-8 text files, scored together.")],
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Score a model on text files."""
    space = open_session(workspace).workspace
    from tasks.inference.evaluation import evaluate_model

    scores = evaluate_model(space, model, texts)
    if as_json:
        show(scores, as_json)
    else:
        print_result(score_table({direction: {"text": values} for direction, values in scores.items()}))


@example("charlm score models:/books@champion other.txt --output scores.parquet")
@options.with_device
def score(
    model: options.Model,
    texts: options.Texts,
    output: Annotated[
        Path | None, typer.Option(help="Parquet file to write, with a row for each document, line or record.")
    ] = None,
    per: options.Per = "document",
    with_nats: Annotated[
        bool, typer.Option("--with-nats", help="Add the columns units, forward_nats and backward_nats, for rescoring.")
    ] = False,
    text_column: options.TextColumn = None,
    encoding: options.TextEncoding = None,
    cache: Annotated[
        int | None,
        typer.Option(
            metavar="STATES",
            help="Remember so many states: what followed them is likelier.",
            rich_help_panel=_CONTEXT,
        ),
    ] = None,
    cache_weight: Annotated[
        float | None, typer.Option(help="Share of the cache; 0.1279 by default.", rich_help_panel=_CONTEXT)
    ] = None,
    cache_sharpness: Annotated[
        float | None,
        typer.Option(help="How much more the most similar states count; 0.662 by default.", rich_help_panel=_CONTEXT),
    ] = None,
    mix: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Mix with the n-gram model of this corpus of the workspace.",
            rich_help_panel=_CONTEXT,
        ),
    ] = None,
    mix_weight: Annotated[
        float | None,
        typer.Option(
            help="Share of the n-gram model; by default what suits the validation text best.",
            rich_help_panel=_CONTEXT,
        ),
    ] = None,
    order: Annotated[int, typer.Option(help="Units of the longest n-grams.", rich_help_panel=_CONTEXT)] = 5,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Score each document, line or record by itself; or in context, with a cache and an n-gram model."""
    from charlm.config import BaselineConfig, ReadConfig

    cached = cache_settings(cache, cache_weight, cache_sharpness)
    ngrams = BaselineConfig(order=order)
    reading = ReadConfig(text_column=text_column, encoding=encoding or "utf-8")
    space = open_session(workspace).workspace
    from tasks.inference.scoring import Mixing, score_texts

    mixing = Mixing(cache=cached, corpus=mix, weight=mix_weight, baseline=ngrams)
    scored = score_texts(
        space, model, texts, output=output, per=per, reading=reading, mixing=mixing, with_nats=with_nats
    )
    if as_json:
        show(scored.to_json(), as_json)
    else:
        print_result(score_table({name: {"text": values} for name, values in scored.to_json()["scores"].items()}))


@example("charlm filter models:/books@champion other.txt --output kept.txt --max-percentile 95")
@options.with_device
def filter(
    model: options.Model,
    texts: options.Texts,
    output: Annotated[Path, typer.Option(help="File for what is kept, of the same format; of several texts a folder.")],
    left_out: Annotated[Path | None, typer.Option(help="The same for what is left out.")] = None,
    min_percentile: Annotated[
        float | None,
        typer.Option(
            help="Keep what costs at least as much as so many percent of the held-out documents.",
            rich_help_panel=options.KEPT,
        ),
    ] = None,
    max_percentile: Annotated[
        float | None,
        typer.Option(help="Keep what costs no more than so many percent.", rich_help_panel=options.KEPT),
    ] = None,
    min_bits_per_byte: options.MinBitsPerByte = None,
    max_bits_per_byte: options.MaxBitsPerByte = None,
    per: Annotated[
        str,
        typer.Option(
            help="What is kept or left out as a whole: document (paragraph, line or record by content), line, record"
            " or text.",
            rich_help_panel=options.KEPT,
        ),
    ] = "document",
    text_column: options.TextColumn = None,
    encoding: options.TextEncoding = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Keep the documents, lines or records whose scores lie between two bounds; the format stays."""
    from charlm.config import ReadConfig, ScoreBounds

    bounds = ScoreBounds(
        min_percentile=min_percentile,
        max_percentile=max_percentile,
        min_bits_per_byte=min_bits_per_byte,
        max_bits_per_byte=max_bits_per_byte,
    )
    reading = ReadConfig(text_column=text_column, encoding=encoding or "utf-8")
    space = open_session(workspace).workspace
    from tasks.inference.filtering import filter_texts

    filtered = filter_texts(space, model, texts, output, bounds=bounds, left_out=left_out, per=per, reading=reading)
    if as_json:
        show(filtered.to_json(), as_json)
    else:
        write_stdout("\n".join(filtered.lines()))


def cache_settings(window: int | None, weight: float | None, sharpness: float | None) -> "CacheConfig | None":
    """The cache of the command line; raises ConfigError for its settings without it."""
    given = {"weight": weight, "sharpness": sharpness}
    values = {name: value for name, value in given.items() if value is not None}
    if window is None:
        if values:
            raise ConfigError(f"--cache-{next(iter(values))} is of a cache: give --cache STATES too, such as 2000")
        return None
    from charlm.config import CacheConfig

    return CacheConfig.from_json({"window": window, **values})


@example("charlm neighbours models:/books@champion light other.txt")
@options.with_device
def neighbours(
    model: options.Model,
    word: Annotated[str, typer.Argument(metavar="WORD", help="A word of the text, as it is written there.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A UTF-8 text file, whose words are compared.")],
    num: Annotated[int, typer.Option(help="Neighbours to show of each context.")] = 5,
    contexts: Annotated[int, typer.Option(help="Contexts of the word to show, those that differ most.")] = 2,
    other_words: Annotated[bool, typer.Option("--other-words", help="Leave out the word itself.")] = False,
    max_sentences: Annotated[
        int,
        typer.Option(help="Lines of the text to embed, evenly from all of it; 2,000 by default.", show_default=False),
    ] = 2_000,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Show what is nearest to a word in different contexts."""
    space = open_session(workspace).workspace
    from tasks.inference.neighbours import find_neighbours

    found = find_neighbours(
        space,
        model,
        word,
        text,
        num=num,
        num_contexts=contexts,
        max_sentences=max_sentences,
        only_others=other_words,
    )
    if as_json:
        show(found.to_json(), as_json)
    else:
        print_result("\n".join(found.lines()))


@example("charlm generate models:/books@champion --prefix 'It was '")
@options.with_device
def generate(
    model: options.Model,
    prefix: Annotated[
        str, typer.Option(help="Text to continue; the start of a line by default.", show_default=False)
    ] = "\n",
    characters: Annotated[int, typer.Option(help="Number of characters, bytes or words to sample.")] = 500,
    temperature: Annotated[float, typer.Option(help="Below 1 is more conservative, above 1 more random.")] = 0.7,
    top_k: Annotated[
        int | None, typer.Option(help="Sample from so many most likely ones; from all by default.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sample; random by default.")] = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Sample text from a model; a backward model writes the text before the prefix."""
    prefix = os.fsencode(prefix).decode(errors="surrogateescape")  # UTF-8, whatever the locale
    check_utf8("the prefix", prefix)
    space = open_session(workspace).workspace
    from tasks.inference.generation import generate_text

    texts = generate_text(
        space, model, prefix=prefix, num_characters=characters, temperature=temperature, top_k=top_k, seed=seed
    )
    if as_json:
        show(texts, as_json)
    else:
        write_stdout("\n\n".join(f"--- {direction}\n{text}" for direction, text in texts.items()))


@example("charlm embed models:/books@champion sentences.txt --output vectors.parquet")
@options.with_device
def embed(
    model: options.Model,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="One sentence per line, CoNLL columns, or Parquet.")],
    output: Annotated[Path, typer.Option(help="Parquet file to write.")],
    text_format: Annotated[
        str | None, typer.Option("--format", help="text, conll or parquet; by name and content by default.")
    ] = None,
    pooling: Annotated[
        str, typer.Option(help="token: a row per token; mean or first_last: a row per sentence.")
    ] = "token",
    dtype: Annotated[str, typer.Option(help="float32, or float16 for half the size.")] = "float32",
    precision: Annotated[str, typer.Option(help="fp32; bf16 or int8 are faster, cosine above 0.999.")] = "fp32",
    encoding: options.Encoding = "utf-8",
    tokenizer: options.WordsOf = None,
    skip_header: options.SkipHeader = False,
    no_header: options.NoHeader = False,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Write the embeddings of every token of a text to a Parquet file; an interrupted one is continued."""
    space = open_session(workspace).workspace
    from tasks.inference.embedding import embed_text

    embedded = embed_text(
        space,
        model,
        text,
        output,
        text_format=text_format,
        pooling=pooling,
        dtype=dtype,
        precision=precision,
        encoding=encoding,
        tokenizer=tokenizer,
        header=options.header_of(skip_header=skip_header, no_header=no_header),
    )
    show(embedded.to_json(), as_json)


@example("charlm static models:/books@champion --words 20000 --output words.vec")
@options.with_device
def static(
    model: options.Model,
    output: Annotated[Path, typer.Option(help="File to write, in the text format of word2vec.")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Text that the words and contexts are from; the model's by default."),
    ] = None,
    words: Annotated[
        int, typer.Option(help="Number of words, the most frequent ones; 20,000 by default.", show_default=False)
    ] = 20_000,
    max_characters: Annotated[
        int,
        typer.Option(help="Characters of the text that are read at most; 20,000,000 by default.", show_default=False),
    ] = 20_000_000,
    tokenizer: options.WordsOf = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Write a static vector for each frequent word: the mean of its vectors over its contexts."""
    space = open_session(workspace).workspace
    from tasks.inference.static import write_static_vectors

    written = write_static_vectors(
        space,
        model,
        output,
        texts or (),
        num_words=words,
        max_characters=max_characters,
        tokenizer=tokenizer,
    )
    show(written.to_json(), as_json)


@example("charlm export models:/books@champion --format flair --output shared/books")
def export(
    model: options.Model,
    output: Annotated[Path, typer.Option(help="Folder to write to; it must be empty, or not exist yet.")],
    model_format: Annotated[str, typer.Option("--format", help="flair, safetensors or onnx.")] = "flair",
    card: Annotated[
        bool, typer.Option("--card", help="Write the model card too.", rich_help_panel=options.CARD)
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="ONNX with weights of 8 bits, of an LSTM: faster.")] = False,
    held_out: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Text to measure the loss on; by default the validation text of its corpus."),
    ] = None,
    probe: Annotated[
        str | None, typer.Option(metavar="DATA", help="Labelled data: measure the loss of a small tagger too.")
    ] = None,
    licence: options.Licence = None,
    language: options.Languages = None,
    workspace: options.WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Export a model: files that Flair opens, safetensors with JSON, or ONNX, which is read without torch."""
    from charlm.config import CorpusMetadata

    metadata = CorpusMetadata(licence=licence, languages=tuple(language or ()))
    space = open_session(workspace).workspace
    from tasks.inference.export import OnnxSettings, export_model

    opened = None
    if probe is not None:
        from tasks.promotion.probe import Probe

        opened = Probe.open(probe)
    exported = export_model(
        space,
        model,
        output,
        model_format=model_format,
        with_card=card,
        metadata=metadata,
        onnx=OnnxSettings(int8=int8, held_out=held_out, probe=opened),
    )
    if as_json:
        show(exported.to_json(), as_json)
    else:
        write_stdout("\n".join(map(str, exported.files)))
