"""The MLflow flavour of a tagger or classifier, as code: `predict(["I love Berlin"])` gives its labels.

Like tasks/registry/pyfunc_model.py, it is stored with the model and the library, and sets the model on import, because
MLflow requires it.
"""

from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class LabellingModel(PythonModel):
    """Labels raw text with the model file that was logged."""

    def load_context(self, context: PythonModelContext) -> None:
        from charlm.models import DownstreamModel

        self._model = DownstreamModel.load(context.artifacts["model"])

    def predict(  # type: ignore[override]  # the signature of the logged model comes from these types
        self, context: PythonModelContext, model_input: list[str]
    ) -> list[dict[str, list[Any]]]:
        """One entry per text: `{"tokens": [...], "labels": [{"text", "start", "end", "value", "confidence"}, ...]}`."""
        from charlm.trainers.downstream.build import prediction_json

        sentences = [self._model.sentence(text) for text in model_input]
        self._model.predict(sentences)
        predictions: list[Any] = [prediction_json(sentence, self._model.label_type) for sentence in sentences]
        return predictions


mlflow.models.set_model(LabellingModel())
