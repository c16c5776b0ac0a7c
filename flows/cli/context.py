"""What the commands share: the session that they open, the settings that their options give, and how results are shown.

stdout carries results (with --json: one object, nothing else), stderr everything else. Heavy libraries, and settings,
are imported in the functions that need them, so that help and `prepare` start at once.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

from charlm.errors import ConfigError
from flows.cli.corpus_options import CorpusOptions
from tasks.terminal import write_stdout

if TYPE_CHECKING:
    from charlm.artifacts import Workspace
    from charlm.config import CorpusMetadata, DictionaryConfig, GateConfig, JsonConfig, ReadConfig, SplitConfig
    from tasks.services.session import Session

DEFAULT_WORKSPACE = Path("workspace")
UTF8_REMEDY = f"change it, or, if it is and Python takes it for {sys.getfilesystemencoding()}, set PYTHONUTF8=1"
_C = TypeVar("_C", bound="JsonConfig")


def open_session(root: Path) -> "Session":
    """The session of the workspace at `root`, with Prefect and MLflow inside it and silent on the terminal."""
    check_utf8("the name of the workspace", str(root.absolute()))  # Arrow and the databases need it
    from tasks.services.environment import keep_libraries_quiet
    from tasks.services.session import Session

    keep_libraries_quiet()
    return Session.open(root)


def check_utf8(what: str, text: str) -> None:
    """Raise ConfigError for an argument that is not UTF-8, or that Python has decoded as something else."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{what} {text!r} is not UTF-8; {UTF8_REMEDY}") from error


def start_prefect(session: "Session", raw: list[str]) -> None:
    """Get ready for a flow; missing raw text is an error before the wait for Prefect."""
    from tasks.corpus.prepare import check_sources
    from tasks.terminal import terminal

    check_sources(raw)
    with terminal.step("start Prefect"):
        session.start_prefect()


def gate_settings(probe: str | None, settings: list[str] | None = None) -> "GateConfig":
    """The settings of the promotion gate; a probe that cannot be read is an error before any work."""
    from charlm.config import GateConfig, with_settings

    config = with_settings(GateConfig(probe=probe), settings or [])
    if probe is not None:
        from tasks.promotion.probe import Probe

        Probe.open(probe)
    return config


class CorpusSettings(TypedDict):
    """How to prepare a corpus, as arguments of the command's function and of the flow."""

    split: "SplitConfig"
    dictionary: "DictionaryConfig"
    reading: "ReadConfig"
    domain: str | None
    extend_dictionary: bool
    metadata: "CorpusMetadata"


def corpus_settings(workspace: "Workspace", name: str, corpus: CorpusOptions) -> CorpusSettings:
    """The given options; for the others the settings that the corpus has, or the defaults of a new one."""
    from charlm.config import CorpusMetadata, ReadConfig, parse_size
    from tasks.corpus.prepare import corpus_settings as known_settings

    given = corpus.given()
    for size in ("shard_size", "max_document_bytes", "max_unpacked_bytes"):
        if size in given:
            given[size] = parse_size(str(given[size]))
    for several in ("valid_text", "test_text", "languages", "reserved"):
        if several in given:
            given[several] = tuple(given[several])
    given["near_threshold"] = near_threshold(corpus.deduplicate, corpus.near_threshold)
    given["deduplicate"] = corpus.deduplicate is not None
    split, dictionary = known_settings(workspace, name, given.get("unit"))
    return {
        "split": _changed(split, given),
        "dictionary": _changed(dictionary, given),
        "reading": _changed(ReadConfig(), given),
        "domain": corpus.domain,
        "extend_dictionary": corpus.extend_dictionary,
        "metadata": _changed(CorpusMetadata(), given),
    }


def near_threshold(mode: str | None, threshold: float | None) -> float | None:
    """What near-duplicates have in common with `--deduplicate near`; raises ConfigError for another mode."""
    if mode not in (None, "exact", "near"):
        raise ConfigError(f"--deduplicate is exact or near, got {mode!r}")
    if mode != "near":
        if threshold is not None:
            raise ConfigError("--near-threshold needs --deduplicate near, or doctor --near")
        return None
    from charlm.config import NEAR_THRESHOLD

    return NEAR_THRESHOLD if threshold is None else threshold


def _changed(config: _C, given: Mapping[str, object]) -> _C:
    """`config` with those of its fields that were given."""
    return replace(config, **{field.name: given[field.name] for field in fields(config) if field.name in given})


def show(result: Mapping[str, object], as_json: bool) -> None:
    """Write a result to stdout: JSON, or a line per key."""
    if as_json:
        write_stdout(json.dumps(result, ensure_ascii=False))
        return
    width = max(len(key) for key in result)
    for key, value in result.items():
        write_stdout(f"{key.replace('_', ' '):<{width}}  {_shown(value)}")


def _shown(value: object) -> object:
    """A value for people: numbers with separators, and four digits behind the first ones that count."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(_shown(one)) for one in value) or "none"
    return "none" if value is None else value
