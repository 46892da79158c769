"""What a handler sees: the context.

Every value is decoded from what was stored, each time for one handler: nothing a handler does to it reaches another
handler or the database, and nothing works only until the first restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import isroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from .errors import OutOfReach, UsageError, did_you_mean
from .facts import ErrorRecord, Place
from .scope import Scope
from .signals import Signal
from .transaction import StepTransaction
from .views import StepsView, View

if TYPE_CHECKING:
    from .steps import Step

__all__ = ["Context", "RunFacts"]

InputT_co = TypeVar("InputT_co", covariant=True)
R = TypeVar("R")
D = TypeVar("D")

_MISSING: Any = object()

_VERBS = frozenset(
    {"step", "branch", "parallel", "for_each", "wait_for", "sub_workflow", "do_until", "do_while", "map", "sleep"}
)


def _name_of(key: Any) -> str:
    """Return the name of a step or signal.

    Raises:
        UsageError: it is neither.
    """
    name = getattr(key, "name", None)
    if isinstance(name, str):
        return name
    if isinstance(key, str):
        text = f"{key!r} is a name: what goes by its name is ctx.steps[{key!r}] or ctx.signals[{key!r}]"
    elif isroutine(key):
        text = f"the function {key.__name__!r} is no step by itself: decorate it with @step, or use ctx.steps[...]"
    else:
        text = f"{key!r} is no step and no signal"
    raise UsageError(f"the context is asked for a step or a signal; {text}")


class RunFacts:
    """What is the same for every handler of one run; made once per actor.

    Attributes:
        execution_id: Id of the run.
        workflow_name: Name of its workflow.
        input: Encoded input.
        make_logger: Makes the logger whose records carry the run's id, the names of workflow and step, the attempt.
        where: Where the handler runs, if nothing that happens there reaches the run until the handler has returned.
    """

    __slots__ = ("execution_id", "input", "make_logger", "where", "workflow_name")

    def __init__(
        self,
        execution_id: str,
        workflow_name: str,
        input: str,
        make_logger: Callable[[str, str, str, int], Any],
        where: str | None = None,
    ) -> None:
        self.execution_id = execution_id
        self.workflow_name = workflow_name
        self.input = input
        self.make_logger = make_logger
        self.where = where


class Context(Generic[InputT_co]):
    """What a handler, selector, condition, mapper or compensation is given.

    Attributes:
        execution_id: Id of the run.
        workflow_name: Name of its workflow.
        attempt: How often this handler has begun, this time included; 0 for selectors and their like.
        idempotency_key: The same for every attempt of one step of one run, loop turn and item; hand it to outside
            services so that they can drop repeats.
        failure: In a compensation: why the run is being undone.
    """

    __slots__ = (
        "_input",
        "_is_undo",
        "_place",
        "_run",
        "_scope",
        "_signals",
        "_steps",
        "_transaction",
        "attempt",
        "failure",
        "is_cancelled",
        "open_notes",
    )

    def __init__(
        self,
        run: RunFacts,
        scope: Scope,
        place: Place,
        *,
        attempt: int = 0,
        is_undo: bool = False,
        failure: ErrorRecord | None = None,
        is_cancelled: Callable[[], bool] | None = None,
        transaction: StepTransaction | None = None,
        open_notes: Callable[[], Any] | None = None,
    ) -> None:
        self._run = run
        self._scope = scope
        self._place = place
        self._is_undo = is_undo
        self._input: Any = _MISSING
        self._transaction = transaction
        self._steps: View | None = None
        self._signals: View | None = None
        self.attempt = attempt
        self.failure = failure
        self.is_cancelled = is_cancelled
        self.open_notes = open_notes

    if not TYPE_CHECKING:  # a type checker that saw this would take any name for granted

        def __getattr__(self, name: str) -> Any:
            known = [known for known in dir(type(self)) if not known.startswith("_")]
            hint = did_you_mean(name, known) if not name.startswith("_") and get_close_matches(name, known, 1) else ""
            if name in _VERBS:
                hint = "; this is the context, not a builder: for_each takes several nodes as block="
            msg = f"a context has no {name!r}{hint}"
            raise AttributeError(msg, name=name, obj=self)

    def __repr__(self) -> str:
        """Name the run and the place in it."""
        return f"<Context {self.workflow_name} {self.execution_id} at {self._place.name!r}>"

    @property
    def execution_id(self) -> str:
        """Id of the run."""
        return self._run.execution_id

    @property
    def workflow_name(self) -> str:
        """Name of the run's workflow."""
        return self._run.workflow_name

    @property
    def logger(self) -> Any:
        """Logger whose records carry the run's id, its workflow's name, the step's, and the attempt."""
        return self._run.make_logger(self.execution_id, self.workflow_name, self.step_name, self.attempt)

    @property
    def input(self) -> InputT_co:
        """The input the run was started with, after the step's input schema."""
        if self._input is _MISSING:
            self._input = self._scope.journal.reader.decode(self._run.input)
        return cast("InputT_co", self._input)

    def replace_input(self, value: Any) -> None:
        """Make this handler see another input: what its input schema returned."""
        self._input = value

    @property
    def steps(self) -> Mapping[str, Any]:
        """Results of the steps completed so far, by name."""
        if self._steps is None:
            self._steps = StepsView(self._scope, self._scope.find, self._scope.names)
        return self._steps

    @property
    def signals(self) -> Mapping[str, Any]:
        """Payload of the signal taken last, by event."""
        if self._signals is None:
            self._signals = View(self._scope, self._scope.find_signal, self._scope.signal_names)
        return self._signals

    @property
    def last_signal(self) -> str | None:
        """Name of the signal taken last: after a ``wait_any``, the one that came."""
        return self._scope.last_signal()

    @overload
    def received(self, signal: Signal[R]) -> list[R]: ...
    @overload
    def received(self, signal: str) -> list[Any]: ...
    def received(self, signal: Signal[Any] | str) -> list[Any]:
        """Return every payload that the last gate for this signal took, in order: several if it asked for several."""
        event = signal if isinstance(signal, str) else _name_of(signal)
        return [self._scope.journal.reader.decode(payload) for payload in self._scope.find_heard(event)]

    @property
    def errors(self) -> Mapping[str, ErrorRecord]:
        """Why strands and items have failed that their group could do without, by the name of the strand or item.

        Those of a loop's turn are gone with the turn.
        """
        return self._scope.all_errors()

    @property
    def step_name(self) -> str:
        """Name of the node this context was made for, with the item's index."""
        return self._place.name

    @property
    def transaction(self) -> StepTransaction:
        """In a transactional step: the transaction that its result will be committed with.

        Raises:
            UsageError: the step is none; `OutOfReach` where its handler runs in another process.
        """
        self._check_reach("ctx.transaction")
        if self._transaction is None:
            msg = f"{self.step_name!r} has no transaction: give its step transactional=True"
            raise UsageError(msg)
        return self._transaction

    @property
    def item(self) -> Any:
        """The item, inside a ``for_each``; None outside."""
        return self.steps.get("__item")

    @property
    def index(self) -> int | Any:
        """The item's index, inside a ``for_each``; None outside, where nobody asks: hence the type."""
        return self._scope.index

    @property
    def turn(self) -> int | Any:
        """The turn of the innermost loop, from 1; None outside loops, where nobody asks: hence the type."""
        return self._scope.turn[-1] if self._scope.turn else None

    @property
    def result(self) -> Any:
        """In a compensation: what the step it undoes returned."""
        fact = self._scope.journal.facts.get(self._place.key)
        return None if fact is None else self._scope.journal.value(fact)

    @property
    def cancelled(self) -> bool:
        """Whether this attempt's answer is no longer wanted: it timed out, or the run was cancelled.

        Raises:
            OutOfReach: the handler runs in another process, which is not told.
        """
        self._check_reach("ctx.cancelled")
        return self.is_cancelled is not None and self.is_cancelled()

    def progress(self, done: float, total: float | None = None, note: str | None = None) -> None:
        """Tell how far this handler has come: shown in the snapshot, told as ``step:progress``, kept across restarts.

        Costs next to nothing, from any thread and in coroutines: of several calls in a quarter of a second the last is
        written, and what was told last is there when the handler has ended.

        Args:
            done: How much is done, in whatever unit.
            total: How much there is to do, if that is known.
            note: What is going on.

        Raises:
            UsageError: an argument is no number or text, or this is no handler of a step.
        """
        for name, value in (("done", done), ("total", 0 if total is None else total)):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                msg = f"ctx.progress: {name} must be a number, got {value!r}"
                raise UsageError(msg)
        if note is not None and not isinstance(note, str):
            msg = f"ctx.progress: note must be text, got {note!r}"
            raise UsageError(msg)
        self._notes().tell_progress(done, total, note)

    def checkpoint(self, value: Any) -> None:
        """Keep a value that the next attempt of this handler finds in `checkpointed`; the last one counts.

        It is recorded before the attempt's outcome is, so an attempt that fails leaves its last checkpoint for certain.
        When the process dies, a checkpoint of the last moment may be lost, and the one before is found.

        Raises:
            NotStorable: the value cannot be stored.
            UsageError: this is no handler of a step.
        """
        self._notes().keep(value)

    @property
    def checkpointed(self) -> Any:
        """The last checkpoint, of this attempt or one before; None when there is none."""
        return self._notes().kept()

    def _check_reach(self, what: str) -> None:
        if self._run.where is not None:
            raise OutOfReach(what, self.step_name, self._run.where)

    def _notes(self) -> Any:
        self._check_reach("what ctx.progress and ctx.checkpoint tell")
        if self.open_notes is None:
            msg = f"{self.step_name!r} is no handler of a step: only those tell progress and leave checkpoints"
            raise UsageError(msg)
        return self.open_notes()

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of one step of one run, loop turn and item."""
        undo = "undo:" if self._is_undo else ""
        turn = f"@{'.'.join(map(str, self._place.turn))}" if self._place.turn else ""
        return f"{self.execution_id}:{undo}{self._place.name}{turn}"

    @overload
    def __getitem__(self, key: Step[Any, R]) -> R: ...
    @overload
    def __getitem__(self, key: Signal[R]) -> R: ...
    def __getitem__(self, key: Any) -> Any:
        """Return the result of a step, or the payload of a signal.

        Raises:
            KeyError: it has not completed on the way that was taken; `get` has a default.
            UsageError: it is neither, but a name, say.
        """
        return self.signals[key.name] if isinstance(key, Signal) else self.steps[_name_of(key)]

    @overload
    def get(self, key: Step[Any, R] | Signal[R]) -> R | None: ...
    @overload
    def get(self, key: Step[Any, R] | Signal[R], default: R) -> R: ...
    @overload
    def get(self, key: Step[Any, R] | Signal[R], default: D) -> R | D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """Return the result of a step, or the payload of a signal, or the default when there is none."""
        view = self.signals if isinstance(key, Signal) else self.steps
        return view.get(_name_of(key), default)

    @overload
    def results(self, step: Step[Any, R]) -> list[R]: ...
    @overload
    def results(self, step: str) -> list[Any]: ...
    def results(self, step: Step[Any, Any] | str) -> list[Any]:
        """Return the results of every item of a ``for_each``, in order of the items."""
        prefix = f"{step if isinstance(step, str) else _name_of(step)}:"
        found = {}
        for name in self._scope.names():
            indices = name[len(prefix) :].split(":") if name.startswith(prefix) else ()
            if indices and all(index.isdecimal() for index in indices):
                found[tuple(map(int, indices))] = self.steps[name]
        return [found[indices] for indices in sorted(found)]
