"""Taggers of Flair as files, and what they predict.

Run by Flair's interpreter:  python tests/flair/tagger_files.py LANGUAGE_MODEL.pt FOLDER
Writes KIND.pt and KIND.json, the tags that the tagger of the file gives to the words of SENTENCES, for each kind.
The golden tagger.pt and tagger.json are those of the kind `stack`.
"""

import json
import sys
from pathlib import Path

KINDS = ("stack", "letters", "words", "gru", "linear")
WORDS = [
    *"iy.!",
    "love",
    "berlin",
    "he",
    "saw",
    "new",
    "york",
    "and",
    "paris",
    "in",
    "0000",
    "rain",
    "we",
    "hate",
    "the",
    "london",
]
WIDTH = 5
SENTENCES = ["I love Berlin .", "He saw New York and Paris in 1999", "rain", "We hate the rain in London !"]


def main(language_model: str, folder: Path) -> None:
    import torch
    from flair.data import Dictionary, Sentence
    from flair.embeddings import FlairEmbeddings, StackedEmbeddings, WordEmbeddings
    from flair.models import SequenceTagger

    def words() -> WordEmbeddings:  # without gensim, which reads files of vectors
        vocab = {word: number for number, word in enumerate(WORDS)}
        embeddings = WordEmbeddings(embeddings=None, vocab=vocab, embedding_length=WIDTH, name="words")
        embeddings.embedding.weight.data[: len(WORDS)] = torch.randn(len(WORDS), WIDTH)
        return embeddings

    def letters() -> FlairEmbeddings:
        return FlairEmbeddings(language_model)

    def dictionary(*items: str, spans: bool = False) -> Dictionary:
        found = Dictionary(add_unk=False)
        for item in items:
            found.add_item(item)
        found.span_labels = spans
        return found

    spans = dictionary("LOC", "PER", spans=True)
    torch.manual_seed(0)
    kinds = {
        "stack": ([words(), letters()], spans, {}),
        "letters": (letters(), spans, {"tag_format": "BIO", "rnn_layers": 2}),
        "words": (words(), dictionary("NN", "VB", "."), {"use_crf": False, "reproject_embeddings": False}),
        "gru": (words(), spans, {"rnn_type": "GRU", "bidirectional": False}),
        "linear": (words(), spans, {"use_rnn": False}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for number, (kind, (embeddings, tags, settings)) in enumerate(kinds.items()):
        torch.manual_seed(number)
        stack = StackedEmbeddings(embeddings) if isinstance(embeddings, list) else embeddings
        tagger = SequenceTagger(hidden_size=6, embeddings=stack, tag_dictionary=tags, tag_type="ner", **settings)
        with torch.no_grad():  # untrained weights give the same tag everywhere
            tagger.linear.weight *= 8
        tagger.eval()  # predict leaves dropout as it is
        tagger.model_card = {"pytorch_version": torch.__version__, "training_parameters": {"mini_batch_size": 4}}
        tagger.save(folder / f"{kind}.pt")
        sentences = [Sentence(text, use_tokenizer=False) for text in SENTENCES]
        tagger.predict(sentences, force_token_predictions=True)
        found = [
            [(label.data_point.text, label.value) for label in sentence.get_labels("ner")] for sentence in sentences
        ]
        (folder / f"{kind}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
