"""A piece of code in a fork of this process, where it may be killed without harm to anybody.

A fork costs a few milliseconds, where a new interpreter with everything imported costs some hundreds. Invariant: no
engine is open in the process that forks: its threads would be missing in the child, and its locks might be held.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import select
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import machine
from ..dsl.errors import UsageError

__all__ = ["Death", "check_may_fork", "run_in_fork"]

_WENT_WRONG = 70


@dataclass(frozen=True, slots=True)
class Death:
    """How a fork ended.

    Attributes:
        killed: Whether SIGKILL ended it.
        trouble: What went wrong, as text; empty if nothing did.
    """

    killed: bool
    trouble: str = ""


def check_may_fork(verb: str) -> None:
    """Refuse to fork while an engine of this process is open.

    Raises:
        UsageError: one is.
    """
    if any(not each.closing for each in machine._open_machines):  # noqa: SLF001 - one of us
        raise UsageError(f"{verb} forks this process, whose engines would be torn apart: close them first")


def run_in_fork(live: Callable[[], Any], *, timeout: float, kill_after: float | None = None) -> Death:
    """Run a function in a fork and wait for the fork's end.

    Args:
        live: The function; nothing it changes in memory is seen here.
        timeout: Real seconds after which it hangs: then the trouble is where each of its threads stands.
        kill_after: Real seconds after which it is killed, if it has not ended by itself.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as trouble:
        if (child := os.fork()) == 0:
            _live(live, trouble, timeout)
        os.close(writing)
        try:
            if kill_after is not None and not select.select([reading], [], [], kill_after)[0]:
                os.kill(child, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finally:
            os.close(reading)
        trouble.seek(0)
        text = trouble.read().decode(errors="replace")
    if code == -signal.SIGKILL:
        return Death(killed=True)
    return Death(killed=False, trouble=text or (f"it ended with code {code}" if code else ""))


def _live(live: Callable[[], Any], trouble: Any, timeout: float) -> None:
    code = _WENT_WRONG
    gc.disable()  # it would touch, and so copy, all that the parent has in memory
    try:
        faulthandler.dump_traceback_later(timeout, exit=True, file=trouble)
        live()
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the parent must hear of it
        os.write(trouble.fileno(), traceback.format_exc().encode())
    finally:
        os._exit(code)  # nothing of the parent's may run here: no atexit, no flush, no fixture
