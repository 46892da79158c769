"""What the comparison must know of a scenario besides its outcomes: names of its nodes, and what nobody waited for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["Scenario"]


class Scenario:
    """One scenario's spec, as the comparison reads it.

    Attributes:
        in_loops: Names of the steps that a loop repeats.
        for_each: Names of the loops over items.
        undo_logs: What compensations log.
        hasty: Runs that were sent a signal before anyone had waited.
        hasty_listeners: Listeners that were added before anyone had waited.
        killed_in_haste: Whether a process was killed before anyone had waited.
        crowded: Whether many runs were started at once.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.in_loops: set[str] = set()
        self.for_each: set[str] = set()
        self.undo_logs: set[str] = set()
        for workflow in _workflows(spec):
            self._read(workflow["nodes"], loop=False)
        self.hasty, self.hasty_listeners, self.killed_in_haste = _haste(spec)
        self.crowded = any(action.get("count") for action in _actions(spec))

    def turn_of(self, name: str) -> str | None:
        """Return the step of which this is the name of a single turn."""
        base, _, turn = name.rpartition(":")
        return base if turn.isdigit() and base in self.in_loops else None

    def _read(self, nodes: list[dict[str, Any]], *, loop: bool) -> None:
        for node in nodes:
            inside = loop or node["type"] in ("doUntil", "doWhile")
            if node["type"] == "forEach":
                self.for_each.add(node["name"])
            elif loop and "name" in node:
                self.in_loops.add(node["name"])
            if "log" in (undo := node.get("opts", {}).get("compensate", {})):
                self.undo_logs.add(undo["log"])
            self._read(node.get("steps", []), loop=inside)
            for _, path in node.get("paths", ()):
                self._read(path, loop=inside)


def _workflows(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from spec["workflows"]
    for phase in spec["phases"]:
        yield from phase.get("workflows", ())


def _actions(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for phase in spec["phases"]:
        yield from phase["actions"]


def _haste(spec: dict[str, Any]) -> tuple[set[str], set[str], bool]:
    """Return which runs got a signal, and which listeners were added, before anyone waited; and whether one died."""
    restless: set[str] = set()
    started = killed = False
    runs, listeners = set(), set()
    for action in _actions(spec):
        match action["do"]:
            case "start":
                restless.add(action["as"])
                started = True
            case "signal":
                if action["run"] in restless:
                    runs.add(action["run"])
                restless.add(action["run"])
            case "listener" if action.get("run") in restless:
                listeners.add(action["as"])
            case "kill9":
                killed = killed or started
            case "wait" | "wait_log" | "wait_event" | "sleep":
                restless.clear()
                started = False
    return runs, listeners, killed
