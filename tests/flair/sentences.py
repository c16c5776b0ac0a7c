"""What small programs about sentences, labels, dictionaries and corpora give, under Flair or under charlm.

Run by Flair's interpreter:
    python tests/flair/sentences.py OUT.json    what tests/golden/flair/sentences.json is a copy of

Our tests import this module and run the same programs with charlm; Flair is imported only when the script runs.
"""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

Program = Callable[[str], Any]
PROGRAMS: dict[str, Program] = {}


def program(function: Program) -> Program:
    PROGRAMS[function.__name__] = function
    return function


def shown_tokens(sentence: Any) -> list[list[Any]]:
    return [[token.text, token.start_position, token.end_position, token.whitespace_after] for token in sentence]


@program
def span_of_tokens_is_kept_by_its_sentence(package: str) -> Any:
    data = import_module(f"{package}.data")
    sentence = data.Sentence("I love New York City")
    data.Span(sentence.tokens[2:5]).add_label("ner", "LOC", 0.75)
    data.Span([sentence[2], sentence[3], sentence[4]]).add_label("ner", "CITY")
    data.Span([sentence[0], sentence[2]]).add_label("ner", "PAIR")
    return [
        [str(span) for span in sentence.get_spans("ner")],
        [str(label) for label in sentence.get_labels("ner")],
        data.Span(sentence.tokens[2:5]) is sentence[2:5],
        str(sentence),
    ]


@program
def slices_have_steps(package: str) -> Any:
    sentence = import_module(f"{package}.data").Sentence("a b c d e f")
    slices = [sentence[::2], sentence[1:5:3], sentence[-2:], sentence[:99], sentence[4:1:-2]]
    return [[token.text for token in span] for span in slices] + [str(span) for span in slices[:4]]


@program
def positions_count_from_the_beginning_of_the_text(package: str) -> Any:
    sentence_of = import_module(f"{package}.data").Sentence
    texts = ["  two  words ", "This is it.", "\ttab\nline\u00a0no break  ", "\u3000wide", " x"]
    found = []
    for text in texts:
        # Flair takes tabs at the beginning of a text away where it cuts at spaces, so that positions do not fit.
        for use_tokenizer in (True, False) if text.lstrip() == text.lstrip(" ") else (True,):
            sentence = sentence_of(text, use_tokenizer=use_tokenizer)
            found.append(
                [
                    shown_tokens(sentence),
                    sentence.text,
                    sentence.start_position,
                    sentence.end_position,
                    sentence.to_original_text(),
                    sentence.to_plain_string(),
                    sentence.to_tokenized_string(),
                ]
            )
    later = sentence_of("This is it.", start_position=10)
    return [*found, shown_tokens(later), later.text, later.start_position, later.end_position]


@program
def words_and_tokens_make_a_sentence(package: str) -> Any:
    data = import_module(f"{package}.data")
    labelled = data.Token("Berlin", whitespace_after=0)
    labelled.add_label("ner", "LOC")
    of_tokens = data.Sentence([data.Token("in"), labelled, data.Token("!")])
    of_words = data.Sentence(["Munich", "and", "Berlin"], start_position=3)
    end = of_words.end_position
    of_words._add_token("are")
    of_words._add_token(data.Token("nice"))
    far = data.Sentence([data.Token("x", start_position=5), data.Token("y")])
    return [
        [str(sentence), shown_tokens(sentence), sentence.text, len(sentence)] for sentence in (of_tokens, of_words, far)
    ] + [
        [end, of_tokens.end_position, far.end_position],
        [token.idx for token in of_words],
        [str(label) for label in of_tokens.labels],
    ]


@program
def tokenizers_cut_the_text(package: str) -> Any:
    sentence_of = import_module(f"{package}.data").Sentence
    tokenization = import_module(f"{package}.tokenization")
    text = "I love New  York (a lot)."
    tokenizers = [
        tokenization.SegtokTokenizer(),
        tokenization.SpaceTokenizer(),
        tokenization.TokenizerWrapper(str.split),
        tokenization.TokenizerWrapper(lambda text: text.replace("(", " ").replace(")", " ").split()),
        tokenization.SegtokTokenizer(additional_split_characters=["o"]),
    ]
    return [
        [tokenizer.name, tokenizer.tokenize(text), shown_tokens(sentence), sentence.text, sentence.to_plain_string()]
        for tokenizer in tokenizers
        for sentence in [sentence_of(text, use_tokenizer=tokenizer)]
    ]


