"""What the commands print: texts that cannot harm a terminal, values as JSON, times as people read them.

Everything that comes out of a database was written by somebody else: it goes through `plain` or `clean`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, Final

import click
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ..dsl.diagram import printable
from ..dsl.facts import ErrorRecord

__all__ = [
    "STYLES",
    "clean",
    "console",
    "error_data",
    "print_json",
    "print_line",
    "print_table",
    "shorten",
    "span",
    "value_text",
    "when",
]

STYLES: Final = {
    "completed": "green",
    "running": "blue",
    "retrying": "blue",
    "waiting": "yellow",
    "failed": "red",
    "timed_out": "red",
    "interrupted": "magenta",
    "compensating": "magenta",
    "undone": "magenta",
    "cancelled": "magenta",
    "quarantined": "bold red",
    "paused": "cyan",
    "parked": "yellow",
    "skipped": "cyan",
    "alive": "green",
    "error": "red",
    "warning": "yellow",
    "note": "cyan",
}
_LONGEST: Final = 100


def console(*, stderr: bool = False) -> Console:
    """Return where to print to: colours and bars on a terminal, plain text elsewhere."""
    return Console(highlight=False, soft_wrap=True, stderr=stderr)


def print_line(*pieces: tuple[str, str] | str) -> None:
    """Print a line of pieces, each a text or a text with its style."""
    line = Text()
    for piece in pieces:
        text, style = (piece, "") if isinstance(piece, str) else piece
        line.append(clean(text), style)
    line.rstrip()
    console().print(line)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[tuple[str, str] | str]]) -> None:
    """Print rows under their titles, each column as wide as it needs to be; a cell is like a piece of a line."""
    cells = [[(title, "bold") for title in titles]]
    cells += [[(cell, "") if isinstance(cell, str) else cell for cell in row] for row in rows]
    cells = [[(clean(text), style) for text, style in row] for row in cells]
    widths = [max(cell_len(row[column][0]) for row in cells) for column in range(len(titles))]
    for row in cells:
        line = Text()
        for (text, style), width in zip(row, widths, strict=True):
            line.append(text, style).append(" " * (width - cell_len(text) + 2))
        line.rstrip()
        console().print(line)


def clean(text: str) -> str:
    """Return the text with nothing in it that a terminal would obey."""
    return printable(text)


def shorten(text: str, longest: int = _LONGEST) -> str:
    """Return the text on one line, its end left out if it is long."""
    text = clean(text)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def print_json(value: Any, *, lines: bool = False) -> None:
    """Print a value as JSON: indented, or on one line."""
    click.echo(json.dumps(plain(value), ensure_ascii=True, indent=None if lines else 2))
    if lines:
        sys.stdout.flush()


def value_text(value: Any) -> str:
    """Return a value as short JSON."""
    return json.dumps(plain(value), ensure_ascii=False)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: texts, numbers, truth values, nothing, lists and mappings with texts as keys."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, ErrorRecord):
        return error_data(value)
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value), key=str)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    match value:
        case float():
            return value if value - value == 0.0 else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.hex()
        case _:
            return str(value)


def error_data(error: ErrorRecord | None) -> dict[str, Any] | None:
    """Return an error as data."""
    if error is None:
        return None
    data: dict[str, Any] = {"type": error.type, "message": error.message, "step": error.step}
    if error.traceback:
        data["traceback"] = error.traceback
    if error.causes:
        data["causes"] = [error_data(cause) for cause in error.causes]
    return data


def when(moment: datetime | None) -> str:
    """Return a moment in the local time zone, to the second."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def span(duration: timedelta) -> str:
    """Return a duration in the unit that suits it."""
    seconds = duration.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, size in (("days", 86_400), ("hours", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
