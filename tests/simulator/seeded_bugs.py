"""Bugs of our own: each takes away one guard, or does one thing wrong that looks right. Never in the product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from perdure.actors.attempts import Attempts
from perdure.actors.backlog import Backlog
from perdure.actors.core import Core
from perdure.actors.course import Course
from perdure.actors.crew import Crew
from perdure.actors.execution import ExecutionActor
from perdure.actors.family import Family
from perdure.actors.gates import Gates
from perdure.actors.supervisor import Supervisor
from perdure.actors.timekeeper import Timekeeper
from perdure.dsl.facts import FactStatus
from perdure.dsl.scope import Scope
from perdure.persistence.ownership import Membership

__all__ = ["BUGS"]

Patch = pytest.MonkeyPatch
Bug = Callable[[Patch], None]

BUGS: dict[str, tuple[Bug, int]] = {}
"""Each bug by the sentence that says what is wrong, with the seed of a history that shows it."""


def _bug(sentence: str, *, seed: int) -> Callable[[Bug], Bug]:
    def add(bug: Bug) -> Bug:
        BUGS[sentence] = (bug, seed)
        return bug

    return add


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing."""


def _before_the_commit(patch: Patch, hasten: Callable[[Core, Any], None]) -> None:
    remember = Core._remember

    def hasty(self: Core, turns: list[Any]) -> None:
        for turn in turns:
            if turn.error is None:
                hasten(self, turn)
        remember(self, turns)

    patch.setattr(Core, "_remember", hasty)


@_bug("what a turn decides is done before it is on disk", seed=0)
def acts_early(patch: Patch) -> None:
    def act(core: Core, turn: Any) -> None:
        acts, turn.acts = turn.acts, []
        for one in acts:
            one()

    _before_the_commit(patch, act)


@_bug("events are told before they are on disk", seed=0)
def tells_early(patch: Patch) -> None:
    def tell(core: Core, turn: Any) -> None:
        notices, turn.notices = turn.notices, []
        if notices:
            core.bus.publish(notices)

    _before_the_commit(patch, tell)


@_bug("callers are answered before it is on disk", seed=0)
def answers_early(patch: Patch) -> None:
    def answer(core: Core, turn: Any) -> None:
        replies, turn.replies = turn.replies, []
        for reply, value in replies:
            if reply is not None and not isinstance(value, BaseException):
                reply.set(value)

    _before_the_commit(patch, answer)


@_bug("an engine that was taken over may still write", seed=9)
def unfenced(patch: Patch) -> None:
    patch.setattr(Membership, "ask", lambda self, connection: lambda: None)


@_bug("a gate looks at what comes first, and not at the deadline", seed=584)
def by_arrival(patch: Patch) -> None:
    take = Gates._take
    patch.setattr(Gates, "_take", lambda self, effect, gate: take(self, effect, replace(gate, due_at=None)))


@_bug("a result counts although it came after the attempt's time limit", seed=164)
def late_results(patch: Patch) -> None:
    answered = Attempts.answered

    def trusting(self: Attempts, message: Any) -> Any:
        attempt = self.in_flight.get(message.key)
        if attempt is not None:
            attempt.began = message.at
        return answered(self, message)

    patch.setattr(Attempts, "answered", trusting)


@_bug("a signal stays in the mailbox after a gate has taken it", seed=24)
def taken_twice(patch: Patch) -> None:
    take = Gates._take

    def generous(self: Gates, effect: Any, gate: Any) -> bool:
        before = list(self._untaken)
        taken = take(self, effect, gate)
        self._untaken = before
        return taken

    patch.setattr(Gates, "_take", generous)


@_bug("a second signal with the same key is accepted", seed=376)
def unknown_keys(patch: Patch) -> None:
    patch.setattr(Gates, "knows", lambda self, key: False)


@_bug("a run leaves memory though there is mail for it", seed=789)
def no_handshake(patch: Patch) -> None:
    rest = Supervisor.rest

    def deaf(self: Supervisor, actor: Any) -> None:
        ready, actor.ready = actor.ready, False
        rest(self, actor)
        actor.ready = ready

    patch.setattr(Supervisor, "rest", deaf)


