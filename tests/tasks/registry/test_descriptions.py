"""The description of a version begins with its result and ends with its settings, and fits what MLflow stores."""

from tasks.registry.descriptions import COLUMN_PADDING, with_result, with_sentence_before
from tasks.services.mlflow_compat import LONGEST_DESCRIPTION

NEW = """\
Not judged yet by the promotion gate; recipe demo, trained from scratch, text of books.

| test text | bits/byte |
| --- | ---: |
| forward | 2.1000 |

## What changed

This is the first version.

## Character language models of books

Licence: MIT

## Intended use

Embeddings.

## Training

| fact | value |
"""
OLD = """\
# Character language models of books

## Scores

| direction | bits/byte |

## What changed

| what | books version 1 |

## Promotion gate

**Refused**: no better.
"""
SENTENCE, RESULT = "Promoted: 1.9000 bits/byte.", "Why: better.\n\n| domain | bits/byte |\n| --- | --- |\n"


def test_the_result_of_the_gate_takes_the_place_of_the_scores_before_it() -> None:
    judged = with_result(NEW, SENTENCE, RESULT)
    assert judged.splitlines()[0] == SENTENCE
    assert "Not judged yet" not in judged
    assert [line for line in judged.splitlines() if line.startswith("## ")] == [
        "## What changed",
        "## Character language models of books",
        "## Intended use",
        "## Training",
    ]
    assert with_result(judged, SENTENCE, RESULT) == judged


def test_a_version_of_an_older_release_gets_the_result_before_its_model_card() -> None:
    judged = with_result(OLD, SENTENCE, RESULT)
    assert judged.splitlines()[0] == SENTENCE
    assert judged.index("Why: better.") < judged.index("# Character language models of books") < judged.index("## Sco")
    assert "## What changed" in judged
    assert "**Refused**: no better." not in judged


def test_what_people_need_least_is_left_out_of_a_text_that_is_too_long() -> None:
    long = NEW.replace("Embeddings.", "Embeddings. " * 400)
    judged = with_result(long, SENTENCE, RESULT)
    assert len(judged) <= LONGEST_DESCRIPTION
    assert "## Intended use" not in judged
    assert "## Training" in judged


def test_the_result_stays_where_it_alone_is_too_long() -> None:
    judged = with_result(NEW, SENTENCE, "Why: " + "x" * 6_000)
    assert judged == f"{SENTENCE}\n"


def test_a_sentence_before_a_full_description_keeps_it_short_enough() -> None:
    full = "x" * LONGEST_DESCRIPTION
    assert with_sentence_before(full, "Rolled back.").startswith("Rolled back. xx")
    assert len(with_sentence_before(full, "Rolled back.")) == LONGEST_DESCRIPTION


def test_tables_keep_the_same_room_however_often_they_are_written() -> None:
    once = with_result(NEW, SENTENCE, RESULT)
    assert once.count(COLUMN_PADDING) == with_result(once, SENTENCE, RESULT).count(COLUMN_PADDING)
