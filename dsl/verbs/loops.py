"""Saying loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Unpack, overload

from ..context import Context
from ..nodes.loop import DoUntilNode, DoWhileNode
from ..options import Turning
from .verbs import Blind, Handler, Verbs

if TYPE_CHECKING:
    from ..workflow import Block, Workflow

__all__ = ["LoopVerbs"]

InputT = TypeVar("InputT")
R = TypeVar("R")

Turned: TypeAlias = Callable[[Context[InputT], int], R]


class LoopVerbs(Verbs[InputT]):
    """What a run does again."""

    @overload
    def do_until(
        self, condition: Handler[InputT, object], block: Block[InputT, R], **options: Unpack[Turning]
    ) -> Workflow[InputT, R]: ...
    @overload
    def do_until(
        self, condition: Turned[InputT, object], block: Block[InputT, R], **options: Unpack[Turning]
    ) -> Workflow[InputT, R]: ...
    @overload
    def do_until(
        self, condition: Blind[object], block: Block[InputT, R], **options: Unpack[Turning]
    ) -> Workflow[InputT, R]: ...
    def do_until(self, condition: Any, block: Any, *, max_iterations: int = 100, name: str | None = None) -> Any:
        """Add a loop that runs its body, then asks, and ends when the answer is true.

        Args:
            condition: Takes the context, and the turn's number (1, 2, 3) if it takes two; ``def`` or ``async def``.
            block: The body.
            max_iterations: Turning more often fails the run.
            name: Name its answers are kept under; made from the body when left out.

        Raises:
            DefinitionError: an option is wrong or the body is empty.
        """
        fragment = self._fragment(block, "do_until")
        self._draft.add_loop(DoUntilNode, condition, fragment, max_iterations=max_iterations, name=name)
        return self

    @overload
    def do_while(
        self, condition: Handler[InputT, object], block: Block[InputT, R], **options: Unpack[Turning]
    ) -> Workflow[InputT, R | None]: ...
    @overload
    def do_while(
        self, condition: Turned[InputT, object], block: Block[InputT, R], **options: Unpack[Turning]
    ) -> Workflow[InputT, R | None]: ...
    @overload
    def do_while(
        self, condition: Blind[object], block: Block[InputT, R], **options: Unpack[Turning]
    ) -> Workflow[InputT, R | None]: ...
    def do_while(self, condition: Any, block: Any, *, max_iterations: int = 100, name: str | None = None) -> Any:
        """Add a loop that asks, and runs its body while the answer is true. The turn's numbers are 0, 1, 2.

        The arguments and errors are those of `do_until`.
        """
        fragment = self._fragment(block, "do_while")
        self._draft.add_loop(DoWhileNode, condition, fragment, max_iterations=max_iterations, name=name)
        return self
