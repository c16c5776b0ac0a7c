"""What Flair's LanguageModelTrainer does in a step, in plain torch, so that it runs where Flair is not installed.

The same shapes, SGD at 20, clipping at 0.25, and every batch sent to the device by itself; with `use_amp` half
precision and a scaled loss. (Flair 0.15.1, trainers/language_model_trainer.py; the facts, not the code.)
"""

# T = sequence length, B = mini-batch size, H = hidden size, V = dictionary size

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Step = Callable[[Tensor, Tensor], Tensor]
"""One optimizer step on inputs and targets, (T, B) each; returns the loss on the device."""


def flair_step(dictionary_size: int, hidden_size: int, device: torch.device, *, use_amp: bool) -> Step:
    """A step of Flair's trainer."""
    encoder = nn.Embedding(dictionary_size, 100).to(device)
    rnn = nn.LSTM(100, hidden_size).to(device)
    decoder = nn.Linear(hidden_size, dictionary_size).to(device)
    drop = nn.Dropout(0.1)
    for layer in (encoder, decoder):
        nn.init.uniform_(layer.weight, -0.1, 0.1)
    parameters = [*encoder.parameters(), *rnn.parameters(), *decoder.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=20.0)
    scaler = torch.amp.GradScaler(device.type, enabled=use_amp and device.type == "cuda")
    state: tuple[Tensor, Tensor] | None = None

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal state
        inputs, targets = inputs.to(device), targets.to(device)
        if state is None or state[0].shape[1] != inputs.shape[1]:
            zeros = torch.zeros(1, inputs.shape[1], hidden_size, device=device)
            state = zeros, zeros.clone()
        optimizer.zero_grad()
        with torch.autocast(device.type, enabled=use_amp):
            output, state = rnn(drop(encoder(inputs)), state)
            loss = F.cross_entropy(decoder(drop(output)).flatten(0, 1), targets.flatten())
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(parameters, 0.25)
        scaler.step(optimizer)
        scaler.update()
        state = state[0].detach(), state[1].detach()
        return loss.detach()

    return step
