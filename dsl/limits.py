"""How much may go on at once, and how often: for all runs of a workflow, or for each key.

Limits are policy: a run is held to those it finds, and none of them is part of a definition's fingerprint.

This file must never count anything: it says what the limits are, the database knows how far they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .context import Context
from .errors import DefinitionError
from .policies import Duration, check_count, seconds

__all__ = ["RATE_KEY", "Bucket", "Concurrency", "Key", "Pool", "Rate", "bucket_of", "check_key", "pool_of"]

RATE_KEY = "__rate:"
"""What the key of the fact begins with that holds a step's key for its rate; the rest is the step's own."""

_LONGEST_KEY = 200
_MICROS = 1_000_000

Key = str | Callable[[Context[Any]], object]
"""A path into the input, such as ``"customer.id"``, or a function of the context; it gives a text or whole number."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many runs of a workflow may be under way at once, in all engines on a database together.

    A run that finds no slot waits in line before its first node. It holds its slot until it ends, through waits,
    retries and its compensation.

    Attributes:
        limit: How many runs at once; None for as many as the keys allow.
        key: Tells whose run it is. The keys take turns, and within a key it is first come, first served.
        per_key: How many runs of each key at once; None for as many as the limit allows.
        name: Workflows whose limits have the same name share the slots; the workflow's own name when left out.

    Example:
        >>> Concurrency(20, key="customer", per_key=2).per_key
        2
    """

    limit: int | None = None
    key: Key | None = None
    per_key: int | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Check every field at the moment of definition."""
        if self.limit is None and self.per_key is None:
            msg = "concurrency: give it a limit, a per_key, or both"
            raise DefinitionError(msg)
        if self.limit is not None:
            check_count(self.limit, "concurrency: limit")
        if self.per_key is not None:
            check_count(self.per_key, "concurrency: per_key")
            if self.key is None:
                msg = "concurrency: per_key needs a key, which tells whose run it is"
                raise DefinitionError(msg)
        _check(self.key, self.name, "concurrency")


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a step may be attempted, in all engines on a database together: a bucket of tokens.

    Each attempt takes a token, and waits for one if there is none. ``limit`` tokens come back in ``per`` seconds, one
    at a time, as long as there are fewer than ``burst``.

    Attributes:
        limit: How many attempts.
        per: In how many seconds, or what `timedelta`.
        burst: How many at once after a time of quiet; as many as ``limit`` when left out.
        key: Tells whose attempt it is: each key has a bucket of its own.
        name: Steps whose rates have the same name share the tokens; those of the step alone when left out.

    Example:
        >>> Rate(100, per=60, burst=10).interval
        600000
    """

    limit: int
    per: Duration = 1.0
    burst: int | None = None
    key: Key | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Check every field at the moment of definition."""
        check_count(self.limit, "rate: limit")
        seconds(self.per, "rate: per", positive=True)
        if self.burst is not None:
            check_count(self.burst, "rate: burst")
        _check(self.key, self.name, "rate")

    @property
    def interval(self) -> int:
        """Microseconds in which one token comes back; rather one too many than one too few."""
        return math.ceil(seconds(self.per, "rate: per", positive=True) * _MICROS / self.limit)

    @property
    def most(self) -> int:
        """How many tokens the bucket holds."""
        return self.limit if self.burst is None else self.burst


def _check(key: Any, name: Any, what: str) -> None:
    if isinstance(key, str):
        if not key or not all(key.split(".")):
            msg = f"{what}: {key!r} is no path into an input; write 'customer.id', or give a function"
            raise DefinitionError(msg)
    elif key is not None and not callable(key):
        msg = f"{what}: key must be a path into the input, such as 'customer.id', or a function, got {key!r}"
        raise DefinitionError(msg)
    if name is not None and (not isinstance(name, str) or not name):
        msg = f"{what}: name must be a text that is not empty, got {name!r}"
        raise DefinitionError(msg)


@dataclass(frozen=True, slots=True)
class Pool:
    """The slots that the runs of a workflow take, ready to use.

    Attributes:
        name: Name of the slots; None for the workflow's own.
        limit: How many there are, or None.
        per_key: How many of them a key may have, or None.
        question: What is asked for the key of a run, if anything.
        is_singleton: Whether a run's idempotency key is its key.
    """

    name: str | None
    limit: int | None
    per_key: int | None
    question: Callable[..., Any] | None = None
    is_singleton: bool = False


@dataclass(frozen=True, slots=True)
class Bucket:
    """The tokens that the attempts of a step take, ready to use.

    Attributes:
        name: Name of the tokens; None for the step's own.
        interval: Microseconds in which one comes back.
        most: How many there may be.
        question: What is asked for the key of an attempt, if anything.
    """

    name: str | None
    interval: int
    most: int
    question: Callable[..., Any] | None = None


def pool_of(given: int | Concurrency | None, what: str, *, singleton: bool) -> Pool | None:
    """Turn what ``concurrency=`` and ``singleton=`` were given into what is used.

    Raises:
        DefinitionError: they cannot be used, or not together.
    """
    if singleton:
        if given is not None:
            msg = f"{what}: a singleton has its own limit, one run at a time; leave concurrency out"
            raise DefinitionError(msg)
        return Pool(None, None, 1, is_singleton=True)
    if given is None:
        return None
    if not isinstance(given, Concurrency):
        given = Concurrency(check_count(given, f"{what}: concurrency"))
    return Pool(given.name, given.limit, given.per_key, _question(given.key))


def bucket_of(given: Rate | None, what: str) -> Bucket | None:
    """Turn what ``rate=`` was given into what is used.

    Raises:
        DefinitionError: it cannot be used.
    """
    if given is None:
        return None
    if not isinstance(given, Rate):
        msg = f"{what}: rate must be a Rate, such as Rate(100, per=60), got {given!r}"
        raise DefinitionError(msg)
    return Bucket(given.name, given.interval, given.most, _question(given.key))


def _question(key: Key | None) -> Callable[..., Any] | None:
    return _Path(key) if isinstance(key, str) else key


@dataclass(frozen=True, slots=True)
class _Path:
    """Asks for what stands at a path into the input."""

    path: str

    def __call__(self, context: Context[Any]) -> object:
        """Follow it, through mappings and attributes."""
        value: Any = context.input
        for name in self.path.split("."):
            value = value[name] if isinstance(value, Mapping) else getattr(value, name)
        return value


def check_key(key: Any) -> str:
    """Return the key of a run or attempt as the text it is kept as.

    Raises:
        TypeError: it is no text or whole number.
        ValueError: it is too long.
    """
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        msg = f"the key of a limit must be a text or a whole number, got {key!r}"
        raise TypeError(msg)
    text = str(key)
    if len(text) > _LONGEST_KEY:
        msg = f"the key of a limit may have {_LONGEST_KEY} characters, got {len(text)}"
        raise ValueError(msg)
    return text
