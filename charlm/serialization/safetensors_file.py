"""Read and write our own model format: weights as safetensors, settings as JSON.

Reads and writes model.safetensors, config.json. The dictionary lies in the folder above, once for both directions.
"""

import json
from pathlib import Path

from charlm.artifacts import BundleFiles
from charlm.config.language_model import LanguageModelConfig
from charlm.data.dictionary import Dictionary
from charlm.errors import ModelFileError
from charlm.serialization.state import LanguageModelState
from charlm.storage.atomic import atomic_write, write_json
from charlm.storage.torch_file import errors_name

_CONFIG_FORMAT = "charlm.language_model/1"


def write_safetensors(state: LanguageModelState, folder: Path | str) -> None:
    """Write `model.safetensors` and `config.json` into `folder`."""
    from safetensors.torch import save

    files = BundleFiles(Path(folder).parent)
    direction = Path(folder).name
    with atomic_write(files.model(direction)) as file:
        file.write(save({name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}))
    settings = {"format": _CONFIG_FORMAT, "dictionary": state.dictionary.fingerprint, **state.config.to_json()}
    write_json(files.config(direction), settings)


def read_safetensors(folder: Path | str, dictionary: Dictionary | None = None) -> LanguageModelState:
    """The language model in `folder`, with the dictionary given or found in the folder above.

    Raises ModelFileError, one line that names the file, when a file is missing, damaged or does not fit the others.
    """
    from safetensors.torch import load_file

    files = BundleFiles(Path(folder).parent)
    config_path, model_path = files.config(Path(folder).name), files.model(Path(folder).name)
    if dictionary is None:
        dictionary = Dictionary.load_from_file(files.dictionary)
    settings = read_settings(config_path, _CONFIG_FORMAT)
    if settings.pop("dictionary", None) != dictionary.fingerprint:
        raise ModelFileError(f"{config_path} was written with another dictionary than {files.dictionary}")
    with errors_name(config_path):
        config = LanguageModelConfig.from_json(settings)
    with errors_name(model_path):
        tensors = {name: tensor.float() for name, tensor in load_file(model_path).items()}
        return LanguageModelState(config, dictionary, tensors)


def read_settings(path: Path, expected_format: str) -> dict[str, object]:
    """The JSON object in `path` less its `format`, which must be the expected one."""
    try:
        settings = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged ({error})") from error
    if not isinstance(settings, dict) or settings.pop("format", None) != expected_format:
        raise ModelFileError(f"{path} has no format {expected_format!r}; a newer charlm may have written it")
    return settings
