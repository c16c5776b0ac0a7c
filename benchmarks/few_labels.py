"""Do word states add to a pair of character models, and does fine-tuning a word model beat a frozen pair?

TREC-6 with few train questions, drawn anew for every seed; the test questions are all 500. Every side gets the same
questions, and reads the same ones after them. The difference to the frozen pair has a bootstrap interval over the test
questions, whose accuracy is the mean of the seeds.

Usage: python benchmarks/few_labels.py --pair FORWARD BACKWARD --words WORD_MODEL --trec FOLDER [--examples 100 500]
Writes a table to stdout
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from charlm.data import Corpus, Sentence
from charlm.datasets import TREC_6
from charlm.embeddings import (
    DocumentEmbeddings,
    DocumentRNNEmbeddings,
    DocumentWordLMEmbeddings,
    FlairEmbeddings,
    TokenEmbeddings,
    WordLMEmbeddings,
)
from charlm.evaluation.bootstrap import interval_of, resampled_ratios
from charlm.models import TextClassifier
from charlm.trainers import ModelTrainer

FROZEN, BOTH, TUNED = "frozen character pair", "the same beside word states", "fine-tuned word model"
LABEL = "question_class"


def sides(pair: list[str], words: str) -> dict[str, tuple[Callable[[], DocumentEmbeddings], dict[str, object]]]:
    """What each side embeds with, and how it is trained."""

    def characters() -> list[TokenEmbeddings]:
        return [FlairEmbeddings(path) for path in pair]

    plain = {"learning_rate": 2e-3, "max_epochs": 30, "patience": 5}
    layered = {"learning_rate": 4e-3, "max_epochs": 30, "layer_decay": 2.6, "gradual_unfreezing": True, "patience": 30}
    return {
        FROZEN: (lambda: DocumentRNNEmbeddings(characters(), hidden_size=128), plain),
        BOTH: (lambda: DocumentRNNEmbeddings([*characters(), WordLMEmbeddings(words)], hidden_size=128), plain),
        TUNED: (lambda: DocumentWordLMEmbeddings(WordLMEmbeddings(words, fine_tune=True)), layered),
    }


def hits(
    corpus: Corpus, embeddings: DocumentEmbeddings, settings: dict[str, object], seed: int, folder: Path
) -> np.ndarray:
    """Whether each test question got its label, (Q,)."""
    labels = corpus.make_label_dictionary(label_type=LABEL)
    torch.manual_seed(seed)
    classifier = TextClassifier(embeddings, labels, label_type=LABEL)
    trainer = ModelTrainer(classifier, corpus)
    trainer.train(
        folder,
        mini_batch_size=16,
        optimizer=torch.optim.AdamW,
        precision="fp32",
        seed=seed,
        show_progress=False,
        **settings,  # type: ignore[arg-type]
    )
    questions = [Sentence(question.words) for question in corpus.test]
    classifier.predict(questions)
    return np.array(
        [
            found.get_label(LABEL).value == gold.get_label(LABEL).value
            for found, gold in zip(questions, corpus.test, strict=True)
        ]
    )


def sample(corpus: Corpus, num_examples: int, seed: int) -> Corpus:
    """`num_examples` train questions, a fifth of which choose the best epoch, and all test questions."""
    chosen = random.Random(seed).sample(list(corpus.train), num_examples)
    num_dev = num_examples // 5
    return Corpus(chosen[num_dev:], chosen[:num_dev], list(corpus.test), name=f"trec-{num_examples}-{seed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pair", nargs=2, required=True, metavar=("FORWARD", "BACKWARD"))
    parser.add_argument("--words", required=True, help="a model of words: a bundle, run or best-lm.pt")
    parser.add_argument("--trec", required=True, type=Path)
    parser.add_argument("--examples", nargs="+", type=int, default=[100, 500])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    whole = TREC_6(arguments.trec)
    print(f"{'examples':>8}  {'side':<28} {'accuracy':>8}  difference to the frozen pair (95 %)")
    for num_examples in arguments.examples:
        found: dict[str, np.ndarray] = {}
        for name, (embeddings, settings) in sides(arguments.pair, arguments.words).items():
            runs = []
            for seed in range(1, arguments.seeds + 1):
                with tempfile.TemporaryDirectory() as folder:
                    corpus = sample(whole, num_examples, seed)
                    runs.append(hits(corpus, embeddings(), settings, seed, Path(folder)))
                for question in whole.get_all_sentences():
                    question.clear_embeddings()
            found[name] = np.mean(runs, axis=0)
            shown = ""
            if name != FROZEN:
                gain = found[name] - found[FROZEN]
                generator = np.random.default_rng(1)
                resampled = resampled_ratios(gain, np.ones(len(gain)), rounds=2_000, generator=generator)
                low, high = interval_of(resampled, 0.95)
                shown = f"{gain.mean():+.3f} ({low:+.3f} to {high:+.3f})"
            print(f"{num_examples:>8}  {name:<28} {found[name].mean():>8.3f}  {shown}", flush=True)


if __name__ == "__main__":
    main()
