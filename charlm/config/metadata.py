"""What a text does not say of itself, for cards and registry: the licence of the models that learn it, its languages.

Licences are ids of SPDX (https://spdx.org/licenses) or of the Hugging Face Hub, which has a few more; languages are BCP
47 tags (RFC 5646), of which the Hub sorts models by the first part.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from charlm.config.json_config import JsonConfig
from charlm.errors import ConfigError, how_to_install

# What the Hub takes as a licence, besides `other`; it refuses a card with any else.
_HUB_LICENCES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
openrail++ afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0
cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0
cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1
lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr
deepfloyd-if-license llama2 gemma unknown
"""
_HUB_SPELLINGS = {"odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl", "lgpllr": "lgpl-lr"}
_OWN_LICENCE = "LicenseRef-"  # what SPDX writes before the name of a licence that it does not list

# ISO 639-1, to which nothing is added any more. Of three letters there are thousands of codes, and any is taken.
_TWO_LETTERS = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es
et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj
kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv
ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th
ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
_SPECIAL_LANGUAGES = ("code", "multilingual")  # the Hub's own words
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:-([a-z]{4}))?(?:-([a-z]{2}|\d{3}))?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class CorpusMetadata(JsonConfig):
    """The licence of the models of a corpus, and the languages of its text; none means what is known already."""

    licence: str | None = None
    """Licence of the models that are trained on the corpus: an id of SPDX or the Hub, or LicenseRef-NAME."""

    languages: tuple[str, ...] = ()
    """Languages of the text: BCP 47 tags such as en, de-AT or sr-Latn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.licence is not None:
            object.__setattr__(self, "licence", licence_id(self.licence))
        object.__setattr__(self, "languages", tuple(dict.fromkeys(map(language_tag, self.languages))))


def licence_id(text: str) -> str:
    """A licence's id as SPDX or the Hub spells it: `"cc-by-4.0" -> "CC-BY-4.0"`; raises ConfigError for other text."""
    if find_spec("packaging") is None:
        raise ConfigError(f"the list of licences needs the package packaging; {how_to_install('pipeline')}")
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        if text.lower() in _HUB_LICENCES.split():
            return text.lower()
    raise ConfigError(
        f"a licence is an id of SPDX or the Hugging Face Hub such as CC-BY-SA-4.0, or {_OWN_LICENCE}NAME for one of"
        f" your own; got {text!r}"
    )


def hub_licence(licence: str | None) -> tuple[str | None, str | None]:
    """A licence as the Hub has it: an id of its list, or `other` and the name; cards of old have any text."""
    if not licence:
        return None, None
    known = re.sub("-(only|or-later)$", "", licence.lower())
    known = _HUB_SPELLINGS.get(known, known)
    return (known, None) if known in _HUB_LICENCES.split() else ("other", licence.removeprefix(_OWN_LICENCE))


def language_tag(text: str) -> str:
    """A language as BCP 47 spells it: `"SR-latn" -> "sr-Latn"`; raises ConfigError for what is no language."""
    match = _LANGUAGE.fullmatch(text)
    if match is None or (len(match[1]) == 2 and match[1].lower() not in _TWO_LETTERS.split()):
        if text in _SPECIAL_LANGUAGES:
            return text
        raise ConfigError(
            f"a language is a code of ISO 639 such as en or gsw, with script or region if need be (sr-Latn, de-AT), or"
            f" {' or '.join(_SPECIAL_LANGUAGES)}; got {text!r}"
        )
    language, script, region = match.groups(default="")
    return "-".join(filter(None, (language.lower(), script.title(), region.upper())))


def hub_languages(languages: Iterable[str]) -> list[str]:
    """The codes of ISO 639 that the Hub sorts models by: `["sr-Latn", "sr-Cyrl"] -> ["sr"]`."""
    return list(dict.fromkeys(tag.partition("-")[0] for tag in languages))
