"""Sample text from a language model, one unit at a time."""

# B = streams, here always one; V = dictionary size

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from charlm.nn.inference import inference

if TYPE_CHECKING:
    from charlm.language_models.language_model import LanguageModel


_LOGITS_OF_PREFIX = 1 << 22  # 16 MB; a longer prefix is read without logits


def generate_text(
    model: "LanguageModel",
    prefix: str,
    num_units: int,
    *,
    temperature: float = 1.0,
    break_on_suffix: str | None = None,
    top_k: int | None = None,
    seed: int | None = None,
) -> tuple[str, float]:
    """`prefix` continued by up to `num_units` sampled units, and the mean nats of each.

    A backward model continues to the left: its text ends with `prefix`. `<unk>` is never sampled. Generation stops
    early when the new text ends with `break_on_suffix` (in reading direction). With `top_k`, each unit is one of the k
    most likely ones. Without a seed every text is another.
    """
    with inference(model):
        units, nats = _sample_units(model, prefix, num_units, temperature, break_on_suffix, top_k, _generator(seed))
    text = model.dictionary.decode(units if model.is_forward_lm else units[::-1])
    left, right = (prefix, text) if model.is_forward_lm else (text, prefix)
    return left + model.dictionary.unit_of.between(left, right) + right, nats / max(len(units), 1)


def _sample_units(
    model: "LanguageModel",
    prefix: str,
    num_units: int,
    temperature: float,
    break_on_suffix: str | None,
    top_k: int | None,
    generator: torch.Generator,
) -> tuple[list[int], float]:
    """The ids of the new units in reading direction, and their nats."""
    units: list[int] = []
    nats = 0.0
    ids = model.encode_text(prefix).to(model.device)
    if not len(ids):  # white space is no word
        ids = model.encode_text("\n").to(model.device)
    hidden = model.init_hidden(1)
    if len(ids) * len(model.dictionary) <= _LOGITS_OF_PREFIX:
        logits, _, hidden = model(ids.unsqueeze(1), hidden)  # (T, B, V)
        logits = logits[-1]  # (B, V)
    else:
        _, hidden = model.represent(model.encoder(ids[:-1].unsqueeze(1)), hidden)
        logits, hidden = model.predict_next(ids[-1:], hidden)  # (B, V)
    for _ in range(num_units):
        row = logits[0].float().cpu()
        row[0] = -math.inf  # `<unk>` is not text
        likely = row if top_k is None or top_k >= len(row) else _only_largest(row, top_k)
        unit = int(torch.multinomial(F.softmax(likely / temperature, dim=-1), 1, generator=generator))
        nats -= float(F.log_softmax(row, dim=-1)[unit])
        units.append(unit)
        if break_on_suffix and model.dictionary.decode(units).endswith(break_on_suffix):
            break
        logits, hidden = model.predict_next(torch.tensor([unit], device=model.device), hidden)
    return units, nats


def _only_largest(logits: Tensor, number: int) -> Tensor:
    """Logits (V,) with all but the largest ones made impossible."""
    values, places = torch.topk(logits, number)
    return torch.full_like(logits, -math.inf).scatter(0, places, values)


def _generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator
