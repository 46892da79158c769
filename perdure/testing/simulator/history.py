"""One history: a scheduler with one thread that picks what goes next, from a seed.

Rules:

1. First chaos: runs are started, sent signals and cancelled, time passes, commits fail, processes die and are taken for
   dead. Then calm: what is still open is brought to its end by signals and time alone.
2. Everything is drawn from the seed, so that a seed is a history. A crash at a turn that is given changes nothing
   before that turn.
3. The engine is never asked what it thinks: the ledger has seen what it did.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...dsl import messages as msg
from ...dsl.errors import StoreUnavailable
from ...persistence.faults import NOTHING_WRITTEN, OUTCOME_UNKNOWN
from ...persistence.migrations import blank
from .callers import Callers
from .clock import MICROS, VirtualClock
from .flows import build
from .lanes import Pick
from .ledger import Ledger
from .logs import listening
from .plans import Swarm, make_flows
from .process import Process
from .verdict import Verdict

__all__ = ["History", "Outcome", "PromiseBroken", "crash_at_every_turn"]

_LONGEST_CALM = 5000
_SHOWN = 40
_IDLE = frozenset({"tick", "crash", "oust"})
_ROOM = {0: 1, 2: 3, 4: 9}
"""How many runs have room in memory, in every fifth history, and none to rest there; in the others all have."""
_FAULTS = ("crash", "refuse", "forget", "oust")


class PromiseBroken(AssertionError):
    """A history in which the engine did not keep what it promises.

    Attributes:
        seed: The history's seed.
        turn: The turn in which it came out.
        violations: What was broken, in words.
    """

    def __init__(self, seed: int, turn: int, violations: list[str], trace: str, crash_at: int | None) -> None:
        self.seed = seed
        self.turn = turn
        self.violations = violations
        again = f"python -m perdure.testing.simulator --seed {seed}"
        if crash_at is not None:
            again = f"{again} --crash-at {crash_at}"
        text = "\n  ".join(violations)
        super().__init__(f"in turn {turn}:\n  {text}\nreplay: {again}\nthe last turns: {trace}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one history came to.

    Attributes:
        seed: Its seed.
        turns: How many turns it took.
        processes: How many processes it took.
        runs: How many runs there were, children too.
        states: In which states they ended.
        chaos: How many of the turns were chaos; a crash at any of them is another history.
    """

    seed: int
    turns: int
    processes: int
    runs: int
    states: tuple[str, ...]
    chaos: int


