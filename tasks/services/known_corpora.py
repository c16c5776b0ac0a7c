"""The corpora of a workspace for the tab key, which waits neither for libraries nor for a network."""

from charlm.artifacts import Workspace
from charlm.errors import ConfigError
from charlm.storage.workspace_address import workspace_folder


def known_corpora(place: str) -> list[str]:
    """The prepared corpora of the workspace at `place`; none where it is not on this machine."""
    try:
        return Workspace(workspace_folder(place)).corpus_names()
    except ConfigError:
        return []
