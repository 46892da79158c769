"""A figure in the language of Graphviz."""

from __future__ import annotations

from typing import Final

from .diagram import COLOURS, Arrow, Box, Figure, Form, Mark, arrows, boxes, printable

__all__ = ["to_dot"]

_SHAPES: Final = {
    Form.END: "oval",
    Form.WORK: "box",
    Form.GATE: "cds",
    Form.CHILD: "component",
    Form.CHOICE: "diamond",
    Form.GROUP: "trapezium",
    Form.LOOP: "hexagon",
}


def to_dot(figure: Figure) -> str:
    """Return the text of the graph."""
    lines = [
        f"digraph {_quoted(figure.title)} {{",
        '    node [fontname="sans-serif", style="filled", fillcolor="white"];',
        '    edge [fontname="sans-serif", fontsize=11];',
        *map(_box, boxes(figure.series)),
        *map(_arrow, arrows(figure.series)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _box(box: Box) -> str:
    said = [box.title, box.subtitle, box.paint.note]
    label = "\\n".join(_escape(line) for line in said if line)
    attributes = [f"shape={_SHAPES[box.form]}", f'label="{label}"']
    if box.caption:
        attributes.append(f"tooltip={_quoted(box.caption)}")
    if box.paint.mark is not None:
        fill, line, ink = COLOURS[box.paint.mark]
        attributes.append(f'fillcolor="{fill}", color="{line}", fontcolor="{ink}"')
    if box.paint.mark is Mark.NOT_TAKEN:
        attributes.append('style="filled,dashed"')
    return f"    n{box.number} [{', '.join(attributes)}];"


def _arrow(arrow: Arrow) -> str:
    attributes = [f"label={_quoted(arrow.label)}"] if arrow.label else []
    if arrow.back:
        attributes.append("style=dashed, constraint=false")
    said = f" [{', '.join(attributes)}]" if attributes else ""
    return f"    n{arrow.source.number} -> n{arrow.target.number}{said};"


def _quoted(text: str) -> str:
    return f'"{_escape(text)}"'


def _escape(text: str) -> str:
    # Graphviz reads backslashes as its own escapes, and ampersands as HTML's.
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
