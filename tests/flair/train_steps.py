"""The loss of each batch of Flair's own LanguageModelTrainer, from weights that a formula gives.

Run by Flair's interpreter:  python tests/flair/train_steps.py OUTPUT.json
Writes  {"losses": [...]}   what tests/golden/train_steps.json is a copy of.

It computes in float64, in few steps, and with half of Flair's rate. Processors sum in another order, and at a rate of
20 the differences that float32 makes of that grow to 0.1 within 150 steps. Here a change of all weights by 1e-10
changes no loss by more than 3e-10, so what is left of the rounding of float64 is 1e-14 or less.

The corpus and the weights are made from formulas, so that both sides have them without exchanging files. Our tests
import this module for them; Flair is imported only when the script runs.
"""

import json
import pickle
import random
import sys
import tempfile
from pathlib import Path

import torch

LETTERS = "\n abcdefghijklmnopqrstuvwxyzäß."
SETTINGS = {"sequence_length": 25, "mini_batch_size": 8, "learning_rate": 10.0, "clip": 0.25, "max_epochs": 1}
MODEL = {"hidden_size": 48, "nlayers": 1, "embedding_size": 20, "dropout": 0.0}


def write_corpus(folder: Path) -> None:
    """Two train shards of 8,000 characters, valid.txt, test.txt and char_mappings: lines of made-up words."""
    draw = random.Random(7)
    words = ["".join(draw.choice(LETTERS[2:]) for _ in range(draw.randint(2, 8))) for _ in range(60)]
    (folder / "train").mkdir(parents=True)
    sizes = {"train/train_split_0001": 8_000, "train/train_split_0002": 8_000, "valid.txt": 3_000, "test.txt": 3_000}
    for name, size in sizes.items():
        text = ""
        while len(text) < size:
            text += " ".join(draw.choice(words) for _ in range(draw.randint(3, 12))) + "\n"
        (folder / name).write_text(text[: size - 1] + "\n", encoding="utf-8")
    items = [b"<unk>", *(letter.encode() for letter in LETTERS)]
    mappings = {"idx2item": items, "item2idx": {item: idx for idx, item in enumerate(items)}}
    (folder / "char_mappings").write_bytes(pickle.dumps(mappings))


@torch.no_grad()
def set_weights(model: torch.nn.Module) -> None:
    """Weights in [-0.1, 0.1] from a formula of their position."""
    for number, parameter in enumerate(model.parameters()):
        positions = torch.arange(parameter.numel(), dtype=torch.float64)
        parameter.copy_((0.1 * torch.sin(positions * (number + 1.37))).view_as(parameter))


def main(output: Path) -> None:
    from flair.data import Dictionary
    from flair.models import LanguageModel
    from flair.trainers.language_model_trainer import LanguageModelTrainer, TextCorpus

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "corpus"
        write_corpus(root)
        dictionary = Dictionary.load_from_file(root / "char_mappings")
        corpus = TextCorpus(root, dictionary, True, character_level=True, random_case_flip=False)
        corpus.train.shuffle = False
        corpus.train.files.sort()
        model = LanguageModel(dictionary, True, **MODEL)
        set_weights(model)
        trainer = LanguageModelTrainer(model, corpus)
        losses: list[float] = []
        cross_entropy = trainer.loss_function

        def recorded(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            loss = cross_entropy(prediction, target)
            if torch.is_grad_enabled():
                losses.append(loss.item())
            return loss

        trainer.loss_function = recorded
        trainer.train(Path(folder) / "run", num_workers=0, **SETTINGS)
    output.write_text(json.dumps({"losses": losses}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
