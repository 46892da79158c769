"""The walk: drives the generators of the nodes over the journal until the facts end.

Rules:

1. A walk is made from a definition and a journal, and from nothing else. Restoring a run is a fresh walk: it stops
   exactly where the facts end. There is no stored position that could disagree with them.
2. An effect whose fact is settled is answered at once; any other is handed out, once, in ``fresh``.
3. Whoever carries an effect out records its fact and calls `Walk.resume` with its key. A key nobody waits for is
   ignored, so an answer that comes too late does no harm.
4. The walk knows no kind of node, and would not change if one were added or deleted.
5. Once a group is decided, its strands are answered from the journal and from what is under way, and ask for nothing
   more. What was decided is recorded, where the facts alone would not say it: so it comes out the same after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from .effects import Conclude, Effect, Join, Joined, Walker, Withdraw
from .facts import ErrorRecord, Fact, FactKind, FactStatus, Place
from .joining import ALL
from .journal import Journal

__all__ = ["Broken", "Strand", "Strayed", "Walk", "Withdrawn"]


class Broken(Exception):
    """Thrown into a node's generator when the answer to its effect is a failure; never shown to a user."""

    def __init__(self, error: ErrorRecord, causes: tuple[Fact, ...] = ()) -> None:
        super().__init__(str(error))
        self.error = error
        self.causes = causes


class Strayed(Exception):
    """Raised by a node whose recorded answer leads nowhere in this definition, which has changed."""

    def __init__(self, fact: Fact) -> None:
        super().__init__(fact.key)
        self.fact = fact


class Withdrawn(Exception):
    """Thrown into a node's generator when its strand is no longer wanted; never shown to a user.

    Attributes:
        begun: Whether what the node had asked for had begun.
        causes: Facts of what was ended.
    """

    def __init__(self, *, begun: bool, causes: tuple[Fact, ...] = ()) -> None:
        super().__init__()
        self.begun = begun
        self.causes = causes


End = Broken | Withdrawn | None
"""How a strand has ended, or an effect: badly, before its time, or well."""


class Strand:
    """One line of execution: a generator, and the group that waits for its end."""

    __slots__ = ("generator", "group", "index")

    def __init__(self, generator: Walker, group: _Group | None, index: int) -> None:
        self.generator = generator
        self.group = group
        self.index = index

    def is_withdrawn(self) -> bool:
        """Tell whether a group that it stands in, to any depth, is decided: then it begins nothing more."""
        group = self.group
        while group is not None:
            if group.decided is not None:
                return True
            group = group.parent.group
        return False

    def is_inside(self, outer: _Group) -> bool:
        """Tell whether it stands in a group, to any depth."""
        group = self.group
        while group is not None and group is not outer:
            group = group.parent.group
        return group is not None


class _Group:
    """A ``Join`` that is under way."""

    __slots__ = (
        "causes",
        "cut",
        "decided",
        "depth",
        "errors",
        "join",
        "parent",
        "running",
        "source",
        "started",
        "values",
    )

    def __init__(self, parent: Strand, join: Join) -> None:
        self.parent = parent
        self.depth: int = 0 if parent.group is None else parent.group.depth + 1
        self.join = join
        self.source: Iterator[Walker] = iter(join.strands)
        self.running = 0
        self.started = 0
        self.values: dict[int, Any] = {}
        self.errors: dict[int, ErrorRecord] = {}
        self.causes: tuple[Fact, ...] = ()
        self.cut = False
        self.decided: tuple[list[int], list[int]] | None = None

    def next_strand(self) -> Strand | None:
        """Return the next strand that may begin now, if any."""
        join = self.join
        if join.limit is not None and self.running >= join.limit:
            return None
        if join.begun is not None and self._is_closed() and self.started > max(self._begun(join.begun), default=-1):
            return None
        generator = next(self.source, None)
        if generator is None:
            return None
        self.running += 1
        self.started += 1
        return Strand(generator, self, self.started - 1)

    def _is_closed(self) -> bool:
        return self.decided is not None or (bool(self.errors) and self.join.policy.is_lost(self.join.size, self.errors))

    def _begun(self, begun: Callable[[], Collection[int]]) -> list[int]:
        succeeded, failed = self.decided or ([], [])
        return [*begun(), *succeeded, *failed]

    def take(self, index: int, value: Any, end: End) -> None:
        """Hear of a strand's end."""
        self.running -= 1
        if end is None:
            self.values[index] = value
            return
        self.causes += end.causes
        if isinstance(end, Broken):
            self.errors[index] = end.error
        else:
            self.cut = True

    def must_decide(self) -> bool:
        """Tell whether this is the moment at which the group's outcome has become certain."""
        if self.decided is not None or not self.join.policy.is_decided(self.join.size, self.values, self.errors):
            return False
        # What is to be recorded is decided by strands that are wanted, and by no others.
        return self.join.place is None or not self.parent.is_withdrawn()

    def decide(self) -> None:
        """Keep what is certain: whatever else its strands come to is no part of it."""
        self.decided = sorted(self.values), sorted(self.errors)

    def outcome(self) -> tuple[Joined | None, End]:
        """Return what the strands came to, or one failure that carries every failure that counts.

        Raises:
            KeyError: by the definition a strand that has counted does not come to what was recorded.
        """
        if self.decided is None and self.cut:
            return None, Withdrawn(begun=True, causes=self.causes)
        succeeded, failed = self.decided or (sorted(self.values), sorted(self.errors))
        values = {index: self.values[index] for index in succeeded}
        errors = {index: self.errors[index] for index in failed}
        if errors and self.join.policy.is_lost(self.join.size, failed):
            return None, Broken(_several(list(errors.values())), self.causes)
        return Joined(values, errors), None


