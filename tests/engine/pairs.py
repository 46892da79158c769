"""Every kind of node, twice: how it is added to a workflow, and what should then happen, in order.

The second half is the oracle: it knows nothing of the engine, only what each kind means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from perdure import Compensation, Context, Workflow

__all__ = ["KINDS", "Entry", "Ledger", "Scene"]

ITEMS = ("red", "green")
TURNS = 2


@dataclass(frozen=True)
class Entry:
    """One line of the ledger: what a piece of user code has seen.

    Attributes:
        verb: ``did`` or ``undid``; ``mapped`` for a map, which is never undone; ``passed`` for a pivot.
        lineage: Names of the run's workflow and of those it is a child of, outermost first.
        name: Name of the step, with the item's index.
        item: The item.
        index: Its index.
        turn: The turn of the innermost loop.
        result: What the step returned, as its undo sees it.
    """

    verb: str
    lineage: tuple[str, ...]
    name: str
    item: Any = None
    index: int | None = None
    turn: int | None = None
    result: Any = None


@dataclass(frozen=True)
class At:
    """Where in a run something happens."""

    lineage: tuple[str, ...] = ("parent",)
    indices: tuple[int, ...] = ()
    turn: int | None = None

    def entry(self, verb: str, name: str) -> Entry:
        """Return what the ledger should say of a step that happens here."""
        index = self.indices[-1] if self.indices else None
        item = None if index is None else ITEMS[index]
        name = ":".join((name, *map(str, self.indices)))
        return Entry(verb, self.lineage, name, item, index, self.turn, _result(name, self.turn))

    def item(self, index: int) -> At:
        """Return the place of an item."""
        return replace(self, indices=(*self.indices, index))


def _result(name: str, turn: int | None) -> str:
    return name if turn is None else f"{name} in turn {turn}"


class Ledger(list[tuple[str, Entry]]):
    """The only witness of side effects: each with its idempotency key. It outlives the engine."""

    def act(self, ctx: Context[Any]) -> str:
        """Do a step's work."""
        return self._note(ctx, "did", _result(ctx.step_name, ctx.turn))

    def look(self, ctx: Context[Any]) -> str:
        """Do a map's work."""
        return self._note(ctx, "mapped", _result(ctx.step_name, ctx.turn))

    def undo(self, ctx: Context[Any]) -> None:
        """Undo a step."""
        assert ctx.failure is not None
        self._note(ctx, "undid", ctx.result)

    def _note(self, ctx: Context[Any], verb: str, result: str) -> str:
        lineage = tuple(ctx.input["lineage"])
        entry = Entry(verb, lineage, ctx.step_name, ctx.item, ctx.index, ctx.turn, result)
        self.append((ctx.idempotency_key, entry))
        return result

    def entries(self, *verbs: str) -> list[Entry]:
        """Return what happened, in order; what was repeated at once after a crash counts as once."""
        return [entry for _, entry in dict.fromkeys(self) if entry.verb in verbs]


Build = Callable[[Workflow[Any, Any]], Any]
Happens = Callable[[At], Iterator[Entry]]


@dataclass
class Scene:
    """A workflow in which one kind stands inside another, and its children."""

    outer: str
    inner: str
    ledger: Ledger = field(default_factory=Ledger)
    children: list[Workflow[Any, Any]] = field(default_factory=list)

    def workflows(self) -> list[Workflow[Any, Any]]:
        """Return the workflow and its children."""
        flow: Workflow[Any, Any] = Workflow("parent")
        self.step(flow, "first")
        KINDS[self.outer].build(self, flow, "outer", self._build_inner)
        flow.step("last", self._last, retry=1)
        return [flow, *self.children]

    def _build_inner(self, flow: Workflow[Any, Any]) -> None:
        KINDS[self.inner].build(self, flow, "inner", lambda inside: self.step(inside, "core"))

    def _last(self, ctx: Context[Any]) -> str:
        if ctx.input["fail"]:
            msg = "the last step fails"
            raise RuntimeError(msg)
        return "done"

    def happens(self) -> list[Entry]:
        """Return what should happen on the way forward, in order of declaration."""

        def inner(at: At) -> Iterator[Entry]:
            yield from KINDS[self.inner].happens("inner", at, lambda deeper: iter((deeper.entry("did", "core"),)))

        at = At()
        return [at.entry("did", "first"), *KINDS[self.outer].happens("outer", at, inner)]

    def is_undone(self) -> list[Entry]:
        """Return what should be undone if the last step fails, in order."""
        happened = self.happens()
        passed = {entry.lineage for entry in happened if entry.verb == "passed"}
        return [
            replace(entry, verb="undid")
            for entry in reversed(happened)
            if entry.verb == "did" and not any(entry.lineage[: len(one)] == one for one in passed)
        ]

    # ---- adding nodes

    def step(self, flow: Workflow[Any, Any], name: str) -> None:
        """Add a step that can be undone."""
        flow.step(name, self.ledger.act, compensate=Compensation(self.ledger.undo, retry=1))

    def child(self, flow: Workflow[Any, Any], name: str, inside: Build) -> None:
        """Add a child whose body is given."""
        child: Workflow[Any, Any] = Workflow(name)
        inside(child)
        self.children.append(child)
        flow.sub_workflow(child, lambda ctx: {"lineage": [*ctx.input["lineage"], name], "fail": False})


class Kind(NamedTuple):
    """A kind of node. What has no inside is followed by what should be inside."""

    build: Callable[[Scene, Workflow[Any, Any], str, Build], object]
    happens: Callable[[str, At, Happens], Iterator[Entry]]