@program
def labels_are_printed_and_ordered(package: str) -> Any:
    data = import_module(f"{package}.data")
    sentence = data.Sentence("George Washington went to Washington .")
    sentence[4:5].add_label("ner", "LOC", 0.75)
    sentence[0:2].add_label("ner", "PER", source="list")
    sentence[3].add_label("pos", "TO")
    sentence[0].add_label("pos", "NNP")
    sentence[1].set_label("pos", "X")
    sentence[1].set_label("pos", "NNP")
    sentence.add_label("topic", "history", 0.5).add_label("topic", "travel")
    found = [
        str(sentence),
        sentence.to_tagged_string("ner"),
        sentence.to_tagged_string("pos"),
        sentence.to_dict(),
        sentence.to_dict("ner"),
        [repr(label) for label in sentence.get_labels()],
        [repr(label) for label in sentence.labels],
        [
            [str(label), label.shortstring, label.labeled_identifier, label.unlabeled_identifier, label.metadata_str]
            for label in sentence.get_labels("ner")
        ],
        [str(span) for span in sentence.get_spans("ner")],
        [sentence.get_label("pos").value, sentence.get_label("none").value, sentence.get_label("none", "zero").value],
        [sentence.has_label("ner"), sentence.has_label("none"), sentence[0].has_label("pos"), sentence[2].labels],
        [sentence.tag, sentence.score, sentence[0].tag, sentence[0:2].tag],
        sorted(sentence.annotation_layers),
        sentence[0:2].to_dict("ner"),
        sentence[0].to_dict(),
    ]
    sentence[0:2].remove_labels("ner")
    found.append([str(label) for label in sentence.get_labels("ner")])
    sentence.remove_labels("pos")
    found.append([str(sentence), [token.labels for token in sentence]])
    return found


@program
def labels_are_compared(package: str) -> Any:
    data = import_module(f"{package}.data")
    sentence = data.Sentence("a b")
    label, same, other = (data.Label(sentence[0], value, 0.5) for value in ("A", "A", "B"))
    alone = data.Label(None, "class", 3.2)
    found = [label == same, hash(label) == hash(same), label == other, label < data.Label(sentence[1], "A")]
    same.set_value("C", 0.2)
    return [*found, label == same, same.value, same.score, str(same), alone.value, alone.score, label.to_dict()]


@program
def metadata_is_kept(package: str) -> Any:
    data = import_module(f"{package}.data")
    sentence = data.Sentence("a b")
    sentence.add_metadata("source", "page 3")
    sentence[0].add_metadata("source", 1)
    sentence.own = 5
    return [
        sentence.get_metadata("source"),
        sentence.has_metadata("other"),
        sentence[0].get_metadata("source"),
        sentence[0:2].has_metadata("source"),
        sentence.own,
    ]


@program
def sentences_know_their_neighbours(package: str) -> Any:
    sentence_of = import_module(f"{package}.data").Sentence
    texts = ["One two three .", "Four five .", "Six seven", "Eight"]
    sentences = [sentence_of(text) for text in texts]
    alone = sentence_of("alone")
    found = [alone.is_context_set(), alone.next_sentence(), alone.left_context(3), alone.right_context(3)]
    sentence_of.set_context_for_sentences(sentences)
    sentences[2].is_document_boundary = True
    alone.copy_context_from_sentence(sentences[1])
    for sentence in [*sentences, alone]:
        found.append(
            [
                sentence.is_context_set(),
                str(sentence.next_sentence()),
                str(sentence.previous_sentence()),
                *(
                    [token.text for token in context(length, respect)]
                    for context in (sentence.left_context, sentence.right_context)
                    for length in (0, 1, 4, 9)
                    for respect in (True, False)
                ),
            ]
        )
    return found