class History:
    """Runs one history; make one for each."""

    def __init__(
        self, seed: int, *, folder: str | None = None, location: str | None = None, crash_at: int | None = None
    ) -> None:
        """Make up what is to happen.

        Args:
            seed: What everything is drawn from.
            folder: Where the database is to be, for the time being; one in memory if the system has it.
            location: The address of an empty database on a server, which is to be used instead.
            crash_at: The one turn in which the process dies; it then dies in no other, and no commit fails.
        """
        self._seed = seed
        self._folder = folder or ("/dev/shm" if Path("/dev/shm").is_dir() else None)  # noqa: S108 - as good as memory
        self._location = location
        self._crash_at = crash_at
        self._swarm = Swarm.of(seed)
        self._chance = self._swarm.chance
        self._flows = make_flows(self._swarm)
        self._definitions = [build(flow).definition() for flow in self._flows]
        self._plans = {plan.name: plan for flow in self._flows for plan in flow.every()}
        self._clock = VirtualClock()
        self._ledger = Ledger(self._clock)
        self._callers = Callers(self._chance, self._flows, self._ledger)
        self._verdict = Verdict(self._flows, self._ledger)
        self._length = self._chance.choice((30, 60, 120))
        self._deaths = self._chance.choice((0, 1, 1, 2, 4))
        self._trace: list[str] = []
        self._process: Process
        self._zombie: Process | None = None
        self._number = 0
        if crash_at is not None:
            self._swarm.picks.update(dict.fromkeys(_FAULTS, 0.0))

    def run(self) -> Outcome:
        """Let it happen.

        Raises:
            PromiseBroken: a promise was broken; the message says how to see it again.
        """
        with (
            tempfile.TemporaryDirectory(prefix="perdure-sim-", dir=self._folder) as folder,
            self._clock.ticking(),
            listening(self._logged),
        ):
            self._place = self._location or _blank_file(folder)
            self._live()
            try:
                chaos = self._chaos()
                self._calm()
                self._verdict.at_the_end(self._process)
                self._look()
            finally:
                self._bury()
        states = tuple(sorted(row.state for row in self._ledger.rows.values()))
        return Outcome(self._seed, len(self._trace), self._number, len(states), states, chaos)

    def _logged(self, text: str) -> None:
        self._ledger.broken(7, f"the engine has logged an error: {text}")

    # ---- life and death

    def _live(self) -> None:
        self._number += 1
        self._process = Process(
            self._place,
            number=self._number,
            ledger=self._ledger,
            plans=self._plans,
            definitions=self._definitions,
            concurrency=self._swarm.concurrency,
            most=_ROOM.get(self._seed % 5, 1000),
            chance=self._chance,
            deadly=0.02 * self._swarm.picks["crash"],
        )
        self._ledger.current = self._process

    def _crash(self) -> None:
        self._process.abandon()
        self._live()

    def _oust(self) -> None:
        """Take the process for dead while it lives on, as a stopped one does that is let go again."""
        self._bury_zombie()
        self._zombie = self._process
        self._zombie.disown()
        self._live()

    def _bury_zombie(self) -> None:
        if self._zombie is not None:
            self._zombie.abandon()
            self._zombie = None

    def _bury(self) -> None:
        self._bury_zombie()
        self._process.abandon()

    # ---- chaos

    def _chaos(self) -> int:
        while len(self._trace) < self._length:
            picks = list(self._possible())
            if self._process.lanes.next_instant is None and all(kind in _IDLE for kind, _ in picks):
                gates = self._verdict.open_gates()
                if not gates:
                    break
                picks.append(("act", lambda gates=gates: self._open_one(gates)))  # type: ignore[misc]
            self._take(self._draw(picks))
        self._bury_zombie()
        return len(self._trace)

    def _open_one(self, gates: list[tuple[str, str]]) -> None:
        run, event = self._chance.choice(gates)
        self._callers.signal(self._process, run, event)

    def _take(self, pick: Pick) -> None:
        if len(self._trace) == self._crash_at:
            pick = ("crash", self._crash)
        self._trace.append(pick[0])
        pick[1]()
        if self._process.dying and self._crash_at is None:
            self._trace[-1] += " and die"
            self._crash()
        if self._ledger.violations:
            self._look()

    def _draw(self, picks: list[Pick]) -> Pick:
        weights = self._swarm.picks
        return self._chance.choices(picks, [weights[kind] for kind, _ in picks])[0]

    def _possible(self) -> Iterator[Pick]:
        yield from self._process.lanes.picks()
        if self._zombie is not None:
            yield from self._zombie.lanes.picks()
        if self._callers.more:
            yield "act", lambda: self._callers.act(self._process)
        yield "tick", self._tick
        if self._number <= self._deaths:
            yield "crash", self._crash
            yield "oust", self._oust
        if self._process.lanes.commits and not self._process.lanes.commits[0].written:
            yield "refuse", lambda: self._fail(written=False)
            yield "forget", lambda: self._fail(written=True)

    def _tick(self) -> None:
        """Let time pass: a little, much, or exactly until something is due."""
        due = self._process.lanes.next_instant
        ways = [0.001, 0.3, 1.0, 7.0, 100.0]
        step = round(self._chance.choice(ways) * self._chance.random() * MICROS)
        if due is not None and due > self._clock.now and self._chance.random() < 0.6:  # noqa: PLR2004 - most often
            step = due - self._clock.now + self._chance.choice((0, 0, 1, -1, step))
        self._clock.now += max(step, 0)

    def _fail(self, *, written: bool) -> None:
        """Have the next commit fail: either nothing was written, or all of it, and the engine cannot know."""
        commit = self._process.lanes.commits[0]
        if written:
            commit.write()
            self._process.excused = True
        commit.written = True
        commit.error = StoreUnavailable(f"the disk has failed; {OUTCOME_UNKNOWN if written else NOTHING_WRITTEN}")

    # ---- calm

    def _calm(self) -> None:
        for _ in range(_LONGEST_CALM):
            picks = list(self._process.lanes.picks())
            if picks:
                self._take(self._chance.choice(picks))
            elif not self._go_on():
                return
        self._ledger.broken(7, f"the runs have not come to an end within {_LONGEST_CALM} turns")
        self._look()

    def _go_on(self) -> bool:
        """Bring what waits nearer to its end; return whether anything was left to do."""
        self._verdict.at_rest(self._process)
        self._look()
        poisoned = self._verdict.poisoned()
        gates = self._verdict.open_gates()
        due = self._process.lanes.next_instant
        if poisoned:
            self._take(("resume", lambda: self._callers.send(self._process, poisoned[0], msg.Resume())))
        elif gates and (due is None or self._chance.random() < 0.5):  # noqa: PLR2004 - either
            self._take(("act", lambda: self._open_one(gates)))
        elif due is not None:
            self._take(("tick", lambda: self._jump(due)))
        else:
            return False
        return True

    def _jump(self, instant: int) -> None:
        self._clock.now = max(self._clock.now, instant)

    # ---- looking

    def _look(self) -> None:
        if self._ledger.violations:
            trace = ", ".join(self._trace[-_SHOWN:])
            raise PromiseBroken(self._seed, len(self._trace), self._ledger.violations, trace, self._crash_at)

    def describe(self) -> str:
        """Return the workflows, the runs and all turns, readable."""
        lines = [f"{flow.name}, timeout={flow.timeout}: {', '.join(map(repr, flow.body))}" for flow in self._flows]
        lines += [f"{row.execution_id}: {row.workflow} {row.state}" for row in self._ledger.rows.values()]
        return "\n".join([*lines, ", ".join(self._trace)])


def _blank_file(folder: str) -> str:
    path = Path(folder) / "history.db"
    path.write_bytes(blank())
    return str(path)


def crash_at_every_turn(seed: int) -> int:
    """Run a history again and again, with one crash at each of its turns in turn; return how many there were.

    Raises:
        PromiseBroken: in one of them a promise was broken.
    """
    calm = History(seed, crash_at=-1).run()
    for turn in range(calm.turns):
        History(seed, crash_at=turn).run()
    return calm.turns + 1
