"""Text of the user inside Markdown: names, labels and words appear as they are written.

As CommonMark with tables has it, which MLflow, Prefect, GitHub and the Hugging Face hub draw.
"""

import re

_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def escape(text: object) -> str:
    """`text` as Markdown that shows exactly it: `"a|b *c* <d>" -> "a\\|b \\*c\\* &lt;d&gt;"`."""
    line = _MARKUP.sub(r"\\\g<0>", one_line(text))
    return re.sub("[&<>]", lambda match: _ENTITIES[match[0]], line)


def code(text: object, *, in_table: bool = False) -> str:
    """`text` as code: between more backticks than it holds in a row."""
    line = one_line(text)
    if in_table:
        line = line.replace("|", "\\|")
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest or not line.strip() else f"{fence}{line}{fence}"


def one_line(text: object) -> str:
    """`text` without line ends and other invisible characters."""
    return _UNSEEN.sub(" ", str(text))
