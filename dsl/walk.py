"""The walk: drives the generators of the nodes over the journal until the facts end.

Rules:

1. A walk is made from a definition and a journal, and from nothing else. Restoring a run is a fresh walk: it stops
   exactly where the facts end. There is no stored position that could disagree with them.
2. An effect whose fact is settled is answered at once; any other is handed out, once, in ``fresh``.
3. Whoever carries an effect out records its fact and calls `Walk.resume` with its key. A key nobody waits for is
   ignored, so an answer that comes too late does no harm.
4. The walk knows no kind of node, and would not change if one were added or deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .effects import Effect, Join, Walker
from .facts import ErrorRecord, Fact, FactStatus
from .journal import Journal

__all__ = ["Broken", "Strand", "Strayed", "Walk"]


class Broken(Exception):
    """Thrown into a node's generator when the answer to its effect is a failure; never shown to a user."""

    def __init__(self, error: ErrorRecord) -> None:
        super().__init__(str(error))
        self.error = error


class Strayed(Exception):
    """Raised by a node whose recorded answer leads nowhere in this definition, which has changed."""

    def __init__(self, fact: Fact) -> None:
        super().__init__(fact.key)
        self.fact = fact


class Strand:
    """One line of execution: a generator, and the group that waits for its end."""

    __slots__ = ("generator", "group", "index")

    def __init__(self, generator: Walker, group: _Group | None, index: int) -> None:
        self.generator = generator
        self.group = group
        self.index = index


class _Group:
    """A ``Join`` that is under way."""

    __slots__ = ("depth", "errors", "join", "limit", "parent", "running", "source", "started", "values")

    def __init__(self, parent: Strand, join: Join) -> None:
        self.parent = parent
        self.depth: int = 0 if parent.group is None else parent.group.depth + 1
        self.join = join
        self.source: Iterator[Walker] = iter(join.strands)
        self.limit = join.limit
        self.running = 0
        self.started = 0
        self.values: dict[int, Any] = {}
        self.errors: dict[int, ErrorRecord] = {}

    def next_strand(self) -> Strand | None:
        """Return the next strand that may begin now, if any."""
        if self.limit is not None and self.running >= self.limit:
            return None
        if self.errors and self.join.begun is not None and self.started not in self.join.begun():
            return None
        generator = next(self.source, None)
        if generator is None:
            return None
        self.running += 1
        self.started += 1
        return Strand(generator, self, self.started - 1)

    def outcome(self) -> tuple[Any, Broken | None]:
        """Return the values in order, or one failure that carries every failure."""
        if not self.errors:
            return [self.values[index] for index in range(self.started)], None
        errors = [self.errors[index] for index in sorted(self.errors)]
        return None, Broken(errors[0] if len(errors) == 1 else _several(errors))


def _several(errors: list[ErrorRecord]) -> ErrorRecord:
    steps = ", ".join(repr(error.step) for error in errors)
    texts = "; ".join(error.message for error in errors)
    message = f"{len(errors)} strands failed ({steps}): {texts}"
    return ErrorRecord("perdure.ParallelFailed", message, errors[0].step, causes=tuple(errors))


class Walk:
    """One run's way through its graph.

    Attributes:
        fresh: Effects to be carried out, in the order in which the walk asked for them; the driver empties it.
        open: Every effect that is still without an answer, by key.
        ended: Whether the root has returned or broken.
        value: What the root returned.
        error: Why the root broke.
        stray: A fact whose answer leads nowhere: the definition has changed, and the walk cannot go on.
    """

    __slots__ = ("_journal", "_later", "_ready", "_waiting", "ended", "error", "fresh", "stray", "value")

    def __init__(self, root: Walker, journal: Journal) -> None:
        self._journal = journal
        self._waiting: dict[str, tuple[Strand, Effect]] = {}
        self._ready: list[tuple[Strand, Any, Broken | None]] = [(Strand(root, None, 0), None, None)]
        self._later: list[_Group] = []
        self.fresh: list[Effect] = []
        self.ended = False
        self.value: Any = None
        self.error: ErrorRecord | None = None
        self.stray: Fact | None = None
        self._run()

    @property
    def open(self) -> list[Effect]:
        """Every effect that is still without an answer."""
        return [effect for _, effect in self._waiting.values()]

    def asks(self, key: str) -> Effect | None:
        """Return the open effect of this key."""
        waiting = self._waiting.get(key)
        return waiting[1] if waiting else None

    def resume(self, fact: Fact) -> None:
        """Go on with the settled fact that answers the effect of its key."""
        waiting = self._waiting.pop(fact.key, None)
        if waiting is None:
            return
        self._ready.append((waiting[0], *_answer(fact)))
        self._run()

    def close(self) -> None:
        """Give the walk up where it stands; nothing in it is asked for any longer."""
        self._waiting.clear()
        self.fresh.clear()
        self.ended = True

    def _run(self) -> None:
        while self._ready or self._later:
            if self._ready:
                self._advance(*self._ready.pop())
            else:
                self._fork(self._take_innermost())

    def _take_innermost(self) -> _Group:
        """Take the group that nothing but itself can tell of: those around it may break with it."""
        innermost = max(self._later, key=lambda group: group.depth)
        self._later.remove(innermost)
        return innermost

    def _advance(self, strand: Strand, value: Any, broken: Broken | None) -> None:
        generator = strand.generator
        while True:
            try:
                effect = generator.throw(broken) if broken is not None else generator.send(value)
            except StopIteration as stop:
                self._ended(strand, stop.value, None)
                return
            except Broken as failure:
                self._ended(strand, None, failure.error)
                return
            except Strayed as strayed:
                self.stray = self.stray or strayed.fact
                return
            if isinstance(effect, Join):
                self._fork(_Group(strand, effect))
                return
            fact = self._journal.answer(effect.place, effect.kind)
            if fact is None or not fact.settled:
                self._waiting[effect.place.key] = (strand, effect)
                self.fresh.append(effect)
                return
            value, broken = _answer(fact)

    def _fork(self, group: _Group) -> None:
        strands = []
        while strand := group.next_strand():
            strands.append(strand)
        self._ready.extend((strand, None, None) for strand in reversed(strands))
        if group.running == 0:
            self._ready.append((group.parent, *group.outcome()))

    def _ended(self, strand: Strand, value: Any, error: ErrorRecord | None) -> None:
        group = strand.group
        if group is None:
            self.ended, self.value, self.error = True, value, error
            return
        group.running -= 1
        if error is None:
            group.values[strand.index] = value
        else:
            group.errors[strand.index] = error
        if group.join.begun is None:
            self._fork(group)
        elif group not in self._later:  # what has broken must be known, all of it, before a further strand may begin
            self._later.append(group)


def _answer(fact: Fact) -> tuple[Fact | None, Broken | None]:
    if fact.status is FactStatus.FAILED:
        return None, Broken(fact.error or ErrorRecord("Unknown", "no error was recorded", fact.name))
    return fact, None
