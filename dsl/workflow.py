"""The builder: a workflow written as a fluent chain, typed so that a wrong use is refused before it runs.

A block (the inside of a path, group, loop or item) is a function that is given a fresh builder, one or more step
objects, or another ``Workflow``. What may be said where is the business of the `Draft` behind the chain.

A function that may take the context or nothing has an overload for each: without them not every type checker can tell
what a lambda's argument is.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import Any, Generic, Self, TypeAlias, TypeVar, Unpack, cast, overload

from .context import Context
from .definition import Definition
from .draft import Draft
from .errors import DefinitionError
from .nodes.loop import DoUntilNode, DoWhileNode
from .options import BlindItemOptions, BlindOptions, ItemOptions, Options, Repetition, StepOptions, Turning
from .policies import Duration, OnInterrupted, Retry
from .signals import Signal
from .steps import Step

__all__ = ["Block", "Workflow"]

InputT = TypeVar("InputT")
OutputT_co = TypeVar("OutputT_co", covariant=True)
I2 = TypeVar("I2")
R = TypeVar("R")
R2 = TypeVar("R2")

Handler: TypeAlias = Callable[[Context[InputT]], R]
Blind: TypeAlias = Callable[[], R]
Turned: TypeAlias = Callable[[Context[InputT], int], R]
Items: TypeAlias = Sequence[Any] | Awaitable[Sequence[Any]]
Label: TypeAlias = str | Awaitable[str]
Moment: TypeAlias = datetime | Awaitable[datetime]


class Workflow(Generic[InputT, OutputT_co]):
    """A workflow under construction; frozen when an engine registers it.

    Attributes:
        name: Name of the workflow.
        version: Version of the definition; two versions may be registered side by side.
        timeout: Seconds a run may take as a whole, or None.

    Example:
        >>> hello = Workflow("hello").step("greet", lambda: "hello").map("shout", lambda ctx: ctx.steps["greet"] + "!")
        >>> hello.definition().body.nodes[1].name
        'shout'
    """

    @overload
    def __init__(
        self: Workflow[Any, None], name: str, *, version: str | None = None, timeout: Duration | None = None
    ) -> None: ...
    @overload
    def __init__(
        self: Workflow[I2, None],
        name: str,
        *,
        input: type[I2],
        version: str | None = None,
        timeout: Duration | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Workflow[Any, None],
        name: str,
        *,
        input: object,
        version: str | None = None,
        timeout: Duration | None = None,
    ) -> None: ...
    def __init__(
        self, name: str, *, input: Any = None, version: str | None = None, timeout: Duration | None = None
    ) -> None:
        """Begin a workflow.

        Args:
            name: Name callers start it by.
            input: Type its input must fit; anything storable goes when it is left out.
            version: Tells definitions of one name apart; runs stay on the version they began with.
            timeout: Seconds or `timedelta` a run may take as a whole, from its first node on; when they have passed
                it is stopped and undone, and ends as failed.

        Raises:
            DefinitionError: the name, version or timeout cannot be used.
        """
        self._draft = Draft(name, version, input, timeout)
        self.name = name
        self.version = version
        self.timeout = self._draft.timeout

    def __repr__(self) -> str:
        """Show name and version."""
        return f"<Workflow {self.name!r}{f' {self.version}' if self.version else ''}>"

    def definition(self) -> Definition:
        """Freeze the workflow and return its checked definition.

        Raises:
            DefinitionError: the workflow as a whole is wrong.
        """
        return self._draft.freeze()

    def redefined(self, definition: Definition) -> Self:
        """Return a workflow of the same types with another definition, such as one whose handlers were replaced."""
        other = copy(self)
        other._draft = self._draft.redefined(definition)  # noqa: SLF001 - it is one of us
        return other

    # ---- steps

    @overload
    def step(self, step: Step[InputT, R], /) -> Workflow[InputT, R]: ...
    @overload
    def step(
        self, name: str, handler: Handler[InputT, Awaitable[R]], /, **options: Unpack[Options[InputT]]
    ) -> Workflow[InputT, R]: ...
    @overload
    def step(
        self, name: str, handler: Handler[InputT, R], /, **options: Unpack[Options[InputT]]
    ) -> Workflow[InputT, R]: ...
    @overload
    def step(
        self, name: str, handler: Blind[Awaitable[R]], /, **options: Unpack[Options[InputT]]
    ) -> Workflow[InputT, R]: ...
    @overload
    def step(self, name: str, handler: Blind[R], /, **options: Unpack[Options[InputT]]) -> Workflow[InputT, R]: ...
    @overload
    def step(
        self, name: str, handler: Handler[InputT, Awaitable[R]], /, **options: Unpack[BlindOptions]
    ) -> Workflow[InputT, R]: ...
    @overload
    def step(
        self, name: str, handler: Handler[InputT, R], /, **options: Unpack[BlindOptions]
    ) -> Workflow[InputT, R]: ...
    @overload
    def step(
        self, name: str, handler: Blind[Awaitable[R]], /, **options: Unpack[BlindOptions]
    ) -> Workflow[InputT, R]: ...
    @overload
    def step(self, name: str, handler: Blind[R], /, **options: Unpack[BlindOptions]) -> Workflow[InputT, R]: ...
    def step(
        self,
        name: Any,
        handler: Any = None,
        /,
        *,
        retry: int | Retry | None = None,
        timeout: Duration | None = None,
        compensate: Any = None,
        input_schema: Any = None,
        output_schema: Any = None,
        on_interrupted: OnInterrupted = "repeat",
        compensate_on_failure: bool = False,
    ) -> Any:
        """Add a step: ``.step(charge)``, or ``.step("charge", fn, retry=5)``. The options are those of `perdure.step`.

        Raises:
            DefinitionError: a name or option is wrong.
        """
        options = StepOptions(
            retry, timeout, compensate, input_schema, output_schema, on_interrupted, compensate_on_failure
        )
        self._draft.add_step(name, handler, options)
        return self

    @overload
    def map(self, name: str, transform: Handler[InputT, R]) -> Workflow[InputT, R]: ...
    @overload
    def map(self, name: str, transform: Blind[R]) -> Workflow[InputT, R]: ...
    def map(self, name: str, transform: Any) -> Any:
        """Add a pure, synchronous transformation of what is known so far; its value is recorded like a result.

        Raises:
            DefinitionError: the name or function cannot be used.
        """
        self._draft.add_map(name, transform)
        return self

    # ---- choices

    @overload
    def branch(self, selector: Handler[InputT, Label], *, name: str | None = None) -> Workflow[InputT, Any]: ...
    @overload
    def branch(self, selector: Blind[Label], *, name: str | None = None) -> Workflow[InputT, Any]: ...
    def branch(self, selector: Any, *, name: str | None = None) -> Any:
        """Begin a choice: the selector returns the label of one of the ``.path(...)`` calls that follow.

        Args:
            selector: ``def`` or ``async def``, taking the context or nothing; asked once, its answer is recorded.
            name: Name its answer is kept under; made from the labels when left out.

        Raises:
            DefinitionError: the selector is no function.
        """
        self._draft.add_branch(selector, name)
        return self

    def path(self, label: str, block: Block[InputT, Any]) -> Workflow[InputT, Any]:
        """Add a path to the branch before.

        Raises:
            DefinitionError: there is no branch before, or the label is taken.
        """
        self._draft.add_path(label, self._fragment(block, f"path {label!r}"))
        return self

    def otherwise(self, block: Block[InputT, Any]) -> Workflow[InputT, Any]:
        """Add the path taken by every label that has none of its own.

        Raises:
            DefinitionError: there is no branch before, or it has one already.
        """
        self._draft.add_otherwise(self._fragment(block, "otherwise"))
        return self

    # ---- several at once

    def parallel(self, *blocks: Block[InputT, Any]) -> Workflow[InputT, dict[str, Any]]:
        """Add a group whose strands run at once: one builder function whose nodes are the strands, or several blocks.

        Raises:
            DefinitionError: the group is empty.
        """
        self._draft.add_parallel([self._fragment(block, "parallel") for block in blocks])
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
        handler: Handler[InputT, Any] | Blind[Any] | None = None,
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
        retry: int | Retry | None = None,
        timeout: Duration | None = None,
        compensate: Any = None,
        input_schema: Any = None,
        output_schema: Any = None,
        on_interrupted: OnInterrupted = "repeat",
        compensate_on_failure: bool = False,
    ) -> Any:
        """Add a body that runs once for every item of a list.

        Args:
            items: Returns the list or tuple of items; asked once, its answer is recorded.
            name: Name of the step run for each item, or a step object; results stand under ``name:0``, ``name:1``, …
            handler: The step's handler; it finds ``ctx.item`` and ``ctx.index``.
            block: Several nodes to run for each item instead of one handler.
            concurrency: How many items at a time.
            max_iterations: More items than this fail the run before anything runs.
            retry: As for a step; so are the options that follow.
            timeout: See ``retry``.
            compensate: See ``retry``.
            input_schema: See ``retry``.
            output_schema: See ``retry``.
            on_interrupted: See ``retry``.
            compensate_on_failure: See ``retry``.

        Raises:
            DefinitionError: a name or option is wrong.
        """
        options = StepOptions(
            retry, timeout, compensate, input_schema, output_schema, on_interrupted, compensate_on_failure
        )
        fragment = None if block is None else self._fragment(block, f"for_each {name!r}")
        self._draft.add_for_each(
            items, name, handler, options, fragment=fragment, concurrency=concurrency, max_iterations=max_iterations
        )
        return self

    # ---- loops

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

    # ---- waits

    @overload
    def wait_for(
        self, event: Signal[R], *, timeout: Duration | None = None, on_timeout: None = None
    ) -> Workflow[InputT, R]: ...
    @overload
    def wait_for(
        self, event: Signal[R], *, timeout: Duration, on_timeout: Block[InputT, R2]
    ) -> Workflow[InputT, R | R2]: ...
    @overload
    def wait_for(
        self, event: str, *, timeout: Duration | None = None, on_timeout: Block[InputT, Any] | None = None
    ) -> Workflow[InputT, Any]: ...
    def wait_for(self, event: Any, *, timeout: Duration | None = None, on_timeout: Any = None) -> Any:
        """Add a gate that opens when a signal of this name comes.

        Args:
            event: Name of the event, or a typed `Signal`.
            timeout: Seconds or `timedelta` from when the wait began; 0 has expired already, None waits for ever.
            on_timeout: Block to run when no signal comes in time, instead of failing the run.

        Raises:
            DefinitionError: the name or timeout cannot be used.
        """
        fragment = None if on_timeout is None else self._fragment(on_timeout, "on_timeout")
        self._draft.add_wait(event, timeout, fragment)
        return self

    def sleep(self, name: str, duration: Duration) -> Workflow[InputT, None]:
        """Add a durable sleep of so many seconds, or a `timedelta`, from when it is reached.

        Raises:
            DefinitionError: the name or duration cannot be used.
        """
        self._draft.add_sleep(name, duration)
        return cast("Workflow[InputT, None]", self)

    @overload
    def sleep_until(self, name: str, moment: datetime | Handler[InputT, Moment]) -> Workflow[InputT, None]: ...
    @overload
    def sleep_until(self, name: str, moment: Blind[Moment]) -> Workflow[InputT, None]: ...
    def sleep_until(self, name: str, moment: Any) -> Any:
        """Add a durable sleep until an aware point in time, or the one the function returns.

        Raises:
            DefinitionError: the name or moment cannot be used.
        """
        self._draft.add_sleep_until(name, moment)
        return self

    # ---- other workflows, and the point of no return

    @overload
    def sub_workflow(
        self, workflow: Workflow[I2, Any], mapper: Handler[InputT, I2 | Awaitable[I2]], *, as_: str | None = None
    ) -> Workflow[InputT, Mapping[str, Any]]: ...
    @overload
    def sub_workflow(
        self, workflow: Workflow[I2, Any], mapper: Blind[I2 | Awaitable[I2]], *, as_: str | None = None
    ) -> Workflow[InputT, Mapping[str, Any]]: ...
    @overload
    def sub_workflow(
        self, workflow: str, mapper: Handler[InputT, object], *, as_: str | None = None
    ) -> Workflow[InputT, Mapping[str, Any]]: ...
    @overload
    def sub_workflow(
        self, workflow: str | Workflow[None, Any], mapper: Blind[object] | None = None, *, as_: str | None = None
    ) -> Workflow[InputT, Mapping[str, Any]]: ...
    def sub_workflow(self, workflow: Any, mapper: Any = None, *, as_: str | None = None) -> Any:
        """Add another workflow, run as an execution of its own.

        Args:
            workflow: The workflow, or its name.
            mapper: Makes the child's input from the context; the child has no input when it is left out.
            as_: Keeps the result under ``sub:<as_>``, for a child that is used more than once.

        Raises:
            DefinitionError: a name cannot be used or the mapper is no function.
        """
        self._draft.add_child(workflow.name if isinstance(workflow, Workflow) else workflow, mapper, as_)
        return self

    def pivot(self) -> Workflow[InputT, None]:
        """Add the point of no return: once passed, a later failure compensates nothing."""
        self._draft.add_pivot()
        return cast("Workflow[InputT, None]", self)

    # ---- blocks

    def _fragment(self, block: Any, what: str) -> Draft:
        if isinstance(block, Workflow):
            return block._draft  # noqa: SLF001 - it is one of us
        fresh: Workflow[Any, Any] = Workflow(self.name, version=self.version)
        if isinstance(block, Step):
            fresh.step(block)
        elif isinstance(block, (list, tuple)) and all(isinstance(item, Step) for item in block):
            for item in block:
                fresh.step(item)
        elif callable(block):
            self._build(block, fresh, what)
        else:
            msg = f"workflow {self.name!r}: {what}: expected a builder function, steps, or a Workflow, got {block!r}"
            raise DefinitionError(msg)
        return fresh._draft

    def _build(self, block: Any, fresh: Workflow[Any, Any], what: str) -> None:
        hint = 'a block adds nodes to the builder it is given: lambda w: w.step("name", handler)'
        try:
            inspect.signature(block).bind(fresh)
        except TypeError:
            msg = f"workflow {self.name!r}: {what}: {block.__qualname__!r} does not take one argument; {hint}"
            raise DefinitionError(msg) from None
        except ValueError:  # a builtin without a signature
            pass
        left = block(fresh)
        if left is not None and not isinstance(left, Workflow):
            close = getattr(
                left, "close", None
            )  # what an async handler returns: it must not warn that nobody awaits it
            if callable(close):
                close()
            msg = f"workflow {self.name!r}: {what}: {block.__qualname__!r} is a handler, not a block; {hint}"
            raise DefinitionError(msg)


Block: TypeAlias = (
    Callable[[Workflow[InputT, None]], Workflow[InputT, R] | None]
    | Workflow[InputT, R]
    | Step[InputT, R]
    | Sequence[Step[InputT, R]]
)
"""The inside of a path, group, loop or item of a workflow whose input is an ``InputT``; it leaves an ``R``.

A builder function may return nothing: what counts is what it has said. Only its value's type is then unknown.
"""
