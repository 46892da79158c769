"""Presence: how a process is known to be there by others that use the database, and called by them.

Rules:

1. Whoever has an address lives, and can be called under it: what it stands on (see `footing`) is both.
2. Whoever was stopped, or cut off, loses its address like one that died: by the server's clock, and no clock is
   compared with another.
3. Lost is not dead: what an address stands on is made anew if it breaks, and only who was missed twice in a row is
   gone.
"""

from __future__ import annotations

import logging
import os
import random
import select
import threading
from collections.abc import Callable
from typing import Any, Final

import psycopg

from ...dsl.errors import StoreError
from ..notices import Post
from ..threads import OwnThread
from .by_lease import ByLease
from .by_session import BySession
from .footing import Footing, now
from .server import Server

__all__ = ["Presence"]

logger = logging.getLogger("perdure")

_PULSE: Final = 0.5

_GRACE: Final = 3.0
"""Real seconds for which, once what was lost is made anew, others are given time to do the same."""

_TWICE: Final = 2
_STRANGERS: Final = 1 << 30
"""Addresses from here on are of those who are no engines."""


class Presence:
    """One address, as long as it is held."""

    def __init__(self, server: Server, address: int | None) -> None:
        """Be there: others can see and call it when this returns.

        Args:
            server: The database.
            address: The engine's number; None for one that nobody else has.

        Raises:
            StoreUnavailable: The server cannot be reached, or somebody else has the address.
        """
        self._process = os.getpid()
        self._post: Post | None = None
        self._early: list[str] = []
        self._guard = threading.Lock()
        self._held = threading.Condition()
        self._missed: dict[int, int] = {}
        self._patient_until = 0.0
        self._closed = False
        self._wake_out, self._wake_in = os.pipe()
        number = random.randrange(_STRANGERS, 2 * _STRANGERS) if address is None else address  # noqa: S311
        self._footing: Footing = (ByLease if server.is_pooled else BySession)(server, number, self._wake_out)
        try:
            self._footing.take()
        except BaseException:
            self._close_pipe()
            raise
        self._thread = OwnThread(target=self._attend, name=f"perdure-presence-{number}", daemon=True)
        self._thread.start()

    # ---- from any thread

    @property
    def address(self) -> int:
        """The number."""
        return self._footing.address

    @property
    def keyspace(self) -> int:
        """What our locks and channels have in common."""
        return self._footing.keyspace

    @property
    def is_patient(self) -> bool:
        """Whether others must be given time: our footing was lost a moment ago, and so theirs may have been."""
        return now() < self._patient_until

    def is_held(self, patience: float) -> bool:
        """Tell whether nobody can think yet that this process is gone; if they can, wait for a change.

        Args:
            patience: Real seconds to wait.

        What needs this address must not be done otherwise.
        """
        if now() < self._footing.lapses_at:
            return True
        until = now() + patience
        with self._held:
            while not (held := now() < self._footing.lapses_at) and (left := until - now()) > 0:
                self._held.wait(left)
        return held

    def attend(self, post: Post) -> None:
        """Have a post told of everything that arrives, and has arrived."""
        with self._guard:
            self._post = post
            early, self._early = self._early, []
        for text in early:
            post.arrived(text)

    def ask_after(self, address: int, *, wanted: bool) -> None:
        """Have the post told when whoever has this address is gone, or no longer."""
        with self._guard:
            if wanted:
                self._missed.setdefault(address, 0)
            else:
                self._missed.pop(address, None)

    def close(self) -> None:
        """Be there no longer; harmless the second time, and in a forked child."""
        if os.getpid() != self._process or self._closed:
            return
        self._closed = True
        os.write(self._wake_in, b"!")
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._close_pipe()

    def _close_pipe(self) -> None:
        os.close(self._wake_in)
        os.close(self._wake_out)

    # ---- on its thread

    def _attend(self) -> None:
        while not self._closed:
            try:
                self._listen()
                self._pulse()
            except (psycopg.Error, OSError):
                self._lost()
            with self._held:
                self._held.notify_all()
        self._footing.let_go()

    def _listen(self) -> None:
        """Wait for what arrives, until it is time for the next sign of life."""
        until = now() + _PULSE
        while not self._closed and (left := until - now()) > 0:
            for text in self._footing.receive(left):
                self._bring(text)

    def _bring(self, text: str) -> None:
        self._tell(lambda post: post.arrived(text), text)

    def _tell(self, say: Callable[[Post], Any], early: str | None = None) -> None:
        with self._guard:
            post = self._post
            if post is None and early is not None:
                self._early.append(early)
        if post is not None:
            try:
                say(post)
            except Exception:  # whatever was said, the presence goes on
                logger.exception("a notice could not be handled; please report this")

    def _pulse(self) -> None:
        """Give a sign of life, and see who is missing."""
        with self._guard:
            asked = set(self._missed)
        if not asked:
            self._footing.renew()
            return
        for address in self._count(asked, self._footing.look()):
            self._miss(address)

    def _miss(self, address: int) -> None:
        self._tell(lambda post: post.gone(address))

    def _count(self, asked: set[int], present: set[int]) -> list[int]:
        """Return who was missed often enough."""
        gone = []
        with self._guard:
            for address in asked & self._missed.keys():
                self._missed[address] = 0 if address in present or self.is_patient else self._missed[address] + 1
                if self._missed[address] >= _TWICE:
                    del self._missed[address]
                    gone.append(address)
        return gone

    def _lost(self) -> None:
        """Make what this stands on anew, however long it takes."""
        pause = 0.02
        while not self._closed:
            try:
                self._footing.take()
            except (StoreError, OSError):
                waiting = select.poll()
                waiting.register(self._wake_out, select.POLLIN)
                waiting.poll(pause * 1000)
                pause = min(pause * 2, _PULSE)
            else:
                self._patient_until = now() + _GRACE
                self._tell(lambda post: post.regained())
                return
