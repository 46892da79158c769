"""What all the verbs of a workflow have in common: the draft they write to, and the blocks they are given.

A block (the inside of a path, group, loop or item) is a function that is given a fresh builder, one or more step
objects, or another ``Workflow``.

A function that may take the context or nothing has an overload for each: without them not every type checker can tell
what a lambda's argument is.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

from ..context import Context
from ..draft import Draft
from ..errors import DefinitionError
from ..names import name_of
from ..options import StepOptions
from ..steps import Step

__all__ = ["Blind", "Handler", "Verbs"]

InputT = TypeVar("InputT")
R = TypeVar("R")

Handler: TypeAlias = Callable[[Context[InputT]], R]
Blind: TypeAlias = Callable[[], R]


class Verbs(ABC, Generic[InputT]):
    """What may be said of a workflow; every verb returns the builder."""

    _draft: Draft

    @abstractmethod
    def _blank(self) -> Verbs[Any]:
        """Return a builder for the inside of a block."""

    def _fragment(self, block: Any, what: str) -> Draft:
        if isinstance(block, Verbs):
            return block._draft  # noqa: SLF001 - it is one of us
        fresh = self._blank()
        draft = fresh._draft  # noqa: SLF001 - it is one of us
        draft.stand_in(self._draft)
        steps = [block] if isinstance(block, Step) else block
        if isinstance(steps, (list, tuple)) and all(isinstance(step, Step) for step in steps):
            for step in steps:
                draft.add_step(step, None, StepOptions())
        elif callable(block):
            self._build(block, fresh, what)
        else:
            name = self._draft.name
            msg = f"workflow {name!r}: {what}: expected a builder function, steps, or a Workflow, got {block!r}"
            raise DefinitionError(msg)
        return draft

    def _build(self, block: Any, fresh: Verbs[Any], what: str) -> None:
        hint = 'a block adds nodes to the builder it is given: lambda w: w.step("name", handler)'
        called = name_of(block)
        try:
            inspect.signature(block).bind(fresh)
        except TypeError:
            msg = f"workflow {self._draft.name!r}: {what}: {called!r} does not take one argument; {hint}"
            raise DefinitionError(msg) from None
        except ValueError:  # a builtin without a signature
            pass
        try:
            left = block(fresh)
        except AttributeError as error:
            if error.obj is not fresh:
                raise
            msg = (
                f"workflow {self._draft.name!r}: {what}: {called!r} asks the builder it is given for "
                f"{error.name!r}, which it does not have; {hint}"
            )
            raise DefinitionError(msg) from None
        if left is not None and not isinstance(left, Verbs):
            close = getattr(left, "close", None)
            if callable(close):  # what an async handler returns: it must not warn that nobody awaits it
                close()
            msg = f"workflow {self._draft.name!r}: {what}: {called!r} is a handler, not a block; {hint}"
            raise DefinitionError(msg)
