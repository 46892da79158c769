"""How the verbs of a client get to runs that engines of other processes drive: by the database and its inbox.

What is legal when is decided where the run is; only what can be told from its row is refused before.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from ..actors import clock
from ..actors.attempt import running_attempt
from ..actors.courier import Courier
from ..actors.endings import Endings
from ..actors.lookout import Lookout
from ..actors.starting import Start, execution_id_of
from ..actors.tray import pack
from ..dsl.errors import (
    EngineClosed,
    EngineForked,
    ExecutionFinished,
    ExecutionNotFound,
    IllegalTransition,
    StoreError,
    UnknownWorkflow,
    UsageError,
    WouldDeadlock,
)
from ..dsl.legality import LEGAL_VERBS, Standing, Verb, legal_in
from ..dsl.messages import Signalled
from ..dsl.states import FINAL, State
from ..execution import Execution
from ..persistence.records import ExecutionRow, InboxRow
from ..persistence.store import Store
from .verbs import Verbs

__all__ = ["AskingVerbs"]

T = TypeVar("T")

_DEAF: Final = frozenset({*FINAL, State.COMPENSATING})

_STANDINGS: Final = {
    State.COMPENSATING: (Standing.COMPENSATING, Standing.ROLLBACK_PAUSED, Standing.ROLLBACK_PARKED),
    State.QUARANTINED: (Standing.QUARANTINED,),
    State.COMPLETED: (Standing.COMPLETED,),
    State.CANCELLED: (Standing.CANCELLED,),
    State.FAILED: (Standing.FAILED, Standing.UNDONE, Standing.PARTLY_UNDONE),
}
"""Where a run may stand, as far as its row tells; all the rest is told by the engine that drives it."""


class AskingVerbs(Verbs):
    """What is asked of whoever drives the runs.

    Each call returns once the wish is on disk, and the engine that drives the run, if any, has heeded or refused it.
    """

    _process: int
    _closed: bool
    _writing: threading.Lock
    _store: Store
    _endings: Endings
    _lookout: Lookout
    _courier: Courier

    def _check_open(self, verb: str) -> None:
        if os.getpid() != self._process:
            raise EngineForked(verb, "client")
        if self._closed:
            raise EngineClosed(verb, "client")

    def _tell(self, id: str, message: Any, verb: str) -> Any:
        if isinstance(message, Signalled):
            return self._signal(id, message)
        self._check_at_rest(id, Verb(verb))
        return self._send(id, message, lambda state: _check_legal(id, state, Verb(verb)))

    def _check_at_rest(self, id: str, verb: Verb) -> None:
        """Refuse what the next engine would refuse, where nobody drives the run and nothing else was asked of it."""
        self._check_open(verb)
        with self._writing:
            asked = self._store.inbox.of_run(id)
        if asked or any(found.driver is not None for found in self._store.inbox.whereabouts([id])):
            return
        run = self._looking.get_execution(id)
        standing = None if run is None else _at_rest(run)
        # It may be stopping as well, which is not looked for: so what is legal then is not refused here.
        if standing is not None and verb not in LEGAL_VERBS[standing] | LEGAL_VERBS[Standing.STOPPING]:
            raise IllegalTransition(id, standing, verb, legal_in(verb))

    def _signal(self, id: str, message: Signalled) -> None:
        def check(state: str | None) -> None:
            if state is None:
                raise ExecutionNotFound(id)
            if state in _DEAF:
                raise ExecutionFinished(id, state, f"take the signal {message.event!r}")

        try:
            self._send(id, message, check)
        except ExecutionFinished:
            if message.dedup_key is None or not self._has_signal(id, message.dedup_key):
                raise

    def _send(self, id: str, message: Any, check: Callable[[str | None], None]) -> Any:
        self._check_open("send")
        row = pack(id, message)
        assert row is not None
        with self._writing:
            number = self._store.inbox.send(row, check)
        return self._courier.deliver(number, id)

    def _has_signal(self, id: str, key: str) -> bool:
        stored = self._store.snapshot(id)
        return stored is not None and any(signal.dedup_key == key for signal in stored.signals)

    def _read(self, verb: str, look: Callable[[Store], T]) -> T:
        self._check_open(verb)
        try:
            return look(self._store)
        except StoreError:
            self._check_open(verb)  # it was closed under this thread's hands
            raise

    def _new_id(self) -> str:
        return execution_id_of(clock.micros(), secrets.randbits)

    def _input_type(self, workflow: str, version: str | None) -> Any:
        try:
            return self._registry.definition(workflow, version).input_type
        except UnknownWorkflow:  # the engine that drives the run knows it, and checks
            return None

    def _yet_to_start(self, id: str) -> Execution | None:
        start = self._read("read an execution", lambda store: store.inbox.start_of(id))
        # Look again: an engine may have taken the start since the first look, before the second or after it.
        begun = self._looking.get_execution(id)
        return begun if begun is not None or start is None else self._looking.view(_row_to_be(start))

    # ---- for handles on runs

    def when_ended(self, id: str, callback: Callable[[ExecutionRow | None], None]) -> Callable[[], None]:
        """Have a callback called with a run's row at its end, or None at the close; returns what takes that back."""
        stop = self._endings.when(id, callback)
        self._lookout.watch(id)
        return stop

    def when_changed(self, id: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have a callback called whenever there may be news of a run; returns what takes that back."""
        return self._lookout.watch(id, callback)

    def is_under_way(self, id: str) -> bool:
        """Tell that nothing is driven here."""
        self._check_open("wait")
        return False

    def wait_told(self) -> None:
        """Do nothing: listeners are in other processes."""

    def aside(self) -> None:
        """Tell that a handler that waits here keeps what it holds."""

    def stillness(self) -> None:
        """Tell that anything may happen: engines are in other processes."""

    def check_may_block(self) -> None:
        """Raise nothing: no event loop of ours can be blocked here."""

    def check_may_wait(self, id: str | None) -> None:
        """Raise `WouldDeadlock` in a handler of this very run."""
        attempt = running_attempt()
        if attempt is not None and attempt.facts.execution_id == id:
            msg_ = f"a handler of run {id} cannot wait for its own run to end"
            raise WouldDeadlock(msg_)

    def subscribe(self, id: str, listener: Any) -> Callable[[], None]:
        """Refuse: events are told in the process of the engine that drives the run.

        Raises:
            UsageError: always.
        """
        self._check_open("subscribe")
        msg_ = f"events of run {id} are told where it is driven: listen to an Engine; a client can wait(until=...)"
        raise UsageError(msg_)


def _at_rest(run: Execution) -> Standing | None:
    """Return where a run stands that nobody drives and that has not ended; None if its row tells."""
    if run.state not in (State.RUNNING, State.WAITING, State.COMPENSATING):
        return None
    back = run.state is State.COMPENSATING
    if run.paused:
        return Standing.ROLLBACK_PAUSED if back else Standing.PAUSED
    if run.incidents:
        return Standing.ROLLBACK_PARKED if back else Standing.PARKED
    return Standing(run.state)


def _row_to_be(start: InboxRow) -> ExecutionRow:
    """Return the row of a run whose start waits for an engine."""
    said = msgspec.json.decode(start.body, type=Start)
    nothing = dict.fromkeys(ExecutionRow.__struct_fields__)
    known = {
        "id": 0,
        "execution_id": start.execution_id,
        "workflow": said.workflow,
        "version": said.version,
        "fingerprint": "",
        "state": State.RUNNING,
        "input": said.input,
        "idempotency_key": said.key,
        "tags": said.tags,
        "owner": 0,
        "adoptions": 0,
        "sequence": 0,
        "created_at": start.accepted_at,
        "updated_at": start.accepted_at,
    }
    return ExecutionRow(**{**nothing, **known})  # type: ignore[arg-type]


def _check_legal(id: str, state: str | None, verb: Verb) -> None:
    """Refuse what is legal nowhere that a run of this state may stand.

    Raises:
        ExecutionNotFound: there is no such run.
        IllegalTransition: so it is.
    """
    if state is None:
        raise ExecutionNotFound(id)
    standings = _STANDINGS.get(State(state), ())
    if standings and not any(verb in LEGAL_VERBS[standing] for standing in standings):
        raise IllegalTransition(id, state, verb, legal_in(verb))
