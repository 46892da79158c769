"""A figure as a drawing of its own: SVG that needs no script, no style sheet and nothing from elsewhere.

Looks are attributes, not styles, so that the drawing stands in a page with a strict content-security policy; each box
has a class, and its node's name, for pages that want more. The layout follows the tree: a part is drawn between the
point where the way comes in, at its top, and the point where it goes out, at its bottom, and keeps to its own area.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Final, NamedTuple, TypeAlias

from .diagram import COLOURS, Box, Colours, Figure, Fork, Form, Loop, Mark, Part, Series, Way, printable

__all__ = ["to_svg"]

_GAP: Final = 36.0
_MARGIN: Final = 16.0
_LINE: Final = 15.0
_LETTER: Final = 7.2
_LONGEST: Final = 34
_SPACE: Final = 24.0
_GREY: Final = "#8a8f98"
_WEIGHTS: Final = ('font-weight="600"', 'font-size="11"', 'font-size="11"')
_PLAIN: Final = Colours("#ffffff", "#5f6773", "#1d2129")


class _Area(NamedTuple):
    """What a part needs, and how it is drawn.

    Attributes:
        left: What it needs to the left of the line between its two points.
        right: What it needs to the right.
        height: From point to point.
        draw: Draws it with its upper point at x, y.
    """

    left: float
    right: float
    height: float
    draw: Callable[[float, float], None]

    @property
    def width(self) -> float:
        return self.left + self.right


_Points: TypeAlias = tuple[tuple[float, float], ...]


def to_svg(figure: Figure) -> str:
    """Return the drawing."""
    return _Drawing().render(figure)


@dataclass(frozen=True, slots=True)
class _Face:
    lines: tuple[str, ...]
    width: float
    height: float


class _Drawing:
    def __init__(self) -> None:
        self._under: list[str] = []
        self._over: list[str] = []

    def render(self, figure: Figure) -> str:
        area = self._series(figure.series)
        area.draw(_MARGIN + area.left, _MARGIN)
        width, height = area.width + 2 * _MARGIN, area.height + 2 * _MARGIN
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="perdure-diagram" role="img" width="{width:.0f}"'
            f' height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
            f' font-family="system-ui, sans-serif" font-size="12"><title>{_escape(figure.title)}</title>'
            f"{''.join(self._under)}{''.join(self._over)}</svg>"
        )

    # ---- areas

    def _series(self, series: Series) -> _Area:
        areas = [self._part(part) for part in series.parts]

        def draw(x: float, y: float) -> None:
            for index, area in enumerate(areas):
                if index:
                    self._line(((x, y), (x, y + _GAP)), arrow=True)
                    y += _GAP
                area.draw(x, y)
                y += area.height

        return _Area(
            max((area.left for area in areas), default=0.0),
            max((area.right for area in areas), default=0.0),
            sum(area.height for area in areas) + _GAP * max(0, len(areas) - 1),
            draw,
        )

    def _part(self, part: Part) -> _Area:
        match part:
            case Box():
                return self._single(part)
            case Loop(head, body):
                return self._loop(head, body)
            case Fork(head, ways, tail):
                return self._fork(head, ways, tail)

    def _single(self, box: Box) -> _Area:
        face = _face_of(box)

        def draw(x: float, y: float) -> None:
            self._box(box, face, x, y)

        return _Area(face.width / 2, face.width / 2, face.height, draw)

    def _fork(self, head: Box, ways: tuple[Way, ...], tail: Box | None) -> _Area:
        top, columns = self._single(head), [self._series(way.series) for way in ways]
        bottom = self._single(tail) if tail is not None else _Area(0.0, 0.0, 0.0, lambda x, y: None)
        widths = [
            max(area.width + _SPACE, _width_of(way.label) + _SPACE) for area, way in zip(columns, ways, strict=True)
        ]
        rows, total = max(area.height for area in columns), sum(widths)
        first = top.height + _GAP * 1.4

        def draw(x: float, y: float) -> None:
            top.draw(x, y)
            left, end = x - total / 2, y + first + rows + _GAP
            for area, way, width in zip(columns, ways, widths, strict=True):
                middle = left + (width - area.width) / 2 + area.left
                bend = y + top.height + _GAP * 0.5
                self._line(
                    ((x, y + top.height), (x, bend), (middle, bend), (middle, y + first)),
                    arrow=bool(way.series.parts),
                )
                self._label(way.label, middle, y + first - _GAP * 0.45)
                area.draw(middle, y + first)
                merge = end - _GAP * 0.5
                self._line(
                    ((middle, y + first + area.height), (middle, merge), (x, merge), (x, end)), arrow=tail is not None
                )
                left += width
            bottom.draw(x, end)

        half = max(total / 2, top.left, bottom.left)
        return _Area(half, half, first + rows + _GAP + bottom.height, draw)

    def _loop(self, head: Box, body: Way) -> _Area:
        top, inner = self._single(head), self._series(body.series)
        first = top.height + _GAP
        height = first + inner.height + _GAP
        left, right = max(top.left, inner.left) + _SPACE, max(top.right, inner.right) + _SPACE

        def draw(x: float, y: float) -> None:
            top.draw(x, y)
            middle = y + top.height / 2
            self._line(((x, y + top.height), (x, y + first)), arrow=True)
            self._label(body.label, x + 4, y + first - _GAP * 0.35, anchor="start")
            inner.draw(x, y + first)
            end = y + first + inner.height
            low = end + _GAP * 0.3
            self._line(
                ((x, end), (x, low), (x + right - 8, low), (x + right - 8, middle), (x + top.right, middle)),
                arrow=True,
                dashed=True,
            )
            out = y + height - _GAP * 0.3
            self._line(((x - top.left, middle), (x - left + 8, middle), (x - left + 8, out), (x, out), (x, y + height)))

        return _Area(left, right, height, draw)

    # ---- marks on paper

    def _box(self, box: Box, face: _Face, x: float, y: float) -> None:
        fill, line, ink = _PLAIN if box.paint.mark is None else COLOURS[box.paint.mark]
        dashes = ' stroke-dasharray="4 3"' if box.paint.mark is Mark.NOT_TAKEN else ""
        mark = f" perdure-{box.paint.mark.name.lower().replace('_', '-')}" if box.paint.mark is not None else ""
        told = "\n".join(
            printable(text)
            for text in (box.title, box.subtitle, box.caption, box.paint.mark or "", box.paint.note)
            if text
        )
        name = f' data-node="{_escape(box.name)}"' if box.name else ""
        lines = "".join(
            f'<text x="{x:.1f}" y="{y + 19 + _LINE * index:.1f}" text-anchor="middle" fill="{ink}" {weight}>'
            f"{escape(text)}</text>"
            for index, (text, weight) in enumerate(zip(face.lines, _WEIGHTS, strict=False))
        )
        self._over.append(
            f'<g class="perdure-box perdure-{box.form}{mark}"{name}><title>{escape(told)}</title>'
            f'{_outline(box.form, x, y, face)} fill="{fill}" stroke="{line}"{dashes}/>{lines}</g>'
        )

    def _line(self, points: _Points, *, arrow: bool = False, dashed: bool = False) -> None:
        path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._under.append(f'<path d="{path}" fill="none" stroke="{_GREY}"{dashes}/>')
        if arrow:
            (before_x, _), (x, y) = points[-2:]
            tip = (
                f"{x + 7:.1f},{y - 4:.1f} {x:.1f},{y:.1f} {x + 7:.1f},{y + 4:.1f}"
                if before_x > x
                else f"{x - 4:.1f},{y - 7:.1f} {x:.1f},{y:.1f} {x + 4:.1f},{y - 7:.1f}"
            )
            self._under.append(f'<polygon points="{tip}" fill="{_GREY}"/>')

    def _label(self, text: str, x: float, y: float, *, anchor: str = "middle") -> None:
        if text:
            self._over.append(
                f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" fill="{_GREY}"'
                f' stroke="#ffffff" stroke-width="3" paint-order="stroke">{escape(_shortened(text))}</text>'
            )


def _outline(form: Form, x: float, y: float, face: _Face) -> str:
    """Return the beginning of the element that draws a box's edge, its middle at x and its top at y."""
    left, right, bottom, middle = x - face.width / 2, x + face.width / 2, y + face.height, y + face.height / 2
    match form:
        case Form.CHOICE | Form.LOOP:
            corners = [(left, middle), (left + 12, y), (right - 12, y)]
            corners += [(right, middle), (right - 12, bottom), (left + 12, bottom)]
        case Form.GATE:
            corners = [(left, y), (right - 10, y), (right, middle), (right - 10, bottom), (left, bottom)]
        case _:
            radius = {Form.END: face.height / 2, Form.GROUP: 0.0}.get(form, 5.0)
            double = ' stroke-width="2.5"' if form is Form.CHILD else ""
            size = f'width="{face.width:.1f}" height="{face.height:.1f}" rx="{radius:.1f}"'
            return f'<rect x="{left:.1f}" y="{y:.1f}" {size}{double}'
    return f'<polygon points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in corners)}"'


def _face_of(box: Box) -> _Face:
    if box.form is Form.GROUP and not box.title:
        return _Face((), 60.0, 6.0)
    lines = tuple(_shortened(text) for text in (box.title, box.subtitle, box.paint.note) if text)
    return _Face(lines, max(90.0, *(_width_of(line) + 36 for line in lines)), 14 + _LINE * len(lines))


def _width_of(text: str) -> float:
    return _LETTER * sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in _shortened(text))


def _shortened(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _escape(text: str) -> str:
    return escape(printable(text))
