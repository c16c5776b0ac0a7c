"""Flair's side of the text benchmark; run by Flair's own interpreter.

Counts the characters of a train shard with the loop of Flair's tutorial, then reads the shard with Flair's TextDataset:
once as it stands (its encoding), once with shuffling and case flips (what training does on every visit).

Usage: flair_text.py CORPUS
Prints {"count": [seconds, CPU seconds], "encode": […], "visit": […], "memory": bytes above the interpreter}
"""

import collections
import json
import logging
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flair.data import Dictionary
from flair.trainers.language_model_trainer import TextDataset


def main() -> None:
    logging.disable()
    corpus = Path(sys.argv[1])
    shard = next((corpus / "train").iterdir())
    dictionary = Dictionary.load_from_file(corpus / "dictionary" / "char_mappings")
    before = peak()
    found = {"count": seconds_of(lambda: count(shard))}
    for name, changes in (("encode", False), ("visit", True)):
        dataset = TextDataset(shard, dictionary, False, True, random_case_flip=changes, shuffle=changes)
        found[name] = seconds_of(lambda dataset=dataset: dataset[0])
    print(json.dumps({**found, "memory": peak() - before}))


def count(path: Path) -> None:
    counter: collections.Counter[str] = collections.Counter()
    with path.open(encoding="utf-8") as file:
        for line in file:
            counter.update(list(line))
    counter.most_common()


def seconds_of(step: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    start, cpu_start = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - start, time.process_time() - cpu_start


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
