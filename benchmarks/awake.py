"""Keeps the processors awake, so that to wake a thread costs what it does where processors do not fall asleep.

On a virtual machine with nothing else to do, a processor without work is given back to the host, and to have it again
costs some 50 µs: more than all that perdure does between two hand-overs. Loops that only get what nobody else wants
prevent that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["kept_awake"]

_LOOP = "import os\nos.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile os.getppid() == {parent}: pass"


@contextmanager
def kept_awake() -> Iterator[None]:
    """Have one such loop on each processor meanwhile; Linux only. They end with this process."""
    with ExitStack() as stack:
        for processor in os.sched_getaffinity(0):
            loop = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", _LOOP.format(parent=os.getpid())])  # noqa: S603 - our own loop
            )
            stack.callback(loop.kill)
            os.sched_setaffinity(loop.pid, {processor})
        yield
