"""The MLflow flavour of a bundle, as code: `predict(["some text"])` gives tokens and their embeddings.

MLflow stores this file beside the bundle and runs it where the model is served, so it needs charlm installed and reads
safetensors and JSON only. It is the one module with an effect on import, which MLflow requires.
"""

from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class BundleModel(PythonModel):
    """Word embeddings of raw text from all directions of a bundle, concatenated."""

    def load_context(self, context: PythonModelContext) -> None:
        from charlm.embeddings import FlairEmbeddings, StackedEmbeddings
        from charlm.language_models.language_model import load_language_models

        models = load_language_models(context.artifacts["bundle"])
        self._embeddings = StackedEmbeddings([FlairEmbeddings(model) for model in models.values()])

    def predict(  # type: ignore[override]  # the signature of the logged model comes from these types
        self, context: PythonModelContext, model_input: list[str]
    ) -> list[dict[str, list[Any]]]:
        """One entry per text: `{"tokens": [...], "embeddings": [[...], ...]}`, in the order of `model_input`."""
        from charlm.data import Sentence

        sentences = [Sentence(text) for text in model_input]
        self._embeddings.embed(sentences)
        return [
            {
                "tokens": [token.text for token in sentence],
                "embeddings": [token.embedding.tolist() for token in sentence],
            }
            for sentence in sentences
        ]


mlflow.models.set_model(BundleModel())