@_bug("what was done first is undone first", seed=1)
def undo_order(patch: Patch) -> None:
    debts = Scope.debts
    patch.setattr(Scope, "debts", lambda self: debts(self)[::-1])


def _taken_up(patch: Patch, change: Callable[[Any], Any]) -> None:
    ask = Attempts.ask

    def changed(self: Attempts, effect: Any, fact: Any) -> None:
        ask(self, effect, change(fact) if fact is not None and fact.status is FactStatus.RUNNING else fact)

    patch.setattr(Attempts, "ask", changed)


@_bug("a crash gives a step all its attempts back", seed=0)
def fresh_attempts(patch: Patch) -> None:
    _taken_up(patch, lambda fact: replace(fact, attempts=0, interruptions=0))


@_bug("a crash uses up one of a step's attempts", seed=80)
def eaten_attempts(patch: Patch) -> None:
    _taken_up(patch, lambda fact: replace(fact, interruptions=fact.interruptions - 1))


@_bug("timers are not read back at the start", seed=2)
def no_timers(patch: Patch) -> None:
    patch.setattr(Timekeeper, "reload", _nothing)


@_bug("the timer of a turn that was dropped is not set again", seed=45)
def dropped_timers(patch: Patch) -> None:
    patch.setattr(Course, "keep_armed", _nothing)


@_bug("a crash makes a deadline longer", seed=3)
def longer_deadlines(patch: Patch) -> None:
    ask = Gates.ask

    def patient(self: Gates, effect: Any, fact: Any) -> None:
        if fact is not None and effect.timeout:
            fact = replace(fact, due_at=self._course.now + round(effect.timeout * 1_000_000))
            self._course.record(fact)
            self._course.arm(fact.due_at, fact.key)
        ask(self, effect, fact)

    patch.setattr(Gates, "ask", patient)


@_bug("numbers of events that were told are given again after a crash", seed=0)
def numbers_again(patch: Patch) -> None:
    patch.setattr(Course, "end_turn", _nothing)


@_bug("a child's end is told to nobody", seed=13)
def silent_child(patch: Patch) -> None:
    patch.setattr(Family, "tell_parent", _nothing)


@_bug("an end is told to nobody whose commit seemed to fail", seed=504)
def silent_end(patch: Patch) -> None:
    patch.setattr(ExecutionActor, "_tell_again", _nothing)


@_bug("an attempt that queues begins though the run was cancelled", seed=46)
def cancelled_begins(patch: Patch) -> None:
    patch.setattr(Crew, "_is_unwanted", lambda self, attempt: False)


@_bug("a step that was the last to be recorded is forgotten by a crash", seed=1)
def forgetful(patch: Patch) -> None:
    original = Course.__init__

    def forget(self: Course, office: Any, stored: Any, turn: Any) -> None:
        settled = [fact for fact in stored.facts if fact.settled and fact.attempts]
        last = max(settled, key=lambda fact: fact.completed_at, default=None)
        original(self, office, stored._replace(facts=[fact for fact in stored.facts if fact is not last]), turn)

    patch.setattr(Course, "__init__", forget)


@_bug("only the oldest of the runs that were under way goes on after a crash", seed=0)
def stranded(patch: Patch) -> None:
    adopt = Supervisor.adopt
    patch.setattr(Supervisor, "adopt", lambda self, row: not self._live and adopt(self, row))


@_bug("a run for which there is no room is not noted", seed=0)
def not_noted(patch: Patch) -> None:
    patch.setattr(Backlog, "leave_behind", lambda self, run, is_new: None)


@_bug("whoever makes room in memory does not say so", seed=0)
def not_said(patch: Patch) -> None:
    patch.setattr(Backlog, "left", lambda self, run: None)


@_bug("a commit that failed is taken for one that was made", seed=9)
def failures_ignored(patch: Patch) -> None:
    committed = Core._committed
    patch.setattr(Core, "_committed", lambda self, turns, error: committed(self, turns, None))
