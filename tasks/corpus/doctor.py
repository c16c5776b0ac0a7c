"""Examine raw text before it is prepared: what `charlm doctor` shows."""

from collections.abc import Sequence

from charlm.storage.atomic import JsonObject
from charlm.text.doctor import examine
from tasks.terminal import terminal


def examine_text(
    raw: Sequence[str],
    *,
    text_column: str | None = None,
    unit: str | None = None,
    tokenizer: str | None = None,
    near_threshold: float | None = None,
) -> tuple[JsonObject, list[str]]:
    """The doctor's report as JSON, and as lines to read."""
    with terminal.step("read the text") as bar:
        report = examine(
            raw,
            text_column=text_column,
            unit=unit,
            tokenizer=tokenizer,
            near_threshold=near_threshold,
            on_progress=lambda done, total: bar.update(done / max(total, 1)),
        )
        bar.finish("done")
    return report.to_json(), report.to_text()
