"""Flair's own SequenceTagger, trained for an epoch on a pair of language models of ours.

Run by Flair's interpreter:  python tests/flair/train_tagger.py FORWARD.pt BACKWARD.pt FOLDER
Prints the F1 score on the few sentences that it learns. The program is that of Flair's tutorial.
"""

import sys
from pathlib import Path

WORDS = "I/PRP love/VBP Berlin/NNP ./. He/PRP hates/VBZ Paris/NNP ./. We/PRP saw/VBD rain/NN in/IN London/NNP ./."


def main(forward: str, backward: str, folder: Path) -> None:
    from flair.datasets import ColumnCorpus
    from flair.embeddings import FlairEmbeddings, StackedEmbeddings
    from flair.models import SequenceTagger
    from flair.trainers import ModelTrainer

    folder.mkdir(parents=True)
    lines = WORDS.replace("/", "\t").replace(" ", "\n").replace(".\t.", ".\t.\n") + "\n"
    for name in ("train.txt", "dev.txt", "test.txt"):
        (folder / name).write_text(lines)
    corpus = ColumnCorpus(
        folder, {0: "text", 1: "pos"}, train_file="train.txt", dev_file="dev.txt", test_file="test.txt"
    )
    embeddings = StackedEmbeddings([FlairEmbeddings(forward), FlairEmbeddings(backward)])
    tagger = SequenceTagger(
        hidden_size=16,
        embeddings=embeddings,
        tag_dictionary=corpus.make_label_dictionary("pos", add_unk=False),
        tag_type="pos",
    )
    result = ModelTrainer(tagger, corpus).train(folder / "model", learning_rate=0.1, mini_batch_size=2, max_epochs=1)
    print("score", result["test_score"])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
