"""Licences and languages: what is taken, how it is spelled, and how the Hugging Face Hub has it."""

import pytest

from charlm.config.metadata import CorpusMetadata, hub_languages, hub_licence, language_tag, licence_id
from charlm.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "spelled", "on_the_hub"),
    [
        ("cc-by-4.0", "CC-BY-4.0", ("cc-by-4.0", None)),
        ("mit", "MIT", ("mit", None)),
        ("OpenRAIL", "openrail", ("openrail", None)),
        ("GPL-3.0-or-later", "GPL-3.0-or-later", ("gpl-3.0", None)),
        ("odbl-1.0", "ODbL-1.0", ("odbl", None)),
        ("cc-by-nd-3.0", "CC-BY-ND-3.0", ("other", "CC-BY-ND-3.0")),
        ("mit or apache-2.0", "MIT OR Apache-2.0", ("other", "MIT OR Apache-2.0")),
        ("LicenseRef-Ours", "LicenseRef-Ours", ("other", "Ours")),
    ],
)
def test_a_licence_is_an_id_of_spdx_or_of_the_hub(given, spelled, on_the_hub):
    assert licence_id(given) == spelled
    assert hub_licence(spelled) == on_the_hub


@pytest.mark.parametrize("given", ["", "CC BY 4.0", "proprietary", "other", "MIT OR"])
def test_another_licence_is_refused(given):
    with pytest.raises(ConfigError, match=r"an id of SPDX or the Hugging Face Hub such as CC-BY-SA-4\.0.*; got "):
        licence_id(given)


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("EN", "en"),
        ("gsw", "gsw"),
        ("SR-latn", "sr-Latn"),
        ("de-at", "de-AT"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("code", "code"),
    ],
)
def test_a_language_is_a_bcp_47_tag(given, spelled):
    assert language_tag(given) == spelled


@pytest.mark.parametrize("given", ["", "english", "jp", "cz", "en_US", "en-", "d", "en\n", "ſr"])
def test_what_is_no_language_is_refused(given):
    with pytest.raises(ConfigError, match="a language is a code of ISO 639 such as en"):
        language_tag(given)


def test_a_language_counts_once():
    assert CorpusMetadata(languages=("en", "EN", "sr-Latn", "sr-Cyrl")).languages == ("en", "sr-Latn", "sr-Cyrl")
    assert hub_languages(["en", "sr-Latn", "sr-Cyrl"]) == ["en", "sr"]
