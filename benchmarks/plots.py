"""Plots as SVG, written by hand: a few bars and lines need no library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["bars", "lines"]

_WIDTH = 720
_COLOURS = ("#2a6f97", "#8d99ae", "#bc6c25", "#6a994e", "#9d4edd", "#d62828", "#495057")
_STYLE = (
    "<style>text{font:13px sans-serif;fill:#333}.t{font-weight:bold;font-size:15px}.s{fill:#777;font-size:12px}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.s{fill:#aaa}}</style>"
)


def bars(title: str, subtitle: str, values: Mapping[str, float]) -> str:
    """Return horizontal bars on a logarithmic scale, longest value first."""
    ordered = sorted(values.items(), key=lambda item: -item[1])
    low = 10 ** math.floor(math.log10(min(values.values()) * 0.9))
    high = max(values.values())

    def length(value: float) -> float:
        return 440 * math.log(value / low) / math.log(high / low) if high > low else 440

    parts = [_heading(title, subtitle)]
    for number, (name, value) in enumerate(ordered):
        top = 60 + 28 * number
        colour = _COLOURS[0] if name == "perdure" else _COLOURS[1]
        parts.append(f'<text x="150" y="{top + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="160" y="{top}" width="{length(value):.1f}" height="20" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{168 + length(value):.1f}" y="{top + 15}">{_number(value)}</text>')
    return _picture(parts, 70 + 28 * len(ordered))


def lines(title: str, subtitle: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return lines over a logarithmic x-axis and a y-axis that begins at zero."""
    points = [point for line in series.values() for point in line]
    left, right = (math.log(bound([x for x, _ in points])) for bound in (min, max))
    top = max(y for _, y in points) * 1.15

    def place(x: float, y: float) -> tuple[float, float]:
        return 70 + 480 * (math.log(x) - left) / ((right - left) or 1), 290 - 220 * y / top

    parts = [_heading(title, subtitle)]
    for share in (0, 0.25, 0.5, 0.75, 1):
        _, y = place(math.exp(left), top * share)
        parts.append(f'<line x1="70" x2="560" y1="{y:.1f}" y2="{y:.1f}" stroke="#9994" />')
        parts.append(f'<text class="s" x="62" y="{y + 4:.1f}" text-anchor="end">{_number(top * share)}</text>')
    for x in sorted({x for x, _ in points}):
        across, _ = place(x, 0)
        parts.append(f'<text class="s" x="{across:.1f}" y="308" text-anchor="middle">{x:,.0f}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        placed = [place(x, y) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed)
        parts.append(f'<rect x="580" y="{71 + 22 * number}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="598" y="{82 + 22 * number}">{escape(name)}</text>')
    return _picture(parts, 325)


def _heading(title: str, subtitle: str) -> str:
    return (
        f'<text class="t" x="10" y="22">{escape(title)}</text><text class="s" x="10" y="42">{escape(subtitle)}</text>'
    )


def _picture(parts: Sequence[str], height: int) -> str:
    body = "\n".join(parts)
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">{_STYLE}\n{body}\n</svg>\n'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
