"""Notices: how the users of a database call each other through the database, where they may be on many machines.

A notice is a short text that is pushed to an address, and lost when nobody is there. An address is a number: an
engine's own, or for anybody else one that nobody has.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Notices", "Post"]


class Post(Protocol):
    """What is told of notices; called on a thread of the database's, which it must not hold up."""

    def arrived(self, text: str) -> None:
        """Hear what somebody has sent to this address."""
        ...

    def gone(self, address: int) -> None:
        """Hear that whoever had an address that was asked after has died, or cannot be reached any more."""
        ...

    def regained(self) -> None:
        """Hear that the database could not be reached for a while: notices may have been lost."""
        ...


class Notices(Protocol):
    """The notices of one database."""

    @property
    def address(self) -> int:
        """Where this process is called: an engine by its number."""
        ...

    def attend(self, post: Post) -> None:
        """Have a post told of everything that arrives from now on, and has arrived while there was none."""
        ...

    def send(self, address: int, text: str) -> bool:
        """Send some text; tell whether it is on its way. From any thread."""
        ...

    def ask_after(self, address: int, *, wanted: bool) -> None:
        """Have the post told when whoever has this address is gone, or no longer."""
        ...

    def is_there(self, address: int) -> bool:
        """Tell whether somebody has this address."""
        ...
