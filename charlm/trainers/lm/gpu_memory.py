"""How much memory of a GPU a training needs, by arithmetic: to plan with, before anything is allocated."""

# W = weights, U = units of a step in one process, E = embedding size, H = hidden size, V = dictionary size

from charlm.config import TrainingConfig

_BYTES_PER_WEIGHT = 4 + 4 + 8 + 2 + 4
"""Weight, gradient, both means of AdamW, the copy in fp16, and the largest gradient that is clipped."""

_LSTM_VALUES = 4 + 4
"""Of each unit: gates, cell and state, and as much again while the gradients are computed."""

_BYTES_PER_LOGIT = 2 + 4 + 4 + 2
_LOGITS_AT_ONCE = 1 << 24
"""Of a softmax that shares its weights (nn/softmax.py)."""
_MOST_LOGITS = 1 << 28
"""Of a linear decoder (language_models/decoding.py)."""

_FIXED = 1_200_000_000
"""The CUDA context, cuDNN and cuBLAS with their workspaces, and the ids of two shards."""


def gpu_bytes(config: TrainingConfig, dictionary_size: int, *, num_processes: int = 1) -> int:
    """About the memory that each process of a training needs on its GPU, rather too much than too little."""
    embedding, hidden, size = config.embedding_size, config.hidden_size, dictionary_size
    inner = 2 * hidden * (config.nlayers - 1)
    decoder = size if config.tie_weights else size * (hidden + 1)
    weights = size * embedding + 4 * hidden * (embedding + hidden + 2) + 4 * hidden * inner + decoder
    units = config.sequence_length * config.mini_batch_size // num_processes
    embedded = 3 * embedding * 4
    states = config.nlayers * _LSTM_VALUES * hidden * 4 + 3 * hidden * 4
    logits = min(units * size, _LOGITS_AT_ONCE if config.tie_weights else _MOST_LOGITS)
    return _FIXED + _BYTES_PER_WEIGHT * weights + units * (embedded + states) + _BYTES_PER_LOGIT * logits
