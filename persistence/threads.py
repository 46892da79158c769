"""What tells the threads that perdure starts from the program's own."""

from __future__ import annotations

import threading

__all__ = ["OwnThread"]


class OwnThread(threading.Thread):
    """A thread of ours: nothing that the program waits for will ever come from it alone."""
