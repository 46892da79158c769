"""Workflows made up from a seed: every kind of node, nested, with handlers that fail, hang and take their time.

Biased by swarm: each history leaves most of what could happen out, and so meets the rest in combinations that an even
mixture would hardly ever give.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["EVENTS", "Flow", "Plan", "Swarm", "make_flows"]

EVENTS = ("red", "green", "blue")
"""What gates wait for; several wait for the same."""

_KINDS = {
    "step": 6.0,
    "map": 0.7,
    "gate": 1.5,
    "sleep": 1.0,
    "child": 1.0,
    "branch": 0.8,
    "parallel": 1.2,
    "do_until": 0.6,
    "do_while": 0.4,
    "for_each": 0.8,
    "pivot": 0.2,
}
_DEEP = frozenset({"branch", "parallel", "do_until", "do_while", "for_each"})


@dataclass(frozen=True, slots=True)
class Plan:
    """One node.

    Attributes:
        kind: Which.
        name: Name of the node; of a gate, its event; of a child, what it is kept as.
        number: Turns, items, or which path is taken.
        fails: How many attempts of the handler raise; beyond the attempts allowed, the step fails.
        fatal: Whether what it raises must not be tried again.
        retry: How many attempts are allowed.
        timeout: Seconds an attempt, or the wait, may take; None for any time.
        takes: Seconds the clock moves on while a ``def`` handler runs.
        pauses: How often an ``async def`` handler stands still; None for a ``def`` one.
        undone: Whether there is a compensation.
        undo_fails: How many attempts of the compensation raise.
        limit: Concurrency of a ``for_each``.
        child: Workflow of a child.
        inside: Bodies.
    """

    kind: str
    name: str
    number: int = 0
    fails: int = 0
    fatal: bool = False
    retry: int = 1
    timeout: float | None = None
    takes: float = 0.0
    pauses: int | None = None
    undone: bool = False
    undo_fails: int = 0
    limit: int = 1
    child: str = ""
    inside: tuple[tuple[Plan, ...], ...] = ()

    def __repr__(self) -> str:
        """Show what is not as usual."""
        usual = Plan("", "")
        names = [name for name in self.__slots__ if name not in ("kind", "name", "inside")]
        said = [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) != getattr(usual, name)]
        bodies = [f"[{', '.join(map(repr, body))}]" for body in self.inside]
        return f"{self.name}({', '.join([*said, *bodies])})"


@dataclass(frozen=True, slots=True)
class Flow:
    """One workflow.

    Attributes:
        name: Its name.
        body: Its nodes.
        timeout: Seconds a run may take as a whole, or None.
    """

    name: str
    body: tuple[Plan, ...]
    timeout: float | None = None

    def every(self) -> Iterator[Plan]:
        """Yield every node, also those inside others."""
        return _every(self.body)


def _every(body: tuple[Plan, ...]) -> Iterator[Plan]:
    for plan in body:
        yield plan
        for inner in plan.inside:
            yield from _every(inner)


@dataclass(slots=True)
class Swarm:
    """What may happen in one history, and how often.

    Attributes:
        chance: What everything about the history is drawn from.
        kinds: Weight of each kind of node; most are left out.
        picks: Weight of each sort of turn.
        failing: Share of steps that fail.
        undone: Share of steps with a compensation.
        limited: Share of steps and gates with a time limit.
        slow: Share of handlers that take time.
        depth: How deep nodes may be nested.
        size: How many nodes a body may have.
        concurrency: Of the engine.
    """

    chance: random.Random
    kinds: dict[str, float] = field(default_factory=dict)
    picks: dict[str, float] = field(default_factory=dict)
    failing: float = 0.0
    undone: float = 0.0
    limited: float = 0.0
    slow: float = 0.0
    depth: int = 1
    size: int = 3
    concurrency: int = 5

    @classmethod
    def of(cls, seed: int) -> Swarm:
        """Draw the bias of one history."""
        chance = random.Random(seed)  # noqa: S311 - no secrets here
        kinds = {kind: weight for kind, weight in _KINDS.items() if chance.random() < 0.5}  # noqa: PLR2004 - half of them
        kinds.setdefault("step", 3.0)
        return cls(
            chance,
            kinds,
            {kind: weight * chance.choice((0.3, 1.0, 3.0)) for kind, weight in _TURNS.items()}
            | {kind: weight * chance.choice((0.0, 0.5, 1.0, 2.0)) for kind, weight in _FAULTS.items()},
            failing=chance.choice((0.0, 0.15, 0.4)),
            undone=chance.choice((0.0, 0.5, 0.9)),
            limited=chance.choice((0.0, 0.3, 0.7)),
            slow=chance.choice((0.0, 0.3, 0.6)),
            depth=chance.choice((0, 1, 1, 2)),
            size=chance.choice((2, 3, 4)),
            concurrency=chance.choice((1, 2, 5)),
        )


_TURNS = dict.fromkeys(("core", "write", "heed", "begin", "go on", "deliver", "ring", "loop", "act"), 1.0) | {
    "tick": 0.3
}
_FAULTS = {"crash": 0.05, "refuse": 0.06, "forget": 0.04, "oust": 0.006}
"""Weights of a crash, a commit that fails, one that is written though it is said to have failed, and a take-over."""


def make_flows(swarm: Swarm) -> tuple[Flow, ...]:
    """Make up the workflows of one history; a child never starts what started it."""
    numbers = itertools.count(1)
    flows: list[Flow] = []
    for number in range(swarm.chance.choice((1, 2, 2, 3))):
        body = _Author(swarm, [flow.name for flow in flows], numbers).body(swarm.depth, swarm.size, top=True)
        timeout = swarm.chance.uniform(5, 60) if swarm.chance.random() < swarm.limited * 0.2 else None
        flows.append(Flow(f"flow{number}", body, timeout))
    return tuple(flows)


@dataclass(slots=True)
class _Author:
    """Makes up the body of one workflow."""

    swarm: Swarm
    children: list[str]
    numbers: Iterator[int]

    def body(self, depth: int, most: int, *, top: bool = False) -> tuple[Plan, ...]:
        chance = self.swarm.chance
        plans: list[Plan] = []
        for _ in range(chance.randint(1, most)):
            kind = self._kind(depth)
            if kind == "pivot" and not (top and plans and plans[-1].kind == "step"):
                kind = "step"
            plans.append(self._node(kind, depth))
        return tuple(plans)

    def _kind(self, depth: int) -> str:
        kinds = {
            kind: weight
            for kind, weight in self.swarm.kinds.items()
            if (depth > 0 or kind not in _DEEP) and (self.children or kind != "child")
        }
        return self.swarm.chance.choices(list(kinds), list(kinds.values()))[0]

    def _node(self, kind: str, depth: int) -> Plan:
        chance = self.swarm.chance
        name = f"{kind}{next(self.numbers)}"

        def bodies(count: int) -> tuple[tuple[Plan, ...], ...]:
            return tuple(self.body(depth - 1, 2) for _ in range(count))

        match kind:
            case "step":
                return self._step(name)
            case "gate":
                return self._gate(depth)
            case "sleep":
                return Plan(kind, name, timeout=chance.choice((0.0, 1.0, 5.0, 30.0)))
            case "child":
                return Plan(kind, name, child=chance.choice(self.children), pauses=chance.choice((None, None, 1)))
            case "branch" | "parallel":
                return Plan(kind, name, number=chance.randint(0, 2), inside=bodies(chance.choice((2, 2, 3))))
            case "do_until" | "do_while":
                return Plan(kind, name, number=chance.randint(1, 3), inside=bodies(1))
            case "for_each":
                return Plan(kind, name, number=chance.randint(0, 3), limit=chance.choice((1, 1, 2)), inside=bodies(1))
        return Plan(kind, name)

    def _step(self, name: str) -> Plan:
        swarm, chance = self.swarm, self.swarm.chance
        retry = chance.choice((1, 2, 3))
        fails = chance.choice((1, 1, 2, 99)) if chance.random() < swarm.failing else 0
        slow = chance.random() < swarm.slow
        pauses = chance.choice((0, 1, 2)) if slow or chance.random() < 0.3 else None  # noqa: PLR2004 - some of the rest
        limited = chance.random() < swarm.limited
        return Plan(
            "step",
            name,
            fails=fails,
            fatal=fails > 0 and chance.random() < 0.2,  # noqa: PLR2004 - one in five
            retry=retry,
            timeout=chance.choice((1.0, 5.0)) if limited else None,
            takes=chance.choice((0.5, 1.0, 6.0)) if slow and pauses is None else 0.0,
            pauses=pauses,
            undone=chance.random() < swarm.undone,
            undo_fails=chance.choice((0, 0, 0, 1, 99)) if chance.random() < swarm.failing else 0,
        )

    def _gate(self, depth: int) -> Plan:
        chance = self.swarm.chance
        timeout = chance.choice((0.0, 2.0, 10.0, 10.0)) if chance.random() < self.swarm.limited else None
        other = (self.body(max(depth - 1, 0), 1),) if timeout is not None and chance.random() < 0.5 else ()  # noqa: PLR2004
        return Plan("gate", chance.choice(EVENTS), timeout=timeout, inside=other)
