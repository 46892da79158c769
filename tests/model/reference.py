"""A workflow engine in a hundred lines: no threads, no database, time that is a number, and the rules of the real one.

It is the reference of the model test: what it says about states, attempts, effects and deadlines must be what the
engine says, whatever happens to the engine's process.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Flow", "Node", "Reference", "ReferenceRun"]

_FIRST_DELAY, _LONGEST_DELAY = 2.0, 30.0


@dataclass(frozen=True)
class Node:
    """A step, a gate or a sleep.

    Attributes:
        kind: Which.
        name: Name of the node; of a gate, its event.
        fails: How often the handler of a step raises.
        retry: How often it may.
        seconds: How long a sleep takes, or a gate waits; None for ever.
        undone: Whether a step has a compensation.
    """

    kind: str
    name: str
    fails: int = 0
    retry: int = 1
    seconds: float | None = None
    undone: bool = False


@dataclass(frozen=True)
class Flow:
    """A workflow: its nodes, and how many seconds a run may take."""

    name: str
    nodes: tuple[Node, ...]
    timeout: float | None = None


@dataclass
class ReferenceRun:
    """One run.

    Attributes:
        state: As the engine names it.
        due: When something happens by itself.
        deadline: When the run as a whole must have ended.
        attempts: How often each step has begun.
        effects: What handlers have done, in order.
    """

    flow: Flow
    state: str = "running"
    at: int = 0
    due: float | None = None
    deadline: float | None = None
    attempts: dict[str, int] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)
    mailbox: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    completed: list[Node] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether it goes no further."""
        return self.state in ("completed", "failed", "cancelled")

    @property
    def next_due(self) -> float | None:
        """When it has to be looked at again."""
        return min((time for time in (self.due, self.deadline) if time is not None and not self.ended), default=None)

    def begin(self, now: float) -> None:
        """Start."""
        if self.flow.timeout is not None:
            self.deadline = now + self.flow.timeout
        self._enter(0, now)

    def signal(self, event: str, key: str | None, now: float) -> None:
        """Take a signal in."""
        if key is not None and key in self.keys:
            return
        self.keys |= {key} if key is not None else set()
        self.mailbox.append(event)
        node = self.flow.nodes[self.at]
        if node.kind == "gate" and node.name == event:
            self._open(node, now)

    def cancel(self) -> None:
        """Stop and undo."""
        self._undo("cancelled")

    def look(self, now: float) -> None:
        """Do what is due."""
        if self.ended:
            return
        if self.deadline is not None and self.deadline <= now:
            self._undo("failed")
        elif self.due is not None and self.due <= now:
            self._happen(now)

    def _happen(self, now: float) -> None:
        node = self.flow.nodes[self.at]
        self.due = None
        match node.kind:
            case "step":
                self._try(node, now)
            case "gate":
                self._undo("failed")
            case "sleep":
                self._enter(self.at + 1, now)

    def _enter(self, at: int, now: float) -> None:
        if at == len(self.flow.nodes):
            self.state = "completed"
            return
        self.at, node = at, self.flow.nodes[at]
        self.state = "running" if node.kind == "step" else "waiting"
        if node.kind == "step":
            self._try(node, now)
        elif node.kind == "gate" and node.name in self.mailbox:
            self._open(node, now)
        elif node.seconds is not None:
            self.due = now + node.seconds

    def _open(self, node: Node, now: float) -> None:
        self.mailbox.remove(node.name)
        self.due = None
        self._enter(self.at + 1, now)

    def _try(self, node: Node, now: float) -> None:
        number = self.attempts[node.name] = self.attempts.get(node.name, 0) + 1
        self.effects.append(f"{node.name} {number}")
        if number > node.fails:
            self.completed.append(node)
            self._enter(self.at + 1, now)
        elif number == node.retry:
            self._undo("failed")
        else:
            self.due = now + min(_FIRST_DELAY * 2 ** (number - 1), _LONGEST_DELAY)

    def _undo(self, state: str) -> None:
        self.effects += [f"undo {node.name}" for node in reversed(self.completed) if node.undone]
        self.state, self.due = state, None


@dataclass
class Reference:
    """All runs, and the time."""

    now: float = 0.0
    runs: dict[str, ReferenceRun] = field(default_factory=dict)

    @property
    def next_due(self) -> float | None:
        """When something happens next."""
        return min((due for run in self.runs.values() if (due := run.next_due) is not None), default=None)

    def start(self, id: str, flow: Flow) -> None:
        """Start a run, unless there is one of this id."""
        if id not in self.runs:
            run = self.runs[id] = ReferenceRun(flow)
            run.begin(self.now)
            self.settle()

    def settle(self) -> None:
        """Do everything that is due now."""
        while (due := self.next_due) is not None and due <= self.now:
            for run in self.runs.values():
                run.look(self.now)

    def advance(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline."""
        target = self.now + seconds
        while (due := self.next_due) is not None and due <= target:
            self.now = max(self.now, due)
            self.settle()
        self.now = target

    def sleep_through(self, seconds: float) -> None:
        """Let time pass while nobody looks."""
        self.now += seconds
        self.settle()
