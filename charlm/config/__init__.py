"""The settings of every step. `__post_init__` checks what a user can get wrong.

Named sets of training settings are in recipes.py.
"""

from charlm.config.baseline import BaselineConfig
from charlm.config.downstream import DownstreamConfig, DownstreamTrainingConfig, StorageMode
from charlm.config.finetuning import DictionaryChange
from charlm.config.json_config import JsonConfig, with_settings
from charlm.config.metadata import CorpusMetadata
from charlm.config.nodes import ONE_NODE, NodesConfig
from charlm.config.promotion import DriftConfig, GateConfig
from charlm.config.scoring import CacheConfig, ScoreBounds
from charlm.config.serving import check_runtime
from charlm.config.text import (
    AUTO,
    NEAR_THRESHOLD,
    BadBytes,
    DictionaryConfig,
    DocumentMode,
    ReadConfig,
    SplitConfig,
    UnitName,
    codec_name,
    parse_size,
)
from charlm.config.training import (
    ARCHITECTURE,
    DEVICE_VARIABLE,
    HELD_OUT_VARIABLE,
    RunConfig,
    TrainingConfig,
    check_device_name,
    check_held_out_limit,
    parse_directions,
)

__all__ = [
    "ARCHITECTURE",
    "AUTO",
    "DEVICE_VARIABLE",
    "HELD_OUT_VARIABLE",
    "NEAR_THRESHOLD",
    "ONE_NODE",
    "BadBytes",
    "BaselineConfig",
    "CacheConfig",
    "CorpusMetadata",
    "DictionaryChange",
    "DictionaryConfig",
    "DocumentMode",
    "DownstreamConfig",
    "DownstreamTrainingConfig",
    "DriftConfig",
    "GateConfig",
    "JsonConfig",
    "NodesConfig",
    "ReadConfig",
    "RunConfig",
    "ScoreBounds",
    "SplitConfig",
    "StorageMode",
    "TrainingConfig",
    "UnitName",
    "check_device_name",
    "check_held_out_limit",
    "check_runtime",
    "codec_name",
    "parse_directions",
    "parse_size",
    "with_settings",
]
