"""Train and score a language model of words that was made in Python: the loop of GluonNLP's tutorial.

Stochastic gradient descent, a quarter of the rate after each epoch without a better validation loss, and the test loss
at each better one. A training that can be stopped and resumed is the pipeline's.
"""

# T = words of each stream in a batch, B = streams

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from charlm.errors import ConfigError
from charlm.word.data.batchify import BPTTBatches
from charlm.word.model import WordLanguageModel

_T = TypeVar("_T")
_ANNEAL_FACTOR = 0.25


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch has led to."""

    valid_loss: float
    """Mean nats of the words of the validation text."""

    test_loss: float | None
    """Likewise of the test text; None where the validation loss was not the best one so far."""

    lr: float
    """Rate of the epoch."""

    samples_per_second: float
    """Steps of streams, times streams in a step: words are `bptt` times as many."""


def detach(hidden: _T) -> _T:
    """A state, or a list of states, that no gradient goes back through."""
    if isinstance(hidden, Tensor):
        return hidden.detach()  # type: ignore[return-value]
    return type(hidden)(detach(part) for part in hidden)  # type: ignore[attr-defined, call-arg]


def split_and_load(
    data: Tensor, devices: Sequence[torch.device | str], batch_axis: int = 0, even_split: bool = True
) -> list[Tensor]:
    """Equal parts of a batch, one on each device; without `even_split` the last may be smaller.

    Raises ConfigError where the batch cannot be split like that.
    """
    size, parts = data.shape[batch_axis], len(devices)
    if not parts or size < parts or (even_split and size % parts):
        raise ConfigError(f"a batch of {size} streams cannot be split evenly over {parts} devices")
    chunks = torch.tensor_split(data, parts, dim=batch_axis)
    return [chunk.to(device) for chunk, device in zip(chunks, devices, strict=True)]


@torch.no_grad()
def evaluate(
    model: WordLanguageModel, data_source: BPTTBatches, batch_size: int, device: torch.device | str | None = None
) -> float:
    """Mean nats of the words of a text, read from a zero state, with dropout off."""
    place = torch.device(device) if device is not None else model.device
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    hidden = model.begin_state(batch_size, device=place)
    for data, target in data_source:
        loss, hidden = model.loss(data.to(place), target.to(place), hidden)
        total += float(loss) * target.numel()
        count += target.numel()
    model.train(was_training)
    return total / count


def train(
    model: WordLanguageModel,
    train_data: BPTTBatches,
    val_data: BPTTBatches,
    test_data: BPTTBatches,
    epochs: int,
    lr: float,
    *,
    grad_clip: float = 0.25,
    devices: Sequence[torch.device | str] | None = None,
    log_interval: int = 200,
    save_prefix: str | os.PathLike[str] | None = None,
    log: Callable[[str], object] = print,
) -> list[Epoch]:
    """Train `model`, and return what each epoch has led to.

    Args:
        grad_clip: largest norm of the gradient of all weights together.
        devices: each computes an equal part of the streams; by default the model's device alone.
        log_interval: batches between two lines of the log.
        save_prefix: write the parameters to `PREFIX-EPOCH.params` after each better epoch.
        log: takes the lines of the log.
    """
    places = [torch.device(device) for device in devices or [model.device]]
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    batch_size = train_data[0][0].shape[1]
    best, done = math.inf, []
    for number in range(epochs):
        start = time.monotonic()
        for line in _train_epoch(model, train_data, optimizer, places, grad_clip=grad_clip, log_interval=log_interval):
            log(f"[Epoch {number} {line}")
        seconds = time.monotonic() - start
        valid_loss = evaluate(model, val_data, val_data[0][0].shape[1])
        log(
            f"[Epoch {number}] time cost {seconds:.2f}s, throughput {len(train_data) * batch_size / seconds:.2f} "
            f"samples/s, valid loss {valid_loss:.2f}, valid ppl {_perplexity(valid_loss):.2f}"
        )
        test_loss = None
        rate = optimizer.param_groups[0]["lr"]
        if valid_loss < best:
            best = valid_loss
            test_loss = evaluate(model, test_data, test_data[0][0].shape[1])
            if save_prefix is not None:
                model.save_parameters(f"{os.fspath(save_prefix)}-{number}.params")
            log(f"test loss {test_loss:.2f}, test ppl {_perplexity(test_loss):.2f}")
        else:
            optimizer.param_groups[0]["lr"] = rate * _ANNEAL_FACTOR
            log(f"Learning rate now {rate * _ANNEAL_FACTOR:f}")
        done.append(
            Epoch(
                valid_loss=valid_loss,
                test_loss=test_loss,
                lr=rate,
                samples_per_second=len(train_data) * batch_size / seconds,
            )
        )
    return done


def _train_epoch(
    model: WordLanguageModel,
    train_data: BPTTBatches,
    optimizer: torch.optim.Optimizer,
    places: Sequence[torch.device],
    *,
    grad_clip: float,
    log_interval: int,
) -> Iterator[str]:
    """Train on all batches, and yield the lines of the log."""
    model.train()
    batch_size = train_data[0][0].shape[1]
    since, total = time.monotonic(), 0.0
    sizes = [part.shape[0] for part in split_and_load(torch.empty(batch_size), places, even_split=False)]
    hiddens = [model.begin_state(size, device=place) for size, place in zip(sizes, places, strict=True)]
    for number, (data, target) in enumerate(train_data):
        optimizer.zero_grad()
        parts = zip(
            split_and_load(data, places, batch_axis=1, even_split=False),
            split_and_load(target, places, batch_axis=1, even_split=False),
            sizes,
            strict=True,
        )
        for part, (inputs, targets, size) in enumerate(parts):
            loss, hiddens[part] = model.loss(inputs, targets, detach(hiddens[part]))
            loss = loss * (size / batch_size)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        optimizer.step()
        if number and number % log_interval == 0:
            mean, speed = total / log_interval, batch_size * log_interval / (time.monotonic() - since)
            yield (
                f"Batch {number}/{len(train_data)}] loss {mean:.2f}, ppl {_perplexity(mean):.2f}, "
                f"throughput {speed:.2f} samples/s"
            )
            since, total = time.monotonic(), 0.0


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))  # exp overflows a float above 709
