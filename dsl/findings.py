"""What is right by the rules and still looks wrong: the lint behind ``workflow.check()``.

Each check is a function from a definition to findings. A finding never stops anything. This file must never call a
function of the user's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import pairwise
from typing import Final

from .code import Lookup, Sort, acts, answers, lookups
from .definition import Definition
from .description import questions_of, title_of
from .errors import did_you_mean
from .graph import Body, Inside, Node
from .knowledge import View, views
from .nodes.pivot import PivotNode
from .policies import AttemptPolicy, Retry, seconds

__all__ = ["Finding", "Level", "check"]


class Level(StrEnum):
    """How bad a finding is.

    ``error``: it cannot go well. ``warning``: it need not go well. ``note``: it may be meant so.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a workflow that should be looked at.

    Attributes:
        level: How bad it is.
        code: What sort of finding it is, such as ``look-up``.
        node: Name of the node.
        message: What is wrong, and what to do.
    """

    level: Level
    code: str
    node: str
    message: str

    def __str__(self) -> str:
        """Read like a line of a report."""
        return f"{self.level}: {self.message} [{self.code}]"


def check(definition: Definition, others: Iterable[Definition] = ()) -> list[Finding]:
    """Return everything that was found, in order of the graph, the worst of a node first.

    ``others`` are looked into where the definition starts them as sub-workflows.
    """
    order = {node.name: index for index, node in reversed(list(enumerate(definition.body.every())))}
    found = {finding: None for each in _CHECKS for finding in each(definition)}
    found |= dict.fromkeys(_children_in_its_own_line(definition, [definition, *others]))
    return sorted(found, key=lambda finding: (order[finding.node], list(Level).index(finding.level)))


# ---- paths that nobody takes


def _unreachable_paths(definition: Definition) -> Iterator[Finding]:
    led = dict(_led(definition.body))
    for node in definition.body.every():
        if node.inside is Inside.ONE:
            for question in questions_of(node).values():
                if (labels := answers(question)) is not None:
                    yield from _unreachable(node, labels, led.get(node.name))


def _led(body: Body) -> Iterator[tuple[str, str]]:
    """Yield the branches that a gate leads to when it times out, each with the label."""
    for node, after in pairwise(body.nodes):
        if isinstance(label := getattr(node, "leads_to", None), str):
            yield after.name, label
    for node in body.nodes:
        for _, inside in node.bodies():
            yield from _led(inside)


def _unreachable(node: Node, labels: frozenset[object], led: str | None) -> Iterator[Finding]:
    paths = [label for label, _ in node.bodies()]
    spare = "otherwise" if getattr(node, "otherwise", None) is not None else None
    for path in paths:
        if path not in (spare, led) and path not in labels:
            text = f"{title_of(node)!r} never takes the path {path!r}: its selector returns only {_listed(labels)}"
            yield Finding(Level.WARNING, "unreachable-path", node.name, text)
    strangers = labels - set(paths)
    if spare is not None and not strangers:
        text = f"{title_of(node)!r} never takes its otherwise: each label that its selector returns has a path"
        yield Finding(Level.WARNING, "unreachable-path", node.name, text)
    for label in sorted(strangers, key=repr) if spare is None else ():
        hint = did_you_mean(str(label), paths)
        text = f"the selector of {title_of(node)!r} may return {label!r}, which is not a path{hint} (or add .otherwise)"
        yield Finding(Level.ERROR, "missing-path", node.name, text)


def _listed(values: frozenset[object]) -> str:
    return ", ".join(sorted(map(repr, values)))


def _constant_conditions(definition: Definition) -> Iterator[Finding]:
    for node in definition.body.every():
        if node.inside not in (Inside.AGAIN, Inside.WHILE):
            continue
        for question in questions_of(node).values():
            truths = {bool(answer) for answer in answers(question) or ()}
            if truths == {node.inside is Inside.WHILE}:
                text = f"the loop {title_of(node)!r} never ends: its condition always says the same"
                yield Finding(Level.ERROR, "endless-loop", node.name, text)
            elif truths == {False}:
                text = f"the body of the loop {title_of(node)!r} is never walked: its condition is always false"
                yield Finding(Level.WARNING, "unreachable-path", node.name, text)


# ---- results that need not be there


def _bold_lookups(definition: Definition) -> Iterator[Finding]:
    everything = {Lookup(Sort.STEP, name) for name in definition.body.all_names()}
    everything |= {Lookup(Sort.SIGNAL, event) for event in definition.events}
    for view in views(definition.body):
        for lookup in lookups(view.function):
            if not view.known.surely_holds(lookup) and not lookup.name.startswith("__"):
                yield _judge(view, lookup, everything)


def _judge(view: View, lookup: Lookup, everything: set[Lookup]) -> Finding:
    sort, name = lookup
    who = f"{title_of(view.node)!r} looks up the {sort} {name!r}"
    get = f'ctx.{sort}s.get("{name}")'
    if view.known.may_hold(lookup):
        verb = "have run" if sort is Sort.STEP else "have come"
        text = f"{who}, which need not {verb} by then: use {get}, which gives None"
        return Finding(Level.WARNING, "look-up", view.node.name, text)
    if lookup in everything:
        text = f"{who}, which it can never see: it runs later, at the same time, or once for each item (ctx.results)"
    else:
        known = [other.name for other in everything if other.sort is sort and not other.name.startswith("__")]
        text = f"{who}, and there is none{did_you_mean(name, known)}"
    return Finding(Level.ERROR, "look-up", view.node.name, text)


# ---- waits, undoing, and time


def _endless_waits(definition: Definition) -> Iterator[Finding]:
    if definition.timeout is not None:
        return
    for node in definition.body.every():
        if node.events() and getattr(node, "timeout", None) is None:
            text = f"the wait for {title_of(node)!r} has no timeout: a signal that is forgotten is waited for for ever"
            yield Finding(Level.NOTE, "endless-wait", node.name, text)


def _steps_without_undo(definition: Definition) -> Iterator[Finding]:
    nodes = list(definition.body.every())
    last = max((index for index, node in enumerate(nodes) if _may_fail(node)), default=0)
    for index, node in enumerate(nodes):
        if isinstance(node, PivotNode):
            return
        if index < last and _is_tried(node) and not node.owes() and any(map(acts, questions_of(node).values())):
            text = (
                f"{title_of(node)!r} has no compensation: if it changes anything outside, that stays when a later"
                f" step fails; give it compensate=, or put .pivot() behind what must stay"
            )
            yield Finding(Level.NOTE, "no-undo", node.name, text)


def _is_tried(node: Node) -> bool:
    return any(isinstance(getattr(node, field.name), AttemptPolicy) for field in fields(node))


def _may_fail(node: Node) -> bool:
    return _is_tried(node) or bool(node.children()) or bool(node.events())


def _too_long(definition: Definition) -> Iterator[Finding]:
    yield from _beyond(definition.body, definition.timeout, f"the workflow {definition.name!r}")


def _beyond(body: Body, limit: float | None, whose: str) -> Iterator[Finding]:
    for node in body.nodes:
        if limit is not None and (longest := _longest(node)) > limit:
            what = "its attempts and the delays between them" if _is_tried(node) else "it"
            text = f"{title_of(node)!r}: {what} may take {longest:g} s, longer than the {limit:g} s that {whose} has"
            yield Finding(Level.WARNING, "too-long", node.name, text)
        inner, owner = limit, whose
        own = getattr(node, "timeout", None)
        if isinstance(own, (int, float)) and node.inside is not Inside.INSTEAD and (limit is None or own < limit):
            inner, owner = own, repr(title_of(node))
        for _, inside in node.bodies():
            yield from _beyond(inside, inner, owner)


def _longest(node: Node) -> float:
    """Return how long a node that ends by itself may take, as far as that was said."""
    for field in fields(node):
        match getattr(node, field.name):
            case AttemptPolicy(retry=retry, timeout=timeout):
                return retry.attempts * (timeout or 0.0) + _delays(retry)
            case float(duration) if not node.bodies():
                return duration
    return 0.0


_MOST_DELAYS: Final = 1000


def _delays(retry: Retry) -> float:
    exact = sum(retry.delay(failures, 0.0) for failures in range(1, min(retry.attempts, _MOST_DELAYS)))
    return exact + max(0, retry.attempts - _MOST_DELAYS) * seconds(retry.maximum, "maximum")


# ---- slots


def _children_in_its_own_line(definition: Definition, known: Collection[Definition]) -> Iterator[Finding]:
    """Yield the sub-workflows that wait for a slot while this one holds one of the same and waits for them."""
    if (slots := _slots(definition)) is None:
        return
    for node in definition.body.every():
        for child in node.children():
            if way := _way_to(slots, child, known, ()):
                *through, last = way
                started = f", started through {', '.join(map(repr, through))}," if through else ""
                text = (
                    f"the sub-workflow {last!r}{started} needs a slot of {slots!r}, of which the run that waits for it"
                    f" holds one: once such runs hold all slots, they wait for ever; give {last!r} a limit of its own"
                )
                yield Finding(Level.WARNING, "own-slot", node.name, text)


def _slots(definition: Definition) -> str | None:
    """Return the name of the slots of which each run needs one."""
    return None if definition.pool is None else definition.pool.name or definition.name


def _way_to(slots: str, name: str, known: Collection[Definition], way: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names from a workflow on to the first that needs one of these slots; empty if there is none."""
    if name in way:
        return ()
    way = (*way, name)
    same = [one for one in known if one.name == name]
    if any(_slots(one) == slots for one in same):
        return way
    ways = (_way_to(slots, child, known, way) for one in same for child in sorted(one.children))
    return next(filter(None, ways), ())


_CHECKS: Final = (
    _unreachable_paths,
    _constant_conditions,
    _bold_lookups,
    _endless_waits,
    _steps_without_undo,
    _too_long,
)
