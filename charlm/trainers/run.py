"""The process that trains: `python -m charlm.trainers.run CONFIG.json [--resume]`.

Reads  CONFIG.json    a run.json, or a plain RunConfig as JSON; paths in it are relative to its folder
Writes runs/RUN/      everything that a run leaves

Exit codes: 0 when the training is finished, 2 with one line for a user's mistake, 130 or 143 after a checkpoint when it
was interrupted, 3 or 4 when another process of the training has ended or does not answer. The process ends with its
parent, and holds an exclusive lock on the run folder. With `num_processes` in the configuration it starts that many
processes, or with `--num-nodes` its share of them, as `torchrun -m charlm.trainers.run CONFIG.json` does.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from charlm.artifacts import RunFiles
from charlm.config import NodesConfig, RunConfig
from charlm.distributed.group import is_launched, process_group
from charlm.distributed.heartbeat import PEER_LOST, PEER_SILENT
from charlm.distributed.watchdog import end_with_parent
from charlm.errors import (
    CharLMError,
    ConfigError,
    PeerFailedError,
    PeerLostError,
    PeerSilentError,
    TrainingInterruptedError,
)
from charlm.nn.compat import avoid_compiler
from charlm.storage.atomic import read_json
from charlm.trainers.lm.build import run_dictionary
from charlm.trainers.lm.engine import StopSignal
from charlm.trainers.lm.launcher import LAUNCH_PREFIX, USER_MISTAKE, launch
from charlm.trainers.lm.manifest import RunManifest, create_run
from charlm.trainers.lm.training import follow_training, run_training


def main(arguments: list[str] | None = None) -> int:
    """Run one training; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m charlm.trainers.run", description="Train one language model.")
    parser.add_argument("config", type=Path, metavar="CONFIG.json", help="a run.json, or a RunConfig as JSON")
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint if there is one")
    parser.add_argument("--num-nodes", type=int, default=1, help="machines that train together")
    parser.add_argument("--node-rank", type=int, default=0, help="number of this machine among them, from 0")
    parser.add_argument("--rendezvous", metavar="HOST:PORT", help="where they meet, on machine 0")
    options = parser.parse_args(arguments)
    try:
        if not is_launched():
            nodes = NodesConfig(num_nodes=options.num_nodes, node_rank=options.node_rank, rendezvous=options.rendezvous)
            run = _open_run(options.config)
            if RunManifest.load(run).config.num_processes > 1:
                return launch(run, resume=options.resume, nodes=nodes)
            if nodes.num_nodes > 1:
                raise ConfigError(f"{run.root} is to be trained by one process, not on {nodes.num_nodes} nodes")
        return _train(options.config, resume=options.resume)
    except PeerFailedError as error:
        if os.environ["LOCAL_RANK"] == "0":  # once on each machine
            print(f"error: {error}", file=sys.stderr)
        return USER_MISTAKE
    except PeerLostError as error:
        if not os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(LAUNCH_PREFIX):  # our launcher reports it
            print(f"error: {error}; --resume goes on from the last checkpoint", file=sys.stderr)
        return PEER_SILENT if isinstance(error, PeerSilentError) else PEER_LOST
    except CharLMError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_MISTAKE


def _train(config_path: Path, *, resume: bool) -> int:
    """Train in this process, alone or as one of a group; the exit code."""
    stop = StopSignal()
    signals: list[int] = []

    def request_stop(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        stop.request(signal.Signals(number).name)

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)
    end_with_parent(lambda: stop.request("the parent process has ended"))
    avoid_compiler()
    with process_group() as group:
        with group.main_first():
            run = _open_run(config_path)
        manifest = RunManifest.load(run)
        group.agree({"training": manifest.fingerprint})
        is_finished = bool(group.broadcast(float(manifest.state == "finished")))
        if is_finished and group.has_several_nodes:  # all of them came to learn that
            return 0
        try:
            if not group.is_main:
                follow_training(run, resume=resume, stop=stop, group=group)
                return 0
            result = run_training(run, resume=resume, stop=stop, group=group)
        except TrainingInterruptedError as interruption:
            code = 128 + (signals[0] if signals else signal.SIGTERM)
            if not group.is_main:
                return code
            print(f"stopped after a checkpoint ({interruption}); --resume goes on from there", file=sys.stderr)
            return code
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
