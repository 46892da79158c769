"""What comes from other processes: made of the types that its workflow declares, and handed on in the order it came in.

Who sends a message need not know the workflow, and then sends plain data. Types are the user's code, so they run in the
crew; whatever comes meanwhile stands in line behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from ..dsl import messages as msg
from ..dsl.errors import InvalidPayload, NotStorable, SchemaError
from ..persistence import codec
from .core import Letter
from .reply import Errand
from .starting import Start, ToRun

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from .supervisor import Supervisor
    from .tray import Tray

__all__ = ["Admission", "Fitted", "fitting"]

Fit = Callable[[], Any]
"""Returns a message as it should have been sent, or why there is none."""


class Fitted(msgspec.Struct, frozen=True):
    """The crew: the message of this errand as it should have been sent, or why there is none."""

    errand: Errand
    outcome: Any


class Admission:
    """The line of one tray; on the core."""

    def __init__(self, tray: Tray, office: Supervisor) -> None:
        self._tray = tray
        self._office = office
        self._line: deque[tuple[Errand, Any, Fit | None]] = deque()

    def __len__(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def admit(self, errand: Errand, message: Any, fit: Fit | None) -> None:
        """Hand a message on, after all that came before it."""
        self._line.append((errand, message, fit))
        if len(self._line) == 1:
            self._move_up()

    def fitted(self, answer: Fitted) -> None:
        """Hand on the first in line, which has been made fit, or tell why it is refused."""
        if not self._line or self._line[0][0] is not answer.errand:  # the line has been left since
            return
        self._line.popleft()
        if isinstance(answer.outcome, Exception):
            self._tray.turn.replies.append((answer.errand, answer.outcome))
        else:
            self._hand_on(answer.errand, answer.outcome)
        self._move_up()

    def leave(self) -> list[Errand]:
        """Let everybody leave the line; return the errands."""
        errands = [errand for errand, _, _ in self._line]
        self._line.clear()
        return errands

    def _move_up(self) -> None:
        while self._line:
            errand, message, fit = self._line[0]
            if fit is not None:
                self._tray.turn.acts.append(partial(self._office.crew.run_beyond, partial(self._make_fit, errand, fit)))
                return
            self._line.popleft()
            self._hand_on(errand, message)

    def _make_fit(self, errand: Errand, fit: Fit) -> None:
        """Run on a thread of the crew."""
        try:
            outcome = fit()
        except (NotStorable, SchemaError) as error:
            outcome = InvalidPayload(str(error))
        except BaseException as error:  # noqa: BLE001 - the user's code
            outcome = InvalidPayload(f"{type(error).__name__}: {error}")
        self._tray.core.post(self._tray, Letter(Fitted(errand, outcome)))

    def _hand_on(self, errand: Errand, message: Any) -> None:
        self._tray.core.post(self._office, Letter(message, errand))  # type: ignore[arg-type]


def fitting(message: Any, find: Callable[[], Definition | None]) -> Fit | None:
    """Return what makes a message fit what its workflow declares; None if that declares nothing.

    Args:
        message: What has come.
        find: Finds the workflow; asked only about what brings values.
    """
    match message:
        case Start() if (definition := find()) is not None:
            of_input = definition.input_type
            if of_input is None:
                return None
            what = f"the input of workflow {definition.name!r}"
            return lambda: replace(message, input=_made(message.input, of_input, what))
        case ToRun(message=msg.Signalled() as signal) if (definition := find()) is not None:
            payload = next((each.payload for each in definition.signals if each.name == signal.event), None)
            if payload is None:
                return None
            what = f"the payload of signal {signal.event!r}"
            return lambda: replace(message, message=replace(signal, payload=_made(signal.payload, payload, what)))
    return None


def _made(text: str, annotation: Any, what: str) -> str:
    value = codec.decode(text)
    try:
        fit = codec.revive(value, annotation)
    except SchemaError as error:
        raise SchemaError(f"{what}: {error}") from error
    return text if fit is value else codec.encode(fit)
