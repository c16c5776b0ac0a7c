"""Names that programs written for Flair use are there, or say in one line where they are."""

import importlib
from pathlib import Path

import pytest

import charlm
from charlm.data.cache import cache_dir
from charlm.embeddings import FlairEmbeddings
from charlm.errors import DatasetError, ModelFileError, NotInCharLMError
from tests.labelled_data import write_treebank

PATHS = {
    "data": "Corpus DataPoint Dictionary Label MultiCorpus Sentence Span Token get_spans_from_bio",
    "datasets": "ClassificationCorpus ColumnCorpus DataLoader FlairDatapointDataset StringDataset",
    "datasets.base": "DataLoader FlairDatapointDataset SentenceDataset StringDataset",
    "datasets.document_classification": "ClassificationCorpus CSVClassificationCorpus TREC_6",
    "datasets.sequence_labeling": "ColumnCorpus WNUT_17",
    "datasets.treebanks": "UD_ENGLISH UD_GERMAN UniversalDependenciesCorpus",
    "embeddings": "FlairEmbeddings StackedEmbeddings WordEmbeddings",
    "embeddings.base": "DocumentEmbeddings Embeddings TokenEmbeddings",
    "embeddings.document": "DocumentPoolEmbeddings DocumentRNNEmbeddings TransformerDocumentEmbeddings",
    "embeddings.legacy": "CharLMEmbeddings",
    "embeddings.token": "CharacterEmbeddings FlairEmbeddings PooledFlairEmbeddings StackedEmbeddings WordEmbeddings",
    "embeddings.transformer": "TransformerDocumentEmbeddings",
    "models": "LanguageModel SequenceTagger TextClassifier",
    "models.language_model": "LanguageModel",
    "models.sequence_tagger_model": "SequenceTagger",
    "models.text_classification_model": "TextClassifier",
    "nn.model": "Classifier Model",
    "splitter": "NewlineSentenceSplitter NoSentenceSplitter SegtokSentenceSplitter TagSentenceSplitter",
    "tokenization": "SegtokTokenizer SpaceTokenizer Tokenizer TokenizerWrapper",
    "trainers": "LanguageModelTrainer ModelTrainer TextCorpus",
    "trainers.language_model_trainer": "LanguageModelTrainer TextCorpus",
    "trainers.trainer": "ModelTrainer",
    "training_utils": "CharEntity EvaluationMetric TokenEntity create_labeled_sentence_from_entity_offsets",
    "visual": "Highlighter",
    "visual.ner_html": "render_ner_html",
    "visual.training_curves": "Plotter",
}


@pytest.mark.parametrize("path", PATHS)
def test_flairs_module_path_leads_to_its_names(path):
    module = importlib.import_module(f"charlm.{path}")
    for name in PATHS[path].split():
        assert getattr(module, name).__name__ in (name, "DownstreamModel")


@pytest.mark.parametrize(
    ("path", "name", "line"),
    [
        ("data", "Relation", "charlm.data.Relation: relations between spans are not part of charlm; Flair has them"),
        ("models", "TARSClassifier", "few-shot models are not part"),
        ("embeddings", "ELMoEmbeddings", "ELMo's vectors are not part"),
        ("nn.multitask", "make_multitask_model_and_corpus", "models of several tasks are not part"),
        ("nn.decoder", "PrototypicalDecoder", "decoders by prototypes are not part"),
        ("models.tars_model", "TARSTagger", "few-shot models are not part"),
        ("models.entity_linker_model", "CandidateGenerator", "entity linkers are not part"),
        ("models.relation_classifier_model", "EntityMask", "relations between spans are not part"),
        ("models.text_regression_model", "TextRegressor", "models of numbers are not part"),
        ("datasets.relation_extraction", "RE_ENGLISH_TACRED", "relations between spans are not part"),
        ("datasets", "HUNER_GENE", "biomedical corpora are not part"),
        ("datasets", "NEL_ENGLISH_AIDA", "entity linkers are not part"),
        (
            "datasets",
            "NER_DANISH_DANE",
            r"charlm downloads no such data; get the files and read them with ColumnCorpus\(folder",
        ),
        ("datasets", "IMDB", r"read them with ClassificationCorpus\(folder\)"),
    ],
)
def test_what_is_not_here_can_be_imported_and_says_so_in_one_line_when_it_is_used(path, name, line):
    outside = getattr(importlib.import_module(f"charlm.{path}"), name)
    assert not isinstance(charlm.data.Sentence("a"), outside)
    with pytest.raises(NotInCharLMError, match=line):
        outside("a", b=1)
    with pytest.raises(NotInCharLMError, match=line):
        outside.load("a")
    with pytest.raises(NotInCharLMError, match=line):
        type("Mine", (outside,), {})
    with pytest.raises(AttributeError, match="Nothing"):
        getattr(importlib.import_module(f"charlm.{path}"), "Nothing")  # noqa: B009


