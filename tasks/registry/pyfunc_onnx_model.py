"""The MLflow flavour of an exported pair, as code: the answers of pyfunc_model.py, without torch.

MLflow stores this file beside the export and the library `charlm`, and runs them where the model is served. Graphs and
JSON are all that is read. Like its neighbour it has an effect on import, which MLflow requires.
"""

from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class ExportedModel(PythonModel):
    """Word embeddings of raw text from all directions of an export, concatenated."""

    def load_context(self, context: PythonModelContext) -> None:
        from charlm.runtime import load

        self._embedder = load(context.artifacts["onnx"])

    def predict(  # the signature of the logged model comes from these types
        self, context: PythonModelContext, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """One entry per text: `{"tokens": [...], "embeddings": [[...], ...]}`, in the order of `model_input`.

        `params` makes it smaller: `pooling`, `dtype` and `base64`, as charlm/data/answers.py says.
        """
        from charlm.data.answers import AnswerForm
        from charlm.data.sentence import Sentence
        from charlm.errors import ConfigError

        try:
            form = AnswerForm.from_params(params)
        except ConfigError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        words = [Sentence(text).words for text in model_input]
        return [form.write(*pair) for pair in zip(words, self._embedder.embed(words), strict=True)]


mlflow.models.set_model(ExportedModel())
