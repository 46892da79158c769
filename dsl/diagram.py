"""The figure of a workflow: its graph as boxes, ways and turns, ready to be written in any language of diagrams.

A figure is a tree, because a workflow is one: parts in a row, a head with ways that come together again, a head with a
body that leads back to it. How a part looks follows from what its node has in common with all others. This file must
never name a kind of node.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple, Protocol, TypeAlias

from .definition import Definition
from .description import caption_of, title_of
from .graph import Body, Inside, Node

__all__ = [
    "COLOURS",
    "Arrow",
    "Box",
    "Colours",
    "Figure",
    "Fork",
    "Form",
    "Loop",
    "Mark",
    "Paint",
    "Painter",
    "Part",
    "Series",
    "Way",
    "arrows",
    "boxes",
    "draw",
    "printable",
]


class Mark(StrEnum):
    """How far a run has come at a node."""

    DONE = "done"
    RUNNING = "running"
    WAITING = "waiting"
    FAILED = "failed"
    UNDONE = "undone"
    NOT_TAKEN = "not taken"


class Colours(NamedTuple):
    """What a box of a mark is drawn in."""

    fill: str
    line: str
    ink: str


COLOURS: Final = {
    Mark.DONE: Colours("#d3f2d9", "#2f8f46", "#10381b"),
    Mark.RUNNING: Colours("#d6e7ff", "#2b6cd4", "#0f2f63"),
    Mark.WAITING: Colours("#fff0c2", "#b98a00", "#4d3a00"),
    Mark.FAILED: Colours("#ffd9d6", "#c8362c", "#5c120d"),
    Mark.UNDONE: Colours("#ecdcf7", "#8a4bb5", "#3d1857"),
    Mark.NOT_TAKEN: Colours("#f4f4f4", "#b5b5b5", "#7a7a7a"),
}


class Form(StrEnum):
    """How a box looks, by what it does to the way of a run."""

    END = "end"
    WORK = "work"
    GATE = "gate"
    CHILD = "child"
    CHOICE = "choice"
    GROUP = "group"
    LOOP = "loop"


class Paint(NamedTuple):
    """What a run adds to a box: a mark, and a few words."""

    mark: Mark | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """One box.

    Attributes:
        number: Unique within the figure, from 0.
        form: How it looks.
        title: What it says.
        subtitle: What it says below, or nothing.
        caption: What the author wrote about it, or nothing.
        name: Name of the node, or nothing where the box stands for none.
        paint: What a run adds.
    """

    number: int
    form: Form
    title: str
    subtitle: str = ""
    caption: str = ""
    name: str = ""
    paint: Paint = Paint()  # noqa: RUF009 - it is immutable


@dataclass(frozen=True, slots=True)
class Way:
    """One way on from a fork, with its label."""

    label: str
    series: Series


@dataclass(frozen=True, slots=True)
class Fork:
    """A head whose ways come together again, in a tail if there is one."""

    head: Box
    ways: tuple[Way, ...]
    tail: Box | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """A head with a body that leads back to it."""

    head: Box
    body: Way


Part: TypeAlias = Box | Fork | Loop


@dataclass(frozen=True, slots=True)
class Series:
    """Parts one after the other."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A whole workflow.

    Attributes:
        title: Name of the workflow, with its version.
        series: All parts, from the box of the start to the box of the end.
    """

    title: str
    series: Series


class Arrow(NamedTuple):
    """A way from one box to the next; ``back`` if it leads back."""

    source: Box
    target: Box
    label: str = ""
    back: bool = False


class Painter(Protocol):
    """Says what a run adds to the boxes."""

    def start(self) -> Paint:
        """Return the paint of the first box."""
        ...

    def end(self) -> Paint:
        """Return the paint of the last box."""
        ...

    def paint(self, node: Node, inside: Iterable[Mark | None], *, taken: bool) -> Paint:
        """Return the paint of a node, given the marks inside it and whether the run goes this way at all."""
        ...

    def takes(self, node: Node, label: str) -> bool:
        """Tell whether the run goes, or may still go, into the body of this label."""
        ...

    def passed(self, *, later: bool) -> Mark | None:
        """Return the mark of a node that leaves no fact, given whether a later one was begun."""
        ...


class _Blank:
    """No run at all."""

    def start(self) -> Paint:
        return Paint()

    def end(self) -> Paint:
        return Paint()

    def paint(self, node: Node, inside: Iterable[Mark | None], *, taken: bool) -> Paint:
        return Paint()

    def takes(self, node: Node, label: str) -> bool:
        return True

    def passed(self, *, later: bool) -> Mark | None:
        return None


def draw(definition: Definition, painter: Painter | None = None) -> Figure:
    """Return the figure of a definition, with a run painted on if there is a painter."""
    return _Draughtsman(painter or _Blank()).figure(definition)


class _Draughtsman:
    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._numbers = itertools.count()

    def figure(self, definition: Definition) -> Figure:
        title = f"{definition.name} {definition.version}" if definition.version else definition.name
        start = Box(next(self._numbers), Form.END, title, paint=self._painter.start())
        series = self._series(definition.body, taken=True)
        end = Box(next(self._numbers), Form.END, "end", paint=self._painter.end())
        return Figure(title, Series((start, *series.parts, end)))

    def _series(self, body: Body, *, taken: bool) -> Series:
        parts = [self._part(node, taken=taken) for node in body.nodes]
        later = False
        for index in range(len(parts) - 1, -1, -1):
            part, node = parts[index], body.nodes[index]
            if isinstance(part, Box) and taken and not node.own_names():
                parts[index] = replace(part, paint=Paint(self._painter.passed(later=later)))
            later = later or any(box.paint.mark not in (None, Mark.NOT_TAKEN) for box in boxes(Series((part,))))
        return Series(tuple(parts))

    def _part(self, node: Node, *, taken: bool) -> Part:
        head = Box(
            next(self._numbers),
            _form_of(node),
            title_of(node),
            _subtitle_of(node),
            caption_of(node),
            node.name,
        )
        ways = tuple(
            Way(label, self._series(body, taken=taken and self._painter.takes(node, label)))
            for label, body in node.bodies()
        )
        inside = [box.paint.mark for way in ways for box in boxes(way.series)]
        head = replace(head, paint=self._painter.paint(node, inside, taken=taken))
        match node.inside:
            case _ if not ways:
                return head
            case Inside.AGAIN | Inside.WHILE | Inside.EACH:
                return Loop(head, ways[0])
            case Inside.ALL | Inside.SOME:
                tail = Box(next(self._numbers), Form.GROUP, "", paint=Paint(head.paint.mark))
                return Fork(head, tuple(Way("", way.series) for way in ways), tail)
            case Inside.ONE:
                return Fork(head, ways)
            case Inside.INSTEAD:
                return Fork(head, (Way("", Series(())), *ways))


def _form_of(node: Node) -> Form:
    if node.events():
        return Form.GATE
    if node.children():
        return Form.CHILD
    if not node.bodies():
        return Form.WORK
    match node.inside:
        case Inside.ALL | Inside.SOME:
            return Form.GROUP
        case Inside.AGAIN | Inside.WHILE | Inside.EACH:
            return Form.LOOP
        case _:
            return Form.CHOICE


def _subtitle_of(node: Node) -> str:
    kind = node.kind.replace("_", " ")
    said = [] if kind in ("step", title_of(node)) else [kind]
    timeout = getattr(node, "timeout", None)
    if isinstance(timeout, (int, float)):
        said.append(f"at most {_span(timeout)}")
    if node.owes() and not node.children():
        said.append("can be undone")
    return ", ".join(said)


def _span(seconds: float) -> str:
    """Return a time in the largest unit that it is a whole number of."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def boxes(series: Series) -> Iterator[Box]:
    """Yield every box of a series, to any depth, in the order of their numbers."""
    for part in series.parts:
        match part:
            case Box():
                yield part
            case Loop(head, body):
                yield head
                yield from boxes(body.series)
            case Fork(head, ways, tail):
                yield head
                for way in ways:
                    yield from boxes(way.series)
                if tail is not None:
                    yield tail


def arrows(series: Series) -> list[Arrow]:
    """Return every arrow of a series, to any depth."""
    found: list[Arrow] = []
    _connect(series, [], found)
    return found


_Loose: TypeAlias = list[tuple[Box, str]]
"""Boxes whose arrow onwards has no target yet, each with the arrow's label."""


def _connect(series: Series, loose: _Loose, found: list[Arrow]) -> _Loose:
    for part in series.parts:
        head = part if isinstance(part, Box) else part.head
        found.extend(Arrow(source, head, label) for source, label in loose)
        match part:
            case Box():
                loose = [(part, "")]
            case Loop(_, body):
                ends = _connect(body.series, [(head, body.label)], found)
                found.extend(Arrow(source, head, label or "again", back=True) for source, label in ends)
                loose = [(head, "")]
            case Fork(_, ways, tail):
                loose = [end for way in ways for end in _connect(way.series, [(head, way.label)], found)]
                if tail is not None:
                    found.extend(Arrow(source, tail, label) for source, label in loose)
                    loose = [(tail, "")]
    return loose


def printable(text: str) -> str:
    """Return the text with nothing in it that cannot be printed on one line."""
    return "".join(char if char.isprintable() else " " for char in text)
