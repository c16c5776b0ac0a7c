"""What to do about raw text: settings that suit it, and what is wrong with it."""

from collections.abc import Mapping
from operator import itemgetter

from charlm.config import SplitConfig
from charlm.text.doctor_report import DoctorReport, NearReport, SourceReport, Suggestion

_CLEAR_MAJORITY = 0.95
_MANY_DUPLICATES = 0.01
_WORTH_TELLING = 0.001
_MOST_SOURCES_SHOWN = 5
_NOISY_HELD_OUT_CHARACTERS = 20_000


def suggest_settings(report: DoctorReport, *, modes: Mapping[str, int], is_normalized: bool) -> list[Suggestion]:
    """Settings of `prepare` that suit the text, and why; `modes` are documents by what a document is."""
    mode, number = max(modes.items(), key=itemgetter(1))
    share = number / report.documents.number
    suggestions = [Suggestion("document", mode, f"{share:.0%} of the documents are {mode}s")]
    if mode == "record" or share < _CLEAR_MAJORITY:
        reason = "each record is a document" if mode == "record" else "the sources differ in what a document is"
        suggestions = [Suggestion("document", "auto", reason)]
    suggestions += _suggest_unit(report)
    shard_size = suggest_shard_size(report.bytes)
    shards = max(1, round(report.bytes / shard_size))
    reason = f"bytes, which makes about {shards} shard{'' if shards == 1 else 's'}"
    suggestions.append(Suggestion("shard_size", shard_size, reason))
    held_out = report.characters * SplitConfig().valid_share
    if held_out < _NOISY_HELD_OUT_CHARACTERS:
        share = round(min(0.1, _NOISY_HELD_OUT_CHARACTERS / report.characters), 2)
        reason = f"at the default {SplitConfig().valid_share:.0%} scores of so little text would be noisy"
        suggestions += [Suggestion(name, share, reason) for name in ("valid_share", "test_share")]
    if not is_normalized and report.words is None:  # words are in NFC anyway
        suggestions.append(Suggestion("normalization", "NFC", "equal letters get one id"))
    if report.duplicates > _MANY_DUPLICATES * report.documents.number and mode != "line":
        repeated = report.duplicates / report.documents.number
        suggestions.append(Suggestion("deduplicate", True, f"{repeated:.1%} of the documents repeat an earlier one"))
    if any(source.first_bad_byte for source in report.sources):
        suggestions.append(Suggestion("bad_bytes", "replace", "some bytes are not UTF-8; see below"))
    return suggestions


def _suggest_unit(report: DoctorReport) -> list[Suggestion]:
    if report.words is not None:
        tokenizer = report.words.tokenizer
        return [
            Suggestion("unit", "word", "the text was examined as words"),
            Suggestion("tokenizer", tokenizer, "with this tokenizer"),
        ]
    # A dictionary below 256 items costs nothing to complete; beyond, rare characters cost a row of weights each.
    if report.distinct_characters < 255:
        return [Suggestion("coverage", 1.0, f"all {report.distinct_characters} characters are cheap to know")]
    return [Suggestion("coverage", 0.9999, "rarer characters would cost a row of weights each")]


def suggest_shard_size(num_bytes: int) -> int:
    """About twenty shards, in a round number of bytes between 100 kB and 50 MB."""
    size = min(max(num_bytes // 20, 100_000), 50_000_000)
    step = int("1" + "0" * (len(str(size)) - 1))
    return size // step * step


def advise(report: DoctorReport, *, modes: Mapping[str, int], is_normalized: bool, num_columned: int) -> list[str]:
    """What to know or do about the text, one line each; `num_columned` lines have a tab in them."""
    advice = _advise_on_sources(report.sources)
    if report.replacement_characters:
        advice.append(
            f"{report.replacement_characters:,} replacement characters (U+FFFD) in the text: "
            f"an earlier program decoded it wrongly"
        )
    if report.carriage_returns and not any(source.has_only_returns for source in report.sources):
        advice.append(f"{report.carriage_returns:,} carriage returns: \\r\\n becomes \\n, a lone \\r stays in the text")
    suspects = {name: number for name, number in report.suspects.items() if name != "\\r"}
    if suspects:
        shown = ", ".join(f"{name} {number:,} times" for name, number in list(suspects.items())[:5])
        advice.append(f"invisible or unassigned characters: {shown}")
    if not is_normalized and report.words is None:
        advice.append(
            "some characters are not in Unicode form NFC: equal letters would get two ids; --normalization NFC"
        )
    if (share := report.duplicates / report.documents.number) > _WORTH_TELLING:
        advice.append(
            f"{report.duplicates:,} of {report.documents.number:,} documents ({share:.1%}) repeat an earlier one; "
            f"--deduplicate leaves them out"
        )
    for role, number in report.leaks.items():
        if number:
            advice.append(
                f"documents of the {role} file that are in the train file too: {number:,}; its score will be too good"
            )
    if report.near is not None:
        advice += _advise_on_near(report.near, report)
    if num_columned > 0.5 * report.lines.number:
        advice.append("most lines are columns between tabs: this looks like a table or annotated data, not text")
    elif report.letters < 0.6:
        advice.append(f"only {report.letters:.0%} of the visible characters are letters: is this text?")
    if "valid_share" in report.settings:
        advice.append(
            f"{report.characters:,} characters are little: at the default 2% the held-out scores would be noisy; "
            f"--valid-share {report.settings['valid_share']} --test-share {report.settings['test_share']}"
        )
    if report.lines.longest > 100_000:
        advice.append(f"the longest line has {report.lines.longest:,} characters; training shuffles by line")
    if max(modes.values()) < _CLEAR_MAJORITY * report.documents.number:
        advice.append("the sources differ in what a document is; --document settles it for all")
    return advice


def _advise_on_near(near: NearReport, report: DoctorReport) -> list[str]:
    advice = [
        f"documents of the {role} file with a near copy in the train file: {number:,}; its score will be too good"
        for role, number in near.leaks.items()
        if number > report.leaks.get(role, 0)
    ]
    share = near.documents / report.documents.number
    if near.documents > report.duplicates and share > _WORTH_TELLING:
        advice.append(f"{near.documents:,} documents ({share:.1%}) are nearly an earlier one; --deduplicate near")
    return advice


def _advise_on_sources(sources: list[SourceReport]) -> list[str]:
    advice = [source.problem for source in sources if source.problem]
    for source in sources:
        if (bad := source.first_bad_byte) is not None:
            remedy = "convert the file (it may be Latin-1 or Windows-1252), or choose --bad-bytes replace or skip"
            if source.likely_encoding is not None:
                remedy = f"it may be {source.likely_encoding}: look, then name its --encoding"
            advice.append(f"{source.name}, line {bad.line}, byte {bad.byte}: {bad.complaint}; {remedy}")
        if source.encoding == "UTF-8 with byte order mark":
            advice.append(f"{source.name} begins with a byte order mark, which is left out")
    num_more = len(advice) - _MOST_SOURCES_SHOWN
    return advice if num_more <= 0 else [*advice[:_MOST_SOURCES_SHOWN], f"{num_more} more findings of this kind"]
