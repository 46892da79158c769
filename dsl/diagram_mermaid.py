"""A figure as a Mermaid flowchart, which GitHub, GitLab and most documentation tools draw.

Labels hold what users wrote: every character that could mean anything to Mermaid, or to the page around it, is
written as its code.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from .diagram import COLOURS, Arrow, Box, Figure, Form, Mark, arrows, boxes, printable

__all__ = ["to_mermaid"]

_BRACKETS: Final = {
    Form.END: ("([", "])"),
    Form.WORK: ("[", "]"),
    Form.GATE: (">", "]"),
    Form.CHILD: ("[[", "]]"),
    Form.CHOICE: ("{", "}"),
    Form.GROUP: ("[/", "\\]"),
    Form.LOOP: ("{{", "}}"),
}
_HARMLESS: Final = frozenset(" .,-_")


def to_mermaid(figure: Figure) -> str:
    """Return the text of the chart."""
    lines = ["flowchart TD", *map(_box, boxes(figure.series)), *map(_arrow, arrows(figure.series))]
    marked: defaultdict[Mark, list[str]] = defaultdict(list)
    for box in boxes(figure.series):
        if box.paint.mark is not None:
            marked[box.paint.mark].append(f"n{box.number}")
    for mark, names in marked.items():
        fill, line, ink = COLOURS[mark]
        dashes = ",stroke-dasharray:4 3" if mark is Mark.NOT_TAKEN else ""
        lines.append(f"    classDef {_class(mark)} fill:{fill},stroke:{line},color:{ink}{dashes}")
        lines.append(f"    class {','.join(names)} {_class(mark)}")
    return "\n".join(lines) + "\n"


def _box(box: Box) -> str:
    begin, end = _BRACKETS[box.form]
    said = [box.title, box.subtitle, box.paint.note]
    text = "<br/>".join(_escape(line) for line in said if line) or "&nbsp;"
    return f'    n{box.number}{begin}"{text}"{end}'


def _arrow(arrow: Arrow) -> str:
    line = "-.->" if arrow.back else "-->"
    label = f'|"{_escape(arrow.label)}"|' if arrow.label else ""
    return f"    n{arrow.source.number} {line}{label} n{arrow.target.number}"


def _class(mark: Mark) -> str:
    return mark.name.lower()


def _escape(text: str) -> str:
    return "".join(char if char.isalnum() or char in _HARMLESS else f"#{ord(char)};" for char in printable(text))
