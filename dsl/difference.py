"""What differs between two definitions: nodes that came, went, moved or were given other options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Any, NamedTuple

from .definition import Definition
from .description import describe, options_of
from .graph import Body, Node

__all__ = ["Change", "Difference", "What", "compare"]


class What(StrEnum):
    """What has become of a node."""

    ADDED = "added"
    REMOVED = "removed"
    MOVED = "moved"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs.

    Attributes:
        what: What has become of the node.
        node: Its name; nothing where it is the workflow itself.
        detail: Where it stands, or what was and what is.
    """

    what: What
    node: str
    detail: str

    def __str__(self) -> str:
        """Read like a line of a report."""
        return f"{self.what} {self.node!r}: {self.detail}" if self.node else f"{self.what}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs; false if nothing does.

    Attributes:
        changes: What differs, in the order of the new graph, what was removed last.
        same_graph: Whether kinds, names and nesting are the same, so that every run goes on with either.
    """

    changes: tuple[Change, ...]
    same_graph: bool

    def __bool__(self) -> bool:
        """Tell whether anything differs."""
        return bool(self.changes)

    def __str__(self) -> str:
        """Read like a report, a line for each change."""
        return "\n".join(map(str, self.changes)) or "no difference"


class _Placed(NamedTuple):
    node: Node
    place: str
    position: int


def compare(old: Definition, new: Definition) -> Difference:
    """Return what differs."""
    before, after = _by_name(old), _by_name(new)
    moved = _reordered(before, after)
    changes = [*_of_the_whole(old, new)]
    for name, now in after.items():
        was = before.get(name)
        if was is None:
            changes.append(Change(What.ADDED, name, f"a {_kind(now.node)} in {now.place}"))
            continue
        if was.place != now.place:
            changes.append(Change(What.MOVED, name, f"from {was.place} to {now.place}"))
        elif name in moved:
            changes.append(Change(What.MOVED, name, f"to another position in {now.place}"))
        changes += [Change(What.CHANGED, name, detail) for detail in _details(was.node, now.node)]
    gone = [name for name in before if name not in after]
    changes += [Change(What.REMOVED, name, f"a {_kind(before[name].node)} in {before[name].place}") for name in gone]
    return Difference(tuple(changes), old.body.shape() == new.body.shape())


def _of_the_whole(old: Definition, new: Definition) -> Iterator[Change]:
    for what in ("name", "version", "timeout", "input_type"):
        was, now = getattr(old, what), getattr(new, what)
        if was != now:
            yield Change(What.CHANGED, "", f"{what}: {_shown(was)} → {_shown(now)}")
    before, after = _limits(old), _limits(new)
    for what in sorted(before.keys() | after.keys()):
        if before.get(what) != after.get(what):
            yield Change(What.CHANGED, "", f"{what}: {_shown(before.get(what))} → {_shown(after.get(what))}")


def _limits(definition: Definition) -> dict[str, Any]:
    return _flat({"concurrency": describe(definition).get("concurrency", {})})


def _by_name(definition: Definition) -> dict[str, _Placed]:
    """Return the nodes with where they stand; of exclusive nodes that share a name, the first."""
    found: dict[str, _Placed] = {}

    def collect(body: Body, place: str) -> None:
        for index, node in enumerate(body.nodes):
            found.setdefault(node.name, _Placed(node, place, index))
            for label, inner in node.bodies():
                collect(inner, f"{label!r} of {node.name!r}")

    collect(definition.body, "the workflow")
    return found


def _reordered(before: dict[str, _Placed], after: dict[str, _Placed]) -> set[str]:
    """Return the nodes that stand in the same body as before, but at another place among the others."""
    moved: set[str] = set()
    common = [name for name in after if name in before and before[name].place == after[name].place]
    for place in {after[name].place for name in common}:
        new = [name for name in common if after[name].place == place]
        old = sorted(new, key=lambda name: before[name].position)
        kept = {
            name
            for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
            for name in old[block.a : block.a + block.size]
        }
        moved |= set(new) - kept
    return moved


def _details(was: Node, now: Node) -> Iterator[str]:
    if was.kind != now.kind:
        yield f"kind: {_kind(was)} → {_kind(now)}"
        return
    old, new = _flat(options_of(was)), _flat(options_of(now))
    for option in [*new, *(option for option in old if option not in new)]:
        if old.get(option) != new.get(option):
            yield f"{option}: {_shown(old.get(option))} → {_shown(new.get(option))}"


def _flat(options: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _kind(node: Node) -> str:
    return node.kind.replace("_", " ")


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return value.__qualname__ if isinstance(value, type) else str(value)
