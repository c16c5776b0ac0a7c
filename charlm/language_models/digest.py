"""What identifies a language model in memory."""

import xxhash

from charlm.language_models.language_model import LanguageModel


def model_digest(model: LanguageModel) -> str:
    """Equal for models that give equal vectors and scores: weights, dictionary, direction and delimiter."""
    facts = f"{model.dictionary.fingerprint} {model.is_forward_lm} {model.document_delimiter!r}"
    digest = xxhash.xxh3_128(facts.encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy())
    return digest.hexdigest()