def test_a_treebank_that_is_at_hand_is_read_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path))
    with pytest.raises(DatasetError, match=r"UD_FRENCH: no files \*\.conllu in .*ud_french; put them there"):
        charlm.datasets.UD_FRENCH()
    write_treebank(tmp_path / "datasets" / "ud_french", "fr_gsd", counts=(6, 2, 2))
    corpus = charlm.datasets.UD_FRENCH()
    assert str(corpus) == "Corpus: 6 train + 2 dev + 2 test sentences"
    assert str(charlm.datasets.treebanks.UD_FRENCH(tmp_path / "datasets")) == str(corpus)
    (tmp_path / "conll_03").mkdir()
    (tmp_path / "conll_03" / "eng.train").write_text("-DOCSTART- -X- -X- O\n\nAnn NNP B-NP B-PER\nleft VBD B-VP O\n")
    corpus = charlm.datasets.CONLL_03(tmp_path)
    boundary, sentence = corpus.get_all_sentences()
    assert boundary.is_document_boundary
    assert [(label.data_point.text, label.value) for label in sentence.get_labels("ner")] == [("Ann", "PER")]


@pytest.mark.parametrize(("name", "between"), [("UP_ENGLISH", 8), ("UP_GERMAN", 7)])
def test_a_proposition_bank_is_read_by_name(tmp_path, name, between):
    rows = [(word, "frame.01" if word == "comes" else "_") for word in ("This", "comes")]
    lines = [f"{place}\t{word}" + "\t_" * between + f"\t{frame}\n" for place, (word, frame) in enumerate(rows)]
    for split in ("train", "dev", "test"):
        (tmp_path / f"en_ewt-up-{split}.conllu").write_text("# text = This comes\n" + "".join(lines) + "\n")
    (sentence,) = getattr(charlm.datasets, name)(tmp_path).dev
    assert [token.get_label("frame", "none").value for token in sentence] == ["none", "frame.01"]


def test_rooms_seed_and_version_are_found_at_charlm_itself():
    assert charlm.data.Sentence("a b").words == ["a", "b"]
    assert charlm.__version__
    charlm.set_seed(5)
    drawn = importlib.import_module("random").random()
    charlm.set_seed(5)
    assert importlib.import_module("random").random() == drawn
    with pytest.raises(AttributeError, match="'charlm' has no attribute 'nothing'"):
        charlm.nothing  # noqa: B018


def test_cache_root_that_is_set_comes_before_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "variable"))
    assert charlm.cache_root == tmp_path / "variable"
    monkeypatch.setitem(vars(charlm), "cache_root", tmp_path / "set")
    assert cache_dir() == tmp_path / "set"


def test_a_name_with_a_suffix_is_looked_for_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path))
    with pytest.raises(ModelFileError, match=rf"put the file at {tmp_path}/nope\.pt \(CHARLM_CACHE\)"):
        FlairEmbeddings("nope.pt")
    with pytest.raises(ModelFileError, match=rf"put the file at {tmp_path}/nope\.pt \(CHARLM_CACHE\)"):
        FlairEmbeddings("nope")


def test_an_address_is_opened_by_who_registered_its_scheme(monkeypatch, tmp_path):
    class EntryPoint:
        def load(self):
            return lambda address: tmp_path / address.removeprefix("toys:/")

    from charlm.serialization import addresses

    def entry_points(group, name):
        assert group == "charlm.model_resolvers"
        return [EntryPoint()] if name == "toys" else []

    monkeypatch.setattr(addresses, "entry_points", entry_points)
    for model, directions in (("pair", ("forward", "backward")), ("one", ("backward",))):
        for direction in directions:
            config = Path(tmp_path / model / direction / "config.json")
            config.parent.mkdir(parents=True)
            config.write_text("{}")
    assert addresses.resolve_address("toys:/pair/backward") == tmp_path / "pair" / "backward"
    assert addresses.resolve_address("toys:/one") == tmp_path / "one"
    with pytest.raises(ModelFileError, match=r'toys:/pair holds both directions; .*FlairEmbeddings\("toys:/pair/for'):
        FlairEmbeddings("toys:/pair")
    with pytest.raises(ModelFileError, match="toys:/one/forward: toys:/one holds backward"):
        FlairEmbeddings("toys:/one/forward")
    with pytest.raises(ModelFileError, match="nothing that is installed here opens addresses of planets:/"):
        FlairEmbeddings("planets:/x")
    assert not addresses.is_address("C:/models/x.pt")
    assert not addresses.is_address("s3://bucket/x.pt")
