"""The one process that trains: `python -m charlm.trainers.run CONFIG.json [--resume]`.

Reads  CONFIG.json    a run.json, or a plain RunConfig as JSON; paths in it are relative to its folder
Writes runs/RUN/      everything a run leaves

Ends with exit code 0 when the training is finished, 2 with one line for a user's mistake, 130 or 143 after a checkpoint
when it was interrupted. It ends with its parent, and holds an exclusive lock on the run folder. With `num_processes` in
the configuration it starts as many of itself, as `torchrun -m charlm.trainers.run CONFIG.json` does.
"""

import argparse
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import torch

from charlm.artifacts import CorpusFiles, RunFiles, exclusive_lock, read_json, remove_temporaries
from charlm.config import RunConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import CharLMError, ConfigError, CorpusError, PeerLostError, RunError, TrainingInterruptedError
from charlm.models.language_model import LanguageModel, load_language_models
from charlm.text.manifest import load_manifest
from charlm.trainers.curves import TrainingCurve
from charlm.trainers.engine import StopSignal, TrainingEngine, TrainingResult
from charlm.trainers.guards import clear_resource_errors
from charlm.trainers.launcher import USER_MISTAKE, launch
from charlm.trainers.manifest import RunManifest, create_run, mark
from charlm.trainers.observer import Observer, RewindableFile, open_run_files
from charlm.trainers.optimization import spare_compiler
from charlm.trainers.parent import end_with_parent
from charlm.trainers.team import Team, is_launched, join_team
from charlm.trainers.text_corpus import TextCorpus, choose_shards, side_by_side


def run_training(
    files: RunFiles,
    *,
    resume: bool,
    stop: StopSignal,
    observers: tuple[Observer, ...] = (),
    team: Team = Team(),  # noqa: B008
) -> TrainingResult:
    """Train what run.json in `files` describes, keeping its state there true; done by the first process of a team.

    Raises RunError when another process trains this run, TrainingInterruptedError when `stop` asked for it.
    """
    with exclusive_lock(files.lock, busy=f"{files.root} is being trained by another process"):
        remove_temporaries(files.root)
        manifest = RunManifest.load(files)
        if manifest.state == "finished":
            raise RunError(f"{files.root} is finished; start another run")
        mark(files, "running", libraries=_libraries())
        run_files = open_run_files(files)
        try:
            engine = _build_engine(files, team, stop, (*run_files, TrainingCurve(files), *observers))
            result = engine.train(resume=resume and files.checkpoint.is_file())
        except TrainingInterruptedError:
            mark(files, "interrupted")
            raise
        except BaseException:
            mark(files, "failed")
            raise
        finally:
            for file in run_files:
                if isinstance(file, RewindableFile):
                    file.close()
        mark(files, "finished", result=result.to_json())
        return result


def follow_training(files: RunFiles, *, resume: bool, stop: StopSignal, team: Team) -> None:
    """Help the first process of the team to train, without writing anything."""
    _build_engine(files, team, stop, ()).follow(resume=resume and files.checkpoint.is_file())


