"""A crash, and the life after it, in one process."""

from __future__ import annotations

import weakref

from ..engine import Engine
from .recorder import Recorder

__all__ = ["restart", "successor_of"]

_successors: weakref.WeakKeyDictionary[Engine, Engine] = weakref.WeakKeyDictionary()


def restart(engine: Engine, recorder: Recorder | None = None) -> Engine:
    """Crash an engine and open another one with its workflows and options on its file.

    The crash is that of a killed process: nothing in flight is recorded, no run is given back in order. Handlers that
    are running go on, as no process can be killed in part; what they return is thrown away.

    Args:
        engine: The engine; a private database survives, for the new one.
        recorder: Told of the new engine's events from the first one on.

    Returns:
        The new engine; close it, unless the old one came from a fixture.
    """
    engine.abandon()
    fresh = engine.reopen(on_event=None if recorder is None else recorder.note)
    if recorder is not None:
        recorder.listen(fresh)
    _successors[engine] = fresh
    return fresh


def successor_of(engine: Engine) -> Engine | None:
    """Return the engine that a restart has put in this one's place."""
    return _successors.get(engine)
