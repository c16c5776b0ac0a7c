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

from charlm.artifacts import RunFiles
from charlm.config import RunConfig
from charlm.distributed.group import Team, is_launched, join_team
from charlm.distributed.watchdog import end_with_parent
from charlm.errors import CharLMError, ConfigError, PeerLostError, RunError, TrainingInterruptedError
from charlm.storage.atomic import read_json, remove_temporaries
from charlm.storage.locks import exclusive_lock
from charlm.trainers.lm.build import build_engine, run_dictionary
from charlm.trainers.lm.curves import TrainingCurve
from charlm.trainers.lm.engine import StopSignal, TrainingResult
from charlm.trainers.lm.launcher import USER_MISTAKE, launch
from charlm.trainers.lm.manifest import RunManifest, create_run, mark
from charlm.trainers.lm.optimization import spare_compiler
from charlm.trainers.observer import Observer, RewindableFile, open_run_files


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
            engine = build_engine(files, team, stop, (*run_files, TrainingCurve(files), *observers))
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
    build_engine(files, team, stop, ()).follow(resume=resume and files.checkpoint.is_file())


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
    values = read_json(config_path, remedy="write it again", error=ConfigError)
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