def _leaf(add: Callable[[Scene, Workflow[Any, Any], str], object], *verbs: str) -> Kind:
    def build(scene: Scene, flow: Workflow[Any, Any], name: str, inside: Build) -> None:
        add(scene, flow, name)
        inside(flow)

    def happens(name: str, at: At, inside: Happens) -> Iterator[Entry]:
        yield from (at.entry(verb, name) for verb in verbs)
        yield from inside(at)

    return Kind(build, happens)


def _in_turns(name: str, at: At, inside: Happens) -> Iterator[Entry]:
    for turn in range(1, TURNS + 1):
        yield from inside(replace(at, turn=turn))


def _in_items(name: str, at: At, inside: Happens) -> Iterator[Entry]:
    for index in range(len(ITEMS)):
        yield from inside(at.item(index))


def _and_beside(name: str, at: At, inside: Happens) -> Iterator[Entry]:
    yield from inside(at)
    yield at.entry("did", f"{name}-beside")


def _race(scene: Scene, flow: Workflow[Any, Any], name: str, inside: Build) -> None:
    flow.parallel(inside, lambda beside: beside.wait_for(f"{name}-never").pivot(), race=True)


def _tolerant(scene: Scene, flow: Workflow[Any, Any], name: str, inside: Build) -> None:
    flow.parallel(inside, lambda beside: beside.step(f"{name}-fails", _fail, retry=1).pivot(), tolerated_failures=1)


def _look_away(ctx: Context[Any]) -> None:
    """Be told of a wait that goes on."""


def _fail() -> None:
    raise OSError


def _each_item(name: str, at: At, inside: Happens) -> Iterator[Entry]:
    yield from (at.item(index).entry("did", name) for index in range(len(ITEMS)))
    yield from inside(at)


def _for_each(scene: Scene, flow: Workflow[Any, Any], name: str, inside: Build, concurrency: int) -> None:
    flow.for_each(lambda: ITEMS, name, block=inside, concurrency=concurrency)


def _parallel(scene: Scene, flow: Workflow[Any, Any], name: str, inside: Build) -> None:
    flow.parallel(inside, lambda beside: scene.step(beside, f"{name}-beside"))


KINDS = {
    "step": _leaf(lambda scene, flow, name: scene.step(flow, name), "did"),
    "path": Kind(
        lambda scene, flow, name, inside: (
            flow.branch(lambda: "left", name=name)
            .path("left", inside)
            .path("right", lambda other: scene.step(other, f"{name}-never"))
        ),
        lambda name, at, inside: inside(at),
    ),
    "otherwise": Kind(
        lambda scene, flow, name, inside: (
            flow.branch(lambda: "neither", name=name)
            .path("left", lambda other: scene.step(other, f"{name}-never"))
            .otherwise(inside)
        ),
        lambda name, at, inside: inside(at),
    ),
    "parallel": Kind(_parallel, _and_beside),
    "parallel, race": Kind(_race, lambda name, at, inside: inside(at)),
    "parallel, tolerant": Kind(_tolerant, lambda name, at, inside: inside(at)),
    "wait_for a signal": _leaf(lambda scene, flow, name: flow.wait_for(name)),
    "wait_for, in time": _leaf(
        lambda scene, flow, name: flow.wait_for(
            name, timeout=3600, on_timeout=lambda other: scene.step(other, f"{name}-never")
        )
    ),
    "wait_for, on_timeout": Kind(
        lambda scene, flow, name, inside: flow.wait_for(f"{name}-late", timeout=60, on_timeout=inside),
        lambda name, at, inside: inside(at),
    ),
    "wait_for, on_timeout a path": Kind(
        lambda scene, flow, name, inside: (
            flow.wait_for(f"{name}-late", timeout=60, on_timeout="late")
            .branch(lambda: "in time", name=f"{name}-way")
            .path("in time", lambda other: scene.step(other, f"{name}-never"))
            .path("late", inside)
        ),
        lambda name, at, inside: inside(at),
    ),
    "wait_for a quorum, with reminders": _leaf(lambda scene, flow, name: flow.wait_for(name, count=2, remind_every=60)),
    "wait_any, with reminders": _leaf(
        lambda scene, flow, name: flow.wait_any(name, f"{name}-or", timeout=3600, remind_every=600, remind=_look_away)
    ),
    "wait_all": _leaf(lambda scene, flow, name: flow.wait_all(name)),
    "sub_workflow": Kind(
        lambda scene, flow, name, inside: scene.child(flow, f"{name}-child", inside),
        lambda name, at, inside: inside(At((*at.lineage, f"{name}-child"))),
    ),
    "do_until": Kind(
        lambda scene, flow, name, inside: flow.do_until(lambda ctx, turn: turn == TURNS, inside, name=name), _in_turns
    ),
    "do_while": Kind(
        lambda scene, flow, name, inside: flow.do_while(lambda ctx, turn: turn < TURNS, inside, name=name), _in_turns
    ),
    "for_each": Kind(
        lambda scene, flow, name, _inside: (
            flow.for_each(lambda: ITEMS, name, scene.ledger.act, compensate=scene.ledger.undo),
            _inside(flow),
        ),
        _each_item,
    ),
    "for_each of a block": Kind(lambda scene, flow, name, inside: _for_each(scene, flow, name, inside, 1), _in_items),
    "for_each, concurrent": Kind(lambda scene, flow, name, inside: _for_each(scene, flow, name, inside, 2), _in_items),
    "map": _leaf(lambda scene, flow, name: flow.map(name, scene.ledger.look), "mapped"),
    "sleep": _leaf(lambda scene, flow, name: flow.sleep(name, 60)),
    "pivot": _leaf(lambda scene, flow, name: flow.pivot(), "passed"),
}
"""Every kind of node by the name that tests show."""