def _several(errors: list[ErrorRecord]) -> ErrorRecord:
    if len(errors) == 1:
        return errors[0]
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
        causes: The facts for which it broke; none when a node broke by itself.
        stray: A fact whose answer leads nowhere: the definition has changed, and the walk cannot go on.
    """

    __slots__ = ("_journal", "_later", "_ready", "_waiting", "causes", "ended", "error", "fresh", "stray", "value")

    def __init__(self, root: Walker, journal: Journal) -> None:
        self._journal = journal
        self._waiting: dict[str, tuple[Strand, Effect]] = {}
        self._ready: list[tuple[Strand, Any, End]] = [(Strand(root, None, 0), None, None)]
        self._later: list[_Group] = []
        self.fresh: list[Effect] = []
        self.ended = False
        self.value: Any = None
        self.error: ErrorRecord | None = None
        self.causes: tuple[Fact, ...] = ()
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

    def withdraws(self, key: str) -> bool:
        """Tell whether the open effect of this key is no longer wanted."""
        waiting = self._waiting.get(key)
        return waiting is not None and waiting[0].is_withdrawn()

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
                group = self._take_innermost()
                if group.must_decide():
                    self._decide(group)
                self._fork(group)

    def _take_innermost(self) -> _Group:
        """Take the group that nothing but itself can tell of: those around it may break with it."""
        innermost = max(self._later, key=lambda group: group.depth)
        self._later.remove(innermost)
        return innermost

    def _advance(self, strand: Strand, value: Any, end: End) -> None:
        generator = strand.generator
        while True:
            try:
                effect = generator.throw(end) if end is not None else generator.send(value)
            except StopIteration as stop:
                self._ended(strand, stop.value, None)
                return
            except (Broken, Withdrawn) as reason:
                # What it went through is the stack that called this, and would keep all of it alive in a circle.
                self._ended(strand, None, reason.with_traceback(None))
                return
            except Strayed as strayed:
                self.stray = self.stray or strayed.fact
                return
            if isinstance(effect, Join):
                self._open(_Group(strand, effect))
                return
            fact = self._journal.answer(effect.place, effect.kind)
            if fact is None or not fact.settled:
                if strand.group is None or not strand.is_withdrawn():
                    self._waiting[effect.place.key] = (strand, effect)
                    self.fresh.append(effect)
                    return
                if fact is not None:
                    self._waiting[effect.place.key] = (strand, effect)
                    self.fresh.append(Withdraw(effect))  # type: ignore[arg-type]  # a node asks for nothing else
                    return
                value, end = None, Withdrawn(begun=False)
            else:
                value, end = _answer(fact)

    # ---- groups

    def _open(self, group: _Group) -> None:
        place = group.join.place
        fact = None if place is None else self._journal.answer(place, FactKind.DECISION)
        if fact is not None:
            succeeded, failed = self._journal.value(fact)
            group.decided = succeeded, failed
        self._fork(group)

    def _fork(self, group: _Group) -> None:
        strands = []
        while strand := group.next_strand():
            strands.append(strand)
        self._ready.extend((strand, None, None) for strand in reversed(strands))
        if group.running == 0:
            self._close(group)

    def _close(self, group: _Group) -> None:
        if group.decided is not None and group.join.place is not None:
            decision = self._journal.facts.get(group.join.place.key)
            group.causes += () if decision is None else (decision,)
        try:
            outcome = group.outcome()
        except KeyError:
            assert group.join.place is not None  # only what was recorded can disagree with the definition
            self.stray = self.stray or self._journal.facts[group.join.place.key]
            return
        self._ready.append((group.parent, *outcome))

    def _ended(self, strand: Strand, value: Any, end: End) -> None:
        group = strand.group
        if group is None:
            self.ended, self.value = True, value
            if isinstance(end, Broken):
                self.error, self.causes = end.error, end.causes
            return
        group.take(strand.index, value, end)
        if group.join.begun is None and group.join.policy is ALL:
            self._fork(group)
        elif group not in self._later:  # what has ended must be known, all of it, before it is judged
            self._later.append(group)

    def _decide(self, group: _Group) -> None:
        """Fix what is certain, and give up what is still under way."""
        unwanted = [
            (key, strand, effect)
            for key, (strand, effect) in self._waiting.items()
            if strand.is_inside(group) and not strand.is_withdrawn()
        ]
        group.decide()
        if group.join.place is not None:
            self._conclude(group.join.place, group)
        for key, strand, effect in unwanted:
            fresh = next((at for at, one in enumerate(self.fresh) if one is effect), None)
            if fresh is not None:
                del self.fresh[fresh]
            begun = self._journal.answer(effect.place, effect.kind) is not None
            if not begun:  # there will be no fact: it leaves nothing that a restart would find
                del self._waiting[key]
                self._ready.append((strand, None, Withdrawn(begun=False)))
            if begun or fresh is None:
                self.fresh.append(Withdraw(effect))  # type: ignore[arg-type]  # a node asks for nothing else

    def _conclude(self, place: Place, group: _Group) -> None:
        assert group.decided is not None
        join = self._journal.reader.join
        value = join(join(map(str, indices)) for indices in group.decided)
        # An inner group's before that of the group around it, and both before what follows from them.
        others = sum(isinstance(effect, Conclude) for effect in self.fresh)
        self.fresh.insert(others, Conclude(place, value))


def _answer(fact: Fact) -> tuple[Fact | None, End]:
    if fact.status is FactStatus.FAILED:
        return None, Broken(fact.error or ErrorRecord("Unknown", "no error was recorded", fact.name), (fact,))
    if fact.status is FactStatus.CANCELLED:
        return None, Withdrawn(begun=fact.attempts > 0, causes=(fact,))
    return fact, None
