"""What people read of a version stands in tags of its own, the rest in one; both are read by their names."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tasks.registry.tags import PROGRAMS, read_tags, stored_tags

NAMES = st.sampled_from(["gate.report", "bundle.fingerprint", "flow_run.id", "gate.decision", "recipe", "domains"])


@given(st.dictionaries(NAMES, st.text()), st.dictionaries(NAMES, st.text()))
def test_tags_are_read_as_they_were_set_and_later_ones_replace_earlier_ones(
    first: dict[str, str], second: dict[str, str]
) -> None:
    stored = stored_tags(first)
    stored |= stored_tags(second, stored)
    assert read_tags(stored) == first | second


def test_what_programs_read_is_one_tag_and_comes_last() -> None:
    stored = stored_tags({"gate.report": "{}", "gate.decision": "promoted", "forward.run_id": "1"})
    assert list(stored) == ["gate.decision", PROGRAMS]
    assert json.loads(stored[PROGRAMS]) == {"gate.report": "{}", "forward.run_id": "1"}


def test_tags_of_older_releases_are_read_one_by_one() -> None:
    older = {"gate.report": "{}", "bundle.fingerprint": "abc", "recipe": "demo"}
    assert read_tags(older) == older
    assert read_tags(older | stored_tags({"gate.report": "new"}, older))["gate.report"] == "new"
