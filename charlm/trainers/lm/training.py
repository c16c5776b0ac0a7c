"""Train the run in a folder, and keep the state in its run.json true."""

import sys
from importlib.metadata import version

import charlm
from charlm.artifacts import RunFiles
from charlm.distributed.group import ProcessGroup
from charlm.errors import RunError, TrainingInterruptedError
from charlm.storage.atomic import remove_temporaries
from charlm.storage.locks import exclusive_lock
from charlm.trainers.events import Event
from charlm.trainers.lm.build import build_engine
from charlm.trainers.lm.curves import TrainingCurve
from charlm.trainers.lm.engine import StopSignal
from charlm.trainers.lm.manifest import RunManifest, mark
from charlm.trainers.lm.reporting import TrainingResult
from charlm.trainers.observer import Observer, open_run_files


def run_training(
    files: RunFiles,
    *,
    resume: bool,
    stop: StopSignal,
    observers: tuple[Observer[Event], ...] = (),
    group: ProcessGroup = ProcessGroup(),  # noqa: B008
) -> TrainingResult:
    """Train the run that run.json in `files` describes, and update its state; for the main process of a group.

    Raises RunError when another process trains this run, TrainingInterruptedError when `stop` was requested.
    """
    with exclusive_lock(files.lock, busy=f"{files.root} is being trained by another process"):
        remove_temporaries(files.root)
        manifest = RunManifest.load(files)
        if manifest.state == "finished":
            raise RunError(f"{files.root} is finished; start another run")
        mark(files, "running", libraries=_libraries())
        run_files = open_run_files(files)
        try:
            engine = build_engine(files, group, stop, (*run_files, TrainingCurve(files), *observers))
            result = engine.train(resume=_has_checkpoint(files, resume, group))
        except TrainingInterruptedError:
            mark(files, "interrupted")
            raise
        except BaseException:
            mark(files, "failed")
            raise
        finally:
            for file in run_files:
                file.close()
        mark(files, "finished", result=result.to_json())
        return result


def follow_training(files: RunFiles, *, resume: bool, stop: StopSignal, group: ProcessGroup) -> None:
    """Train along with the main process of a group, without writing anything."""
    engine = build_engine(files, group, stop, ())
    engine.follow(resume=_has_checkpoint(files, resume, group))


def _has_checkpoint(files: RunFiles, resume: bool, group: ProcessGroup) -> bool:
    """True in all processes when the main process is to resume from a checkpoint, and has one."""
    return bool(group.broadcast(float(resume and files.checkpoint.is_file())))


def _libraries() -> dict[str, str]:
    packages = ("torch", "numpy", "pyarrow", "safetensors")
    ours = {"python": sys.version.split()[0], "charlm": charlm.__version__}
    return ours | {package: version(package) for package in packages}
