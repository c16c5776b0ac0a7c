"""Language models of words in Python, under the names of GluonNLP: `import charlm.word as nlp`.

For texts that fit into memory, and for programs like GluonNLP's tutorial, with torch in the place of mxnet. Corpora,
trainings that resume, and the registry are the pipeline's (`charlm prepare --unit word`).
"""

from charlm.word import data, model
from charlm.word.export import to_bundle
from charlm.word.training import detach, evaluate, split_and_load, train
from charlm.word.vocab import Vocab

__all__ = ["Vocab", "data", "detach", "evaluate", "model", "split_and_load", "to_bundle", "train"]
