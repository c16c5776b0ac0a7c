"""Labelled spans of sentences as a page of HTML.

The page needs nothing but a browser: every span is marked in the colour of its label, with the label behind it.
"""

from collections.abc import Iterable, Mapping
from html import escape

from charlm.data.sentence import Sentence

COLORS = {
    "PER": "#F7FF53",
    "ORG": "#E8902E",
    "LOC": "#FF40A3",
    "MISC": "#4647EB",
    "O": "#ddd",
}
"""Colours of the labels of CoNLL-2003; other labels get `default_color`."""

TAGGED_ENTITY = (
    '<mark class="entity" style="background: {color}; padding: 0.2em 0.4em; border-radius: 0.3em">'
    '{entity} <span style="font-size: 0.75em; font-weight: bold">{label}</span></mark>'
)
PARAGRAPH = '<p style="line-height: 2">{sentence}</p>'
HTML_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body style="font-family: sans-serif; margin: 3em">
{text}
</body>
</html>
"""


def render_ner_html(
    sentences: Sentence | Iterable[Sentence],
    title: str = "charlm",
    colors: Mapping[str, str] = COLORS,
    default_color: str = "#ddd",
    wrap_page: bool = True,
    label_name: str = "ner",
) -> str:
    """The sentences with their spans marked: a whole page, or its paragraphs alone without `wrap_page`.

    Args:
        sentences: one or several.
        title: of the page.
        colors: of labels, as CSS writes them.
        default_color: of all other labels.
        wrap_page: whether the page's head and body come with it.
        label_name: the layer of labels that is shown.
    """
    sentences = [sentences] if isinstance(sentences, Sentence) else list(sentences)
    body = "\n".join(
        PARAGRAPH.format(sentence=_marked(sentence, label_name, colors, default_color)) for sentence in sentences
    )
    return HTML_PAGE.format(title=escape(title), text=body) if wrap_page else body


def _marked(sentence: Sentence, label_name: str, colors: Mapping[str, str], default_color: str) -> str:
    text, parts, done = sentence.text, [], 0
    for span in sentence.get_spans(label_name):
        if span.start_position < done:  # of overlapping spans the first one is marked
            continue
        label = span.get_label(label_name).value
        parts.append(escape(text[done : span.start_position]))
        color = colors.get(label, default_color)
        parts.append(TAGGED_ENTITY.format(color=escape(color), entity=escape(span.text), label=escape(label)))
        done = span.end_position
    return "".join(parts) + escape(text[done:])
