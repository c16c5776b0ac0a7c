"""The options that several commands share, each with its name and help in one place."""

from pathlib import Path
from typing import Annotated

import typer

Raw = Annotated[
    list[str],
    typer.Argument(metavar="RAW...", help="Text: a file, folder, glob, fsspec address, or hf:NAME[:SPLIT[:COLUMN]]."),
]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="best-lm.pt, a run folder, a bundle folder, or models:/NAME@champion.")
]
CorpusName = Annotated[str, typer.Option("--name", help="Name of the corpus, and of the registered model.")]

WorkspaceDir = Annotated[
    Path, typer.Option("--workspace", envvar="CHARLM_WORKSPACE", help="Folder that holds everything a run leaves.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout, and nothing else.")]

# None stands for: what the corpus was first prepared with, or the default of a new corpus.
Document = Annotated[str | None, typer.Option(help="A document: line, paragraph, file or auto (the default).")]
UnitOption = Annotated[str | None, typer.Option("--unit", help="What the model predicts: char (the default) or byte.")]
ShardSize = Annotated[str | None, typer.Option(help="A train shard is closed at this size; 50MB by default.")]
ValidShare = Annotated[float | None, typer.Option(help="Share of documents held out for validation; 0.02 by default.")]
TestShare = Annotated[float | None, typer.Option(help="Share of documents held out for testing; 0.02 by default.")]
Coverage = Annotated[float | None, typer.Option(help="Share of text that the dictionary covers; 0.9999 by default.")]
Domain = Annotated[str | None, typer.Option(help="Domain of this text; the corpus name by default.")]
Deduplicate = Annotated[bool, typer.Option("--deduplicate", help="Drop documents that the corpus already holds.")]
BadBytesOption = Annotated[
    str, typer.Option("--bad-bytes", help="What to do about bytes that are not UTF-8: strict, replace or skip.")
]

TextColumn = Annotated[
    str | None, typer.Option(help="Field of JSON lines, or column of a table, that holds the text; text by default.")
]

DirectionOption = Annotated[str, typer.Option("--direction", help="forward, backward or both.")]
Recipe = Annotated[str, typer.Option("--recipe", help="Named settings of the training.")]
Recipes = Annotated[list[str], typer.Option("--recipe", help="Named settings; repeat it and the best is registered.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe (repeatable).")
]
MaxMinutes = Annotated[float | None, typer.Option(help="Budget in minutes of training, for each direction.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the newest unfinished run of these settings.")]
NoRegister = Annotated[bool, typer.Option("--no-register", help="Log to MLflow, but register no model.")]