@program
def white_space_is_inferred(package: str) -> Any:
    sentence_of = import_module(f"{package}.data").Sentence
    words = [
        ["Berlin", "(", "D", ")", "says", ",", "do", "n't", "!", "He", "'s", "``", "x", "''", "$", "5", "%", "."],
        ['"', "a", '"', "b", '"', "c", '"', "-", "d", "/", "e", ":", ";", "?", "[", "f", "]", "'ll"],
        ["(", "(", "a", '"', ".", "b"],
    ]
    found = []
    for given in words:
        sentence = sentence_of(given)
        sentence.infer_space_after()
        found.append([sentence.to_plain_string(), [token.whitespace_after for token in sentence]])
    return found


@program
def tokens_have_heads_and_probabilities(package: str) -> Any:
    data = import_module(f"{package}.data")
    sentence = data.Sentence("a b c")
    sentence[0].head_id = 2
    sentence[0].add_tags_proba_dist("pos", [data.Label(sentence[0], "X", 0.25)])
    sentence[2].start_position = 9
    token = data.Token("Munich")
    return [
        str(sentence[0].get_head()),
        sentence[1].get_head(),
        str(sentence[0].get_tags_proba_dist("pos")),
        sentence[1].get_tags_proba_dist("pos"),
        [sentence[2].start_position, sentence[2].end_position],
        [str(sentence.get_token(1)), sentence.get_token(9), sentence.get_token(0)],
        [str(token), token.idx, token.head_id, token.whitespace_after, token.sentence, len(token), token.to_dict()],
    ]


@program
def embeddings_are_kept(package: str) -> Any:
    import torch

    sentence = import_module(f"{package}.data").Sentence("a b")
    sentence[0].set_embedding("e", torch.tensor([1.0, 2.0]))
    sentence[0].set_embedding("d", torch.tensor([3.0]))
    sentence.set_embedding("whole", torch.tensor([4.0]))
    sentence.to("cpu", pin_memory=False)
    found = [
        sentence[0].embedding.tolist(),
        sentence[0].get_embedding(["d"]).tolist(),
        [vector.tolist() for vector in sentence[0].get_each_embedding()],
        [vector.tolist() for vector in sentence[0].get_each_embedding(["e"])],
        sentence[1].embedding.tolist(),
        sentence.embedding.tolist(),
    ]
    sentence.clear_embeddings()
    return [*found, sentence[0].embedding.tolist(), sentence.get_embedding().tolist()]


@program
def texts_are_split_into_sentences(package: str) -> Any:
    splitter = import_module(f"{package}.splitter")
    tokenization = import_module(f"{package}.tokenization")
    text = "I love  Berlin. Mr. Smith isn't here!  He said so. Then he left.\nAnother line\nThe end?"
    splitters = [
        (splitter.SegtokSentenceSplitter(), text),
        (splitter.NoSentenceSplitter(), text),
        (splitter.NewlineSentenceSplitter(tokenization.SpaceTokenizer()), text),
        (splitter.TagSentenceSplitter("#!"), "I love Berlin.#!Me too.#!"),
    ]
    return [
        [
            made.name,
            made.tokenizer.name,
            [
                [sentence.to_original_text(), sentence.start_position, sentence.end_position]
                for sentence in made.split(given)
            ],
            getattr(made.split(given)[0].next_sentence(), "text", None),
        ]
        for made, given in splitters
    ]


@program
def a_dictionary_counts_its_items(package: str) -> Any:
    dictionary = import_module(f"{package}.data").Dictionary()
    found: list[Any] = [dictionary.add_item(item) for item in ("a", "b", "a")]
    found += [dictionary.get_idx_for_items(["b", "q"]), dictionary.get_item_for_index(1), len(dictionary)]
    found += [dictionary.has_item("a"), dictionary.has_item("q"), dictionary.start_stop_tags_are_set()]
    dictionary.set_start_stop_tags()
    found += [dictionary.get_items(), dictionary.start_stop_tags_are_set(), dictionary.is_span_prediction_problem()]
    dictionary.add_item("B-LOC")
    return [*found, dictionary.is_span_prediction_problem(), dictionary.multi_label, dictionary.span_labels]


def _corpus(package: str) -> Any:
    data = import_module(f"{package}.data")
    datasets = import_module(f"{package}.datasets")
    train = [data.Sentence("George Washington went home ."), data.Sentence("He was in New York"), data.Sentence("Go")]
    train[0][0:2].add_label("ner", "PER")
    train[1][3:5].add_label("ner", "LOC")
    train[2][0:1].add_label("ner", "LOC")
    for sentence, topics in zip(train, ("travel", "travel", "games"), strict=True):
        sentence.add_label("topic", topics)
        sentence[0].add_label("pos", "N")
    dev = [data.Sentence("Home again").add_label("topic", "poems")]
    return data.Corpus(datasets.FlairDatapointDataset(train), datasets.FlairDatapointDataset(dev), [], name="small")


