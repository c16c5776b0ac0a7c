"""Follow the journal of a training run while it is being written.

Reads  runs/RUN/journal.jsonl    (one JSON object a line, keys at least event, time, step, characters)

A resumed run cuts its journal back to the checkpoint and writes the redone work again. A reader then starts at the
first line again; a caller that must not see an event twice keeps the last step of each kind.
"""

import json
from pathlib import Path

from charlm.trainers.events import Event


class JournalReader:
    """Gives each whole line of a growing journal once, and all of them again after a cut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._last_line = b""

    def new_events(self) -> list[Event]:
        """The events written since the last call; a line without its newline is left for the next one."""
        try:
            with self.path.open("rb") as file:
                # A cut journal may have grown past the old end; then the line before the end differs.
                file.seek(self._offset - len(self._last_line))
                if file.read(len(self._last_line)) != self._last_line:
                    self._offset, self._last_line = 0, b""
                    file.seek(0)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        if not whole:
            return []
        lines = whole.splitlines(keepends=True)
        self._offset += len(whole)
        self._last_line = lines[-1]
        events: list[Event] = [json.loads(line) for line in lines if line.strip()]
        return events