def _build_engine(files: RunFiles, team: Team, stop: StopSignal, observers: tuple[Observer, ...]) -> TrainingEngine:
    # What the corpus lacks is encoded by the first process, while the others wait.
    with team.lead_first():
        manifest = RunManifest.load(files)
        config = manifest.resolved_config(files)
        if team.size != config.num_processes:
            raise ConfigError(f"{files.root} is to be trained by num_processes={config.num_processes}, not {team.size}")
        with clear_resource_errors(files.root, config.device):
            device = _find_device(config.device, team)
            torch.set_num_threads(max(1, (config.num_threads or os.cpu_count() or 1) // team.size))
            torch.manual_seed(config.training.seed)
            model = _build_model(config)
            if model.dictionary.fingerprint != manifest.dictionary["fingerprint"]:
                raise RunError(
                    f"the dictionary of {config.corpus_dir} has changed since {files.root} was made; start a new run"
                )
            corpus = TextCorpus(
                config.corpus_dir,
                model.dictionary,
                model.is_forward_lm,
                random_case_flip=config.training.random_case_flip,
                shuffle=config.training.shuffle_lines,
                shard_groups=shard_groups(config),
            )
            return TrainingEngine(
                model.to(device), corpus, config.training, files, observers=observers, stop=stop, team=team
            )


def shard_groups(config: RunConfig) -> list[list[str]] | None:
    """Which train shards are read together; None where each is read by itself, as Flair does."""
    corpus, training = CorpusFiles(Path(config.corpus_dir)), config.training
    if not corpus.manifest.is_file():
        return None
    manifest = load_manifest(corpus)
    if training.old_share is not None:
        return side_by_side(
            choose_shards(
                manifest, old_share=training.old_share, seed=training.seed, known_revision=config.known_revision
            )
        )
    if manifest.revision == 1 or training.validations is None:
        return None
    return side_by_side([file for revision in manifest.revisions for file in revision.train_files])


def _build_model(config: RunConfig) -> LanguageModel:
    is_forward = config.direction == "forward"
    if config.initial_model is None:
        return LanguageModel.from_config(config.training, run_dictionary(config), is_forward_lm=is_forward)
    models = load_language_models(config.initial_model)
    if config.direction not in models:
        raise RunError(f"{config.initial_model} has no {config.direction} model to continue, only {', '.join(models)}")
    return models[config.direction]


def run_dictionary(config: RunConfig) -> Dictionary:
    """The dictionary that a run encodes its corpus with: the initial model's, or the corpus's own."""
    if config.initial_model is not None:
        return next(iter(load_language_models(config.initial_model).values())).dictionary
    corpus = CorpusFiles(Path(config.corpus_dir))
    if not corpus.dictionary.is_file():
        raise CorpusError(f"{corpus.root} has no dictionary; prepare it first")
    return Dictionary.load_from_file(corpus.dictionary)


def _find_device(name: str, team: Team) -> torch.device:
    """The device called `name`; each process of a team has a GPU of its own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device is auto, cpu or cuda:0, got {name!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={name} was asked for, but torch finds no GPU here")
    if device.type == "cuda" and team.size > 1:
        if team.local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"num_processes={team.size} needs a GPU for each process, torch finds {torch.cuda.device_count()}; "
                "lower it, or set device=cpu"
            )
        device = torch.device("cuda", team.local_rank)
        torch.cuda.set_device(device)
    return device


def _libraries() -> dict[str, str]:
    packages = ("charlm", "torch", "numpy", "pyarrow", "safetensors")
    return {"python": sys.version.split()[0], **{package: version(package) for package in packages}}


# ---- the process ---------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Run one training; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m charlm.trainers.run", description="Train one language model.")
    parser.add_argument("config", type=Path, metavar="CONFIG.json", help="a run.json, or a RunConfig as JSON")
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint where there is one")
    options = parser.parse_args(arguments)
    try:
        if not is_launched():
            run = _open_run(options.config)
            num_processes = RunManifest.load(run).config.num_processes
            if num_processes > 1:
                return launch(run, resume=options.resume, num_processes=num_processes)
        return _train(options.config, resume=options.resume)
    except PeerLostError:  # the process that was lost ends with the exit code that says why
        return 0
    except CharLMError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_MISTAKE


def _train(config_path: Path, *, resume: bool) -> int:
    """Train in this process, alone or as one of those that were launched together; the exit code."""
    stop = StopSignal()
    signals: list[int] = []

    def request_stop(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        stop.request(signal.Signals(number).name)

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)
    end_with_parent(lambda: stop.request("the parent process has ended"))
    spare_compiler()
    with join_team() as team:
        with team.lead_first():
            run = _open_run(config_path)
        try:
            if not team.is_lead:
                follow_training(run, resume=resume, stop=stop, team=team)
                return 0
            result = run_training(run, resume=resume, stop=stop, team=team)
        except TrainingInterruptedError as interruption:
            if not team.is_lead:
                return 0
            print(f"stopped after a checkpoint ({interruption}); --resume goes on from there", file=sys.stderr)
            return 128 + (signals[0] if signals else signal.SIGTERM)
    print(
        f"{result.reason}: test {result.test.bits_per_character:.4f} bits per character, "
        f"{result.characters_per_second:,.0f} characters/s",
        file=sys.stderr,
    )
    return 0


def _open_run(config_path: Path) -> RunFiles:
    """The run that a configuration file describes; its folder is made when the file is a plain RunConfig."""
    if not config_path.is_file():
        raise ConfigError(f"no configuration at {config_path}")
    values = read_json(config_path)
    if not isinstance(values, dict):
        raise ConfigError(f"{config_path} is no configuration: it holds no JSON object")
    if "format" in values:
        return RunFiles(config_path.resolve().parent)
    try:
        config = RunConfig.from_json(values).resolved(config_path.resolve().parent)
    except TypeError as error:  # a missing field
        raise ConfigError(f"{config_path} is no run configuration: {error}") from error
    files = RunFiles(Path(config.run_dir))
    if files.manifest.is_file():
        return files
    return create_run(config, run_dictionary(config))


if __name__ == "__main__":
    exit_code = main()
    if is_launched():  # threads of torch.distributed can crash an interpreter that takes itself down
        sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)