@program
def a_corpus_makes_dictionaries(package: str) -> Any:
    corpus = _corpus(package)
    found: list[Any] = [str(corpus), corpus.name, len(corpus.get_all_sentences()), str(corpus.get_all_sentences()[3])]
    for label_type in ("ner", "pos", "topic"):
        dictionary = corpus.make_label_dictionary(label_type)
        found.append([dictionary.get_items(), dictionary.span_labels, dictionary.add_unk])
    for options in ({"add_unk": True}, {"min_count": 2}, {"add_dev_test": True}):
        found.append(corpus.make_label_dictionary("topic", **options).get_items())
    for options in ({"max_tokens": 2, "min_freq": -1}, {"min_freq": 2}, {}):
        found.append(len(corpus.make_vocab_dictionary(**options)))
    found.append(corpus.make_vocab_dictionary(min_freq=2).get_items())
    found.append(dict(corpus.get_label_distribution()))
    return found


@program
def a_corpus_is_counted_and_filtered(package: str) -> Any:
    data = import_module(f"{package}.data")
    corpus = _corpus(package)
    statistics = corpus.obtain_statistics("topic", pretty_print=False)
    found: list[Any] = [json.loads(corpus.obtain_statistics("topic")) == statistics]
    for split in ("TRAIN", "TEST", "DEV"):  # Flair counts spans and words among the classes of documents
        found.append({name: value for name, value in statistics[split].items() if not name.endswith("_per_class")})
    corpus.filter_long_sentences(18)
    found.append(str(corpus))
    corpus.filter_empty_sentences()
    found.append(str(corpus))
    made = data.Corpus([data.Sentence("x") for _ in range(20)])
    found.append(str(made))
    for splits in ("only_dev", "only_test", False):
        found.append(str(data.Corpus([data.Sentence("x") for _ in range(20)], sample_missing_splits=splits)))
    found.append(made.downsample(0.5, downsample_dev=False, downsample_test=False) is made)
    found.append(str(made))
    found.append(str(data.MultiCorpus([made, corpus], name="both")).splitlines()[0])
    return found


@program
def sentences_are_made_of_entities(package: str) -> Any:
    utils = import_module(f"{package}.training_utils")
    text = "George Washington went to Washington."
    of_characters = utils.create_labeled_sentence_from_entity_offsets(
        text, [utils.CharEntity(0, 17, "PER", "Q23"), utils.CharEntity(26, 36, "LOC", "Q61")]
    )
    of_tokens = utils.create_labeled_sentence_from_tokens(
        [import_module(f"{package}.data").Token(word) for word in ("In", "New", "York")],
        [utils.TokenEntity(1, 3, "LOC", "Q60")],
    )
    return [[str(label) for label in sentence.get_labels()] for sentence in (of_characters, of_tokens)]


@program
def batches_are_lists(package: str) -> Any:
    data = import_module(f"{package}.data")
    datasets = import_module(f"{package}.datasets")
    sentences = datasets.FlairDatapointDataset([data.Sentence(letter) for letter in "abc"])
    strings = datasets.StringDataset(["a b.", "c"])
    return [
        [[sentence.text for sentence in batch] for batch in datasets.DataLoader(sentences, batch_size=2)],
        [len(sentences), len(datasets.FlairDatapointDataset(data.Sentence("a"))), sentences.is_in_memory()],
        [str(strings[0]), len(strings), str(datasets.StringDataset("a b.", use_tokenizer=True)[0])],
    ]


def observe(package: str) -> dict[str, Any]:
    """What every program gives with `package`, as values of JSON; the name of an exception where one is raised."""
    found: dict[str, Any] = {}
    for name, run in PROGRAMS.items():
        try:
            found[name] = json.loads(json.dumps(run(package)))
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    import logging

    logging.disable(logging.CRITICAL)
    Path(sys.argv[1]).write_text(json.dumps(observe("flair"), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
