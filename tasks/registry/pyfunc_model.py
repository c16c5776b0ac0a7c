"""The MLflow flavour of a bundle, as code: `predict(["some text"])` gives tokens and their embeddings.

MLflow stores this file beside the bundle, with the library `charlm` as it was then, and runs both where the model is
served: charlm need not be installed there. Safetensors and JSON are all that is read. It is the one module with an
effect on import, which MLflow requires.
"""

from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class BundleModel(PythonModel):
    """Word embeddings of raw text from all directions of a bundle, concatenated."""

    def load_context(self, context: PythonModelContext) -> None:
        from charlm.embeddings import StackedEmbeddings
        from charlm.embeddings.of_model import embeddings_of
        from charlm.language_models.language_model import load_language_models
        from charlm.nn.device import find_device

        models = [model.to(find_device()) for model in load_language_models(context.artifacts["bundle"]).values()]
        self._embeddings = StackedEmbeddings([embeddings_of(model) for model in models])

    def predict(  # the signature of the logged model comes from these types
        self, context: PythonModelContext, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """One entry per text: `{"tokens": [...], "embeddings": [[...], ...]}`, in the order of `model_input`.

        `params` makes it smaller: `pooling`, `dtype` and `base64`, as charlm/embeddings/answers.py says.
        """
        from charlm.data.answers import AnswerForm
        from charlm.embeddings.answers import answer
        from charlm.errors import ConfigError

        try:
            form = AnswerForm.from_params(params)
        except ConfigError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        return answer(model_input, self._embeddings, form)


mlflow.models.set_model(BundleModel())
