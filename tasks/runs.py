"""A finished training of one direction, and its scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from charlm.artifacts import RunFiles
from charlm.evaluation.scores import ScoreValues
from charlm.trainers.lm.manifest import RunManifest


class TrainedRunJson(TypedDict):
    """What `--json` shows of a run."""

    run_dir: str
    best_lm: str
    valid: ScoreValues
    test: ScoreValues
    characters_per_second: float


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished run and its scores."""

    direction: str
    run_dir: Path
    recipe: str
    valid: ScoreValues
    test: ScoreValues
    characters_per_second: float
    reused: bool = False
    """True when it was finished before."""

    @classmethod
    def load(cls, run: RunFiles, *, reused: bool) -> "TrainedRun":
        manifest = RunManifest.load(run)
        result = manifest.result
        return cls(
            direction=manifest.config.direction,
            run_dir=run.root,
            recipe=manifest.config.training.recipe,
            valid=result["valid"],
            test=result["test"],
            characters_per_second=result["characters_per_second"],
            reused=reused,
        )

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.run_dir)

    def to_json(self) -> TrainedRunJson:
        return {
            "run_dir": str(self.run_dir),
            "best_lm": str(self.files.best_lm),
            "valid": self.valid,
            "test": self.test,
            "characters_per_second": self.characters_per_second,
        }


def scores_of(runs: Mapping[str, TrainedRun]) -> dict[str, dict[str, ScoreValues]]:
    """The scores of runs by direction and split."""
    return {direction: {"valid": run.valid, "test": run.test} for direction, run in runs.items()}
