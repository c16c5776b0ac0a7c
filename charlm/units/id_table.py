"""The ids of items that are single code points or bytes, as an array with an entry for each."""

from collections.abc import Sequence

import numpy as np


class IdTable:
    """Id of every code point (or byte) up to the highest known one, and 0 for all others.

    Attributes:
        ids: the table, with a last entry 0 for everything above; in `id_type`.
    """

    def __init__(self, items: Sequence[str], id_type: np.dtype[np.unsignedinteger]) -> None:
        known = {ord(text): idx for idx, text in enumerate(items) if len(text) == 1}
        self.ids = np.zeros(max(known, default=0) + 2, dtype=id_type)
        for code_point, idx in known.items():
            self.ids[code_point] = idx

    def look_up(self, code_points: np.ndarray) -> np.ndarray:
        """The ids of unsigned integers, of any shape."""
        return np.take(self.ids, code_points, mode="clip")
