"""Worker processes of the engine's own, for heavy handlers.

Invariant: no worker outlives its engine, however that ends. Each holds the reading end of a line whose other end is in
the engine's process alone: when that is closed, by the engine or by the death of its process, the worker is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["WorkerPool"]


class WorkerPool(ProcessPoolExecutor):
    """Processes that are started afresh, each when there is work for it: a fork of a process with threads is unsafe."""

    def __init__(self, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        far, self._line = context.Pipe(duplex=False)
        super().__init__(size, mp_context=context, initializer=_begin, initargs=(far,))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as above it
        """Take no more work; end the workers at once where nobody waits for them."""
        super().shutdown(wait=wait, cancel_futures=cancel_futures)
        self._line.close()


def _begin(line: Connection) -> None:
    """Prepare a worker: Ctrl-C is for the engine to heed, and the end of the line for the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(line,), name="perdure-line", daemon=True).start()


def _end_with(line: Any) -> None:
    try:
        line.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
