"""Score over time, beside Flair's own LanguageModelTrainer: same corpus, same core, same seconds.

Flair trains for `--minutes` in fp32 and with use_amp; its weights are saved all along and scored afterwards with our
scorer, so no time of Flair's goes into validation. Ours is trained anew for each budget, because the learning rate is
planned to end with it; the shortest budget that reaches Flair's last score is the time to that score. Each side has one
core; with `--cores 2` two trainings run beside each other, each on its own.

Usage: python benchmarks/race.py --flair-python .venv-flair/bin/python [--corpus FOLDER] [--minutes 5]
Writes docs/benchmarks/race.md and race.png, or without AVX-512 race-avx2.md and race-avx2.png
"""

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from training import amp_note, page, prepare_documentation, run_flair, train

OUR_BUDGETS = (1 / 20, 1 / 15, 1 / 10, 1 / 5, 2 / 5, 1)
"""Our budgets as shares of Flair's minutes."""
OUR_SETTINGS = {
    256: {"hidden_size": 256, "mini_batch_size": 16, "learning_rate": 8e-3, "min_steps": 2000},
    512: {"hidden_size": 512, "mini_batch_size": 32, "learning_rate": 5e-3, "min_steps": 2000},
}


@dataclass
class Race:
    """Curves of one hidden size and seed: (seconds, bits per character on the test text)."""

    hidden: int
    seed: int
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def last(self, name: str) -> float:
        return self.curves[name][-1][1]

    def seconds_to(self, score: float) -> float:
        """Our shortest budget that ended at or below `score`; infinite when none did."""
        return min((seconds for seconds, bits in self.curves["charlm"] if bits <= score), default=float("inf"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flair-python", required=True)
    parser.add_argument("--corpus", type=Path, help="a prepared corpus; the interpreter's documentation by default")
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 512], choices=list(OUR_SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--cores", type=int, default=min(2, len(os.sched_getaffinity(0))))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = options.corpus or prepare_documentation(folder)
        sides = ("Flair fp32", "charlm", "Flair use_amp") if amp_note() is None else ("Flair fp32", "charlm")
        races = {(hidden, seed): Race(hidden, seed) for hidden in options.hidden for seed in options.seeds}
        with ThreadPoolExecutor(options.cores) as pool:  # sides alternate, so that all of them meet the same hours
            jobs = [
                (race, side, pool.submit(run_side, side, race, corpus, folder, options))
                for race in races.values()
                for side in sides
            ]
            for race, side, job in jobs:
                race.curves[side] = job.result()
                print(f"hidden {race.hidden} seed {race.seed} {side}: {race.last(side):.3f}", file=sys.stderr)
    table, picture = page("race", ".md"), page("race", ".png")
    table.write_text(render(list(races.values()), options.minutes, picture.name))
    plot(list(races.values()), picture)
    print(table.read_text())


def run_side(
    side: str, race: Race, corpus: Path, folder: Path, options: argparse.Namespace
) -> list[tuple[float, float]]:
    seconds = 60 * options.minutes
    if side == "charlm":
        return [run_ours(race, corpus, folder, share * options.minutes) for share in OUR_BUDGETS]
    output = folder / f"{side.replace(' ', '-')}-{race.hidden}-{race.seed}"
    run_flair(
        options.flair_python, corpus, output, hidden=race.hidden, seconds=seconds, amp=side == "Flair use_amp",
        snapshot=seconds / 10, seed=race.seed,
    )  # fmt: skip
    snapshots = json.loads((output / "result.json").read_text())["snapshots"]
    return [(snapshot["seconds"], score(output / snapshot["file"], corpus)) for snapshot in snapshots]


def run_ours(race: Race, corpus: Path, folder: Path, minutes: float) -> tuple[float, float]:
    settings = {**OUR_SETTINGS[race.hidden], "max_minutes": minutes, "validations": 1, "seed": race.seed}
    events = train(corpus, folder / f"ours-{race.hidden}-{race.seed}-{minutes:g}", settings)
    test = next(event for event in events if event["event"] == "test")["test"]
    end = next(event for event in events if event["event"] == "end")
    return end["seconds"], test["bits_per_character"]


def score(model_path: Path, corpus: Path) -> float:
    """Test bits per character of a model file, by our scorer."""
    from charlm.evaluation.language_model import score_file
    from charlm.language_models.language_model import LanguageModel

    return score_file(LanguageModel.load_language_model(model_path), corpus / "test.txt").bits_per_character


def render(races: list[Race], minutes: float, picture: str) -> str:
    lines = [
        "# Race to a score",
        "",
        f"`benchmarks/race.py`: bits per character on the test text after {minutes:g} minutes on one core, and "
        "the time that charlm takes to the score that Flair 0.15.1 (fp32) has at the end.",
        "",
        "| hidden | seed | Flair fp32 | Flair use_amp | charlm | below fp32 | below use_amp | time to it | faster |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for race in races:
        fp32, ours = race.last("Flair fp32"), race.last("charlm")
        amp = race.last("Flair use_amp") if "Flair use_amp" in race.curves else None
        amp_cells = ("–", "–") if amp is None else (f"{amp:.3f}", f"{amp - ours:.2f}")
        seconds = race.seconds_to(fp32)
        lines.append(
            f"| {race.hidden} | {race.seed} | {fp32:.3f} | {amp_cells[0]} | {ours:.3f} | {fp32 - ours:.2f} "
            f"| {amp_cells[1]} | {seconds:.0f} s | {60 * minutes / seconds:.0f}x |"
        )
    if note := amp_note():
        lines += ["", note]
    lines += ["", f"![bits per character over time]({picture})"]
    return "\n".join(lines) + "\n"


def plot(races: list[Race], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    hidden_sizes = sorted({race.hidden for race in races})
    figure, axes = pyplot.subplots(1, len(hidden_sizes), figsize=(6 * len(hidden_sizes), 4), squeeze=False)
    colours = {"Flair fp32": "#9aa0a6", "Flair use_amp": "#5f6368", "charlm": "#1a73e8"}
    for axis, hidden in zip(axes[0], hidden_sizes, strict=True):
        for race in races:
            for side, curve in race.curves.items() if race.hidden == hidden else ():
                label = side if race.seed == races[0].seed else None
                axis.plot(*zip(*curve, strict=True), marker="o", markersize=3, color=colours[side], label=label)
        axis.set(title=f"hidden {hidden}, one core", xlabel="seconds of training", ylabel="bits per character (test)")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
