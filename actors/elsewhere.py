"""The far side of an executor: one attempt of one handler, in a process that has no engine.

Whatever happens becomes a message, as in the crew: no exception of a handler and no value of its own making has to be
sent back. Values are decoded here, and the result is encoded here.
"""

from __future__ import annotations

import inspect
import pickle
from functools import lru_cache
from importlib import import_module
from typing import Any

from ..dsl.context import RunFacts
from ..dsl.effects import Invoke
from ..dsl.errors import NotSendable
from ..dsl.facts import FactKind
from ..dsl.messages import StepCompleted, StepFailed, StepInterrupted
from ..dsl.parcel import unpack
from ..persistence import codec
from ..persistence.classes import register_namespace
from .attempt import Attempt
from .calling import arguments_of
from .outcomes import completed, error_record, failed
from .reader import CodecReader
from .sending import Errand

__all__ = ["carry_out"]

Outcome = StepCompleted | StepFailed | StepInterrupted


def carry_out(key: str, number: int, turn: tuple[int, ...], sent: bytes) -> Outcome:
    """Make one attempt; called by the executor."""
    try:
        errand = Errand(*pickle.loads(sent))  # noqa: S301 - made by the engine that has sent it here
        _unpack_luggage(errand.luggage)
    except Exception as error:  # noqa: BLE001 - modules of the user's are imported
        why = NotSendable(f"attempt {number} of {key!r}", "this worker", f"{type(error).__name__}: {error}")
        return StepFailed(key, number, error_record(why), retryable=False, turn=turn)
    attempt = _attempt(errand)
    try:
        result = errand.handler(*arguments_of(attempt, errand.handler))
        return completed(attempt, _await(result) if inspect.isawaitable(result) else result, codec.encode)
    except (KeyboardInterrupt, SystemExit):
        return StepInterrupted(key, number, turn=turn)
    except BaseException as error:  # noqa: BLE001 - user code may raise anything
        return failed(attempt, error)


@lru_cache(maxsize=256)
def _unpack_luggage(sent: bytes) -> None:
    """Tell the codec of the classes that values of the run may be of."""
    types, modules = pickle.loads(sent)  # noqa: S301 - as above
    for annotation in types:
        codec.register_type(annotation)
    for name in modules:
        register_namespace(vars(import_module(name)))


def _attempt(errand: Errand) -> Attempt:
    facts = RunFacts(errand.execution_id, errand.workflow, errand.input, errand.make_logger, errand.where)
    parcel = errand.parcel
    kind = FactKind.STEP if parcel.undoes is None else FactKind.UNDO
    scope = unpack(parcel, CodecReader())
    effect = Invoke(parcel.place, errand.handler, errand.policy, scope, kind, parcel.undoes)
    return Attempt(0, effect, errand.number, facts, None, errand.failure)  # type: ignore[arg-type]  # it reports to nobody


def _await(awaitable: Any) -> Any:
    import asyncio

    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())
