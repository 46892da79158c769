"""Saying what runs several at a time: parallel groups, and a body for every item."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Unpack, cast, overload

from ..joining import Tolerance
from ..options import AnyOptions, BlindItemOptions, ItemOptions, Repetition, StepOptions
from ..steps import Step
from .verbs import Blind, Handler, Verbs

if TYPE_CHECKING:
    from ..workflow import Block, Workflow

__all__ = ["GroupVerbs"]

InputT = TypeVar("InputT")
R = TypeVar("R")

Items: TypeAlias = Sequence[Any] | Awaitable[Sequence[Any]]


class GroupVerbs(Verbs[InputT]):
    """What a run does several of."""

    def parallel(
        self,
        *blocks: Block[InputT, Any],
        min_successful: int | None = None,
        tolerated_failures: int | None = None,
        fail_fast: bool = False,
        race: bool = False,
    ) -> Workflow[InputT, dict[str, Any]]:
        """Add a group whose strands run at once: one builder function whose nodes are the strands, or several blocks.

        All strands are waited for, and all must succeed, unless the options say otherwise.

        Args:
            blocks: The strands.
            min_successful: How many strands must succeed for the group to do so.
            tolerated_failures: How many may fail; ``ctx.errors`` says why they did.
            fail_fast: Stop the strands under way once too many have failed.
            race: Stop the strands under way once enough have succeeded: the first, unless ``min_successful`` says more.

        Raises:
            DefinitionError: the group is empty, or an option is wrong.
        """
        policy = Tolerance(min_successful, tolerated_failures, fail_fast, race)
        self._draft.add_parallel([self._fragment(block, "parallel") for block in blocks], policy)
        return cast("Workflow[InputT, dict[str, Any]]", self)

    @overload
    def for_each(
        self, items: Handler[InputT, Items], step: Step[InputT, R], /, **options: Unpack[Repetition]
    ) -> Workflow[InputT, list[R]]: ...
    @overload
    def for_each(
        self,
        items: Handler[InputT, Items],
        name: str,
        block: Workflow[InputT, R] | Sequence[Step[InputT, R]],
        /,
        **options: Unpack[Repetition],
    ) -> Workflow[InputT, list[R]]: ...
    @overload
    def for_each(
        self,
        items: Handler[InputT, Items],
        name: str,
        handler: Handler[InputT, Awaitable[R]],
        /,
        **options: Unpack[ItemOptions[InputT]],
    ) -> Workflow[InputT, list[R]]: ...
    @overload
    def for_each(
        self,
        items: Handler[InputT, Items],
        name: str,
        handler: Handler[InputT, R],
        /,
        **options: Unpack[ItemOptions[InputT]],
    ) -> Workflow[InputT, list[R]]: ...
    @overload
    def for_each(
        self,
        items: Handler[InputT, Items],
        name: str,
        handler: Blind[Any],
        /,
        **options: Unpack[ItemOptions[InputT]],
    ) -> Workflow[InputT, list[Any]]: ...
    @overload
    def for_each(
        self,
        items: Handler[InputT, Items],
        name: str,
        handler: Handler[InputT, Any] | Blind[Any],
        /,
        **options: Unpack[BlindItemOptions],
    ) -> Workflow[InputT, list[Any]]: ...
    @overload
    def for_each(
        self,
        items: Handler[InputT, Items],
        name: str,
        /,
        *,
        block: Block[InputT, R],
        **options: Unpack[Repetition],
    ) -> Workflow[InputT, list[R]]: ...
    @overload
    def for_each(
        self,
        items: Blind[Items],
        name: Step[InputT, Any] | str,
        handler: Handler[InputT, Any] | Blind[Any] | Workflow[InputT, Any] | Sequence[Step[InputT, Any]] | None = None,
        /,
        *,
        block: Block[InputT, Any] | None = None,
        **options: Unpack[ItemOptions[InputT]],
    ) -> Workflow[InputT, list[Any]]: ...
    def for_each(
        self,
        items: Any,
        name: Any,
        handler: Any = None,
        /,
        *,
        block: Any = None,
        concurrency: int = 1,
        max_iterations: int = 1000,
        min_successful: int | None = None,
        tolerated_failures: int | None = None,
        fail_fast: bool = False,
        race: bool = False,
        **options: Unpack[AnyOptions],
    ) -> Any:
        """Add a body that runs once for every item of a list.

        Args:
            items: Returns the list or tuple of items; asked once, its answer is recorded.
            name: Name of the step run for each item, or a step object; results stand under ``name:0``, ``name:1``, …
            handler: The step's handler; it finds ``ctx.item`` and ``ctx.index``. Or a `Workflow` or steps, as a block.
            block: Several nodes to run for each item instead of one handler.
            concurrency: How many items at a time.
            max_iterations: More items than this fail the run before anything runs.
            min_successful: How many items must succeed.
            tolerated_failures: How many may fail; ``ctx.errors`` says why they did.
            fail_fast: Stop the items under way once too many have failed.
            race: Stop once enough items have succeeded: the first, unless ``min_successful`` says more.
            options: Those of the step: see `perdure.step`.

        Raises:
            DefinitionError: a name or option is wrong.
        """
        if block is None and isinstance(handler, (Verbs, list, tuple)):
            handler, block = None, handler
        fragment = None if block is None else self._fragment(block, f"for_each {name!r}")
        self._draft.add_for_each(
            items,
            name,
            handler,
            StepOptions(**options),
            fragment=fragment,
            concurrency=concurrency,
            max_iterations=max_iterations,
            policy=Tolerance(min_successful, tolerated_failures, fail_fast, race),
        )
        return self
