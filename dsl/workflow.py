"""The builder: a workflow written as a fluent chain, every mistake found while it is written.

A block (the inside of a path, group, loop or item) is a function that is given a fresh builder, one or more step
objects, or another ``Workflow``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, cast, overload

from .context import Context
from .definition import Definition, define
from .errors import DefinitionError
from .graph import Body, Node
from .names import check_name
from .nodes.branch import BranchNode
from .nodes.for_each import ForEachNode
from .nodes.loop import DoUntilNode, DoWhileNode
from .nodes.map import MapNode
from .nodes.parallel import ParallelNode
from .nodes.pivot import PivotNode
from .nodes.sleep import SleepNode
from .nodes.sub_workflow import SubWorkflowNode
from .nodes.wait_for import WaitForNode
from .policies import Compensation, OnInterrupted, Retry, seconds
from .signals import Signal
from .steps import Step, StepOptions, annotations_of, check_handler, make_step

__all__ = ["Block", "Workflow"]

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT", covariant=True)
I2 = TypeVar("I2")
R = TypeVar("R")

Block = "Callable[[Workflow[InputT, None]], Workflow[InputT, R]] | Step[InputT, R] | Workflow[InputT, R]"
Undo = Callable[[Context[InputT]], Any] | Callable[[], Any] | Compensation
Duration = float | timedelta


class Workflow(Generic[InputT, OutputT]):
    """A workflow under construction; frozen when an engine registers it.

    Attributes:
        name: Name of the workflow.
        version: Version of the definition; two versions may be registered side by side.

    Example:
        >>> hello = Workflow("hello").step("greet", lambda: "hello").step("shout", lambda ctx: ctx.steps["greet"].upper())
        >>> hello.definition().body.nodes[1].name
        'shout'
    """

    @overload
    def __init__(self: Workflow[Any, None], name: str, *, version: str | None = None) -> None: ...
    @overload
    def __init__(self: Workflow[I2, None], name: str, *, input: type[I2], version: str | None = None) -> None: ...  # noqa: A002
    @overload
    def __init__(self: Workflow[Any, None], name: str, *, input: object, version: str | None = None) -> None: ...  # noqa: A002
    def __init__(self, name: str, *, input: Any = None, version: str | None = None) -> None:  # noqa: A002
        """Begin a workflow.

        Args:
            name: Name callers start it by.
            input: Type its input must fit; anything storable goes when it is left out.
            version: Tells definitions of one name apart; runs stay on the version they began with.

        Raises:
            DefinitionError: the name or version cannot be used.
        """
        self.name = check_name(name, "workflow")
        if version is not None:
            check_name(version, "version")
        self.version = version
        self._input_type = input
        self._nodes: list[Node] = []
        self._types: list[Any] = [] if input is None else [input]
        self._definition: Definition | None = None

    def __repr__(self) -> str:
        """Show name and version."""
        return f"<Workflow {self.name!r}{f' {self.version}' if self.version else ''}>"

    def definition(self) -> Definition:
        """Freeze the workflow and return its checked definition.

        Raises:
            DefinitionError: the workflow as a whole is wrong.
        """
        if self._definition is None:
            self._check_branch()
            self._definition = define(
                self.name, self._nodes, version=self.version, input_type=self._input_type, types=self._types
            )
        return self._definition

    # ---- steps

    @overload
    def step(self, name: Step[InputT, R], /) -> Workflow[InputT, R]: ...
    @overload
    def step(
        self,
        name: str,
        handler: Callable[[Context[InputT]], Awaitable[R]],
        /,
        *,
        retry: int | Retry | None = None,
        timeout: Duration | None = None,
        compensate: Undo[InputT] | None = None,
        input_schema: Any = None,
        output_schema: Any = None,
        on_interrupted: OnInterrupted = "repeat",
        compensate_on_failure: bool = False,
    ) -> Workflow[InputT, R]: ...
    @overload
    def step(
        self,
        name: str,
        handler: Callable[[Context[InputT]], R],
        /,
        *,
        retry: int | Retry | None = None,
        timeout: Duration | None = None,
        compensate: Undo[InputT] | None = None,
        input_schema: Any = None,
        output_schema: Any = None,
        on_interrupted: OnInterrupted = "repeat",
        compensate_on_failure: bool = False,
    ) -> Workflow[InputT, R]: ...
    @overload
    def step(
        self,
        name: str,
        handler: Callable[[], Awaitable[R]],
        /,
        *,
        retry: int | Retry | None = None,
        timeout: Duration | None = None,
        compensate: Undo[InputT] | None = None,
        input_schema: Any = None,
        output_schema: Any = None,
        on_interrupted: OnInterrupted = "repeat",
        compensate_on_failure: bool = False,
    ) -> Workflow[InputT, R]: ...
    @overload
    def step(
        self,
        name: str,
        handler: Callable[[], R],
        /,
        *,
        retry: int | Retry | None = None,
        timeout: Duration | None = None,
        compensate: Undo[InputT] | None = None,
        input_schema: Any = None,
        output_schema: Any = None,
        on_interrupted: OnInterrupted = "repeat",
        compensate_on_failure: bool = False,
    ) -> Workflow[InputT, R]: ...
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
        return self._add(self._step_node(name, handler, options))

    def _step_node(self, name: Any, handler: Any, options: StepOptions) -> Node:
        if isinstance(name, Step):
            if handler is not None or options != StepOptions():
                msg = f"step {name.name!r} brings its own handler and options: give them to @step"
                raise DefinitionError(msg)
            node = name.node()
        else:
            if isinstance(handler, Step):
                msg = f"step {name!r}: {handler!r} has a name of its own; write .step({handler.name})"
                raise DefinitionError(msg)
            node = make_step(name, handler, options)
        self._types.append(node.policy.returns)
        return node

    def map(self, name: str, transform: Callable[[Context[InputT]], R] | Callable[[], R]) -> Workflow[InputT, R]:
        """Add a pure, synchronous transformation of what is known so far; its value is recorded like a result.

        Raises:
            DefinitionError: the name or function cannot be used.
        """
        check_name(name, "map")
        self._types.append(annotations_of(check_handler(transform, f"map {name!r}")))
        return self._add(MapNode(name, transform))

    # ---- choices

    def branch(
        self, selector: Callable[[Context[InputT]], Any] | Callable[[], Any], *, name: str | None = None
    ) -> Workflow[InputT, Any]:
        """Begin a choice: the selector returns the label of one of the ``.path(...)`` calls that follow.

        Args:
            selector: ``def`` or ``async def``, taking the context or nothing; asked once, its answer is recorded.
            name: Name its answer is kept under; made from the labels when left out.

        Raises:
            DefinitionError: the selector is no function.
        """
        check_handler(selector, "branch")
        return self._add(BranchNode(_given(name, "branch", "branch"), selector, (), automatic=name is None))

    def path(self, label: str, block: Any) -> Workflow[InputT, Any]:
        """Add a path to the branch before.

        Raises:
            DefinitionError: there is no branch before, or the label is taken.
        """
        branch = self._branch(f"path {label!r}")
        check_name(label, "path")
        if label in [taken for taken, _ in branch.paths]:
            msg = f"workflow {self.name!r}: the branch has a path {label!r} already"
            raise DefinitionError(msg)
        body = self._body(block, f"path {label!r}", may_be_empty=True)
        self._nodes[-1] = branch.with_path(label, body)
        return self

    def otherwise(self, block: Any) -> Workflow[InputT, Any]:
        """Add the path taken by every label that has none of its own.

        Raises:
            DefinitionError: there is no branch before, or it has one already.
        """
        branch = self._branch("otherwise")
        if branch.otherwise is not None:
            msg = f"workflow {self.name!r}: the branch has an otherwise already"
            raise DefinitionError(msg)
        body = self._body(block, "otherwise", may_be_empty=True)
        self._nodes[-1] = branch.with_otherwise(body)
        return self

    def _branch(self, what: str) -> BranchNode:
        self._check_open(what)
        if not self._nodes or not isinstance(self._nodes[-1], BranchNode):
            msg = f"workflow {self.name!r}: {what} must follow a .branch(...)"
            raise DefinitionError(msg)
        return self._nodes[-1]

    def _check_branch(self) -> None:
        if self._nodes and isinstance(branch := self._nodes[-1], BranchNode) and not branch.bodies():
            msg = f"workflow {self.name!r}: a branch without paths; add .path(label, block)"
            raise DefinitionError(msg)

    # ---- several at once

    def parallel(self, *blocks: Any) -> Workflow[InputT, dict[str, Any]]:
        """Add a group whose strands run at once: one builder function whose nodes are the strands, or several blocks.

        Raises:
            DefinitionError: the group is empty.
        """
        if len(blocks) == 1 and not isinstance(blocks[0], Step):
            bodies = [Body((node,)) for node in self._body(blocks[0], "parallel").nodes]
        else:
            bodies = [self._body(block, "parallel") for block in blocks]
        if not bodies:
            msg = f"workflow {self.name!r}: an empty parallel group; give it at least one step"
            raise DefinitionError(msg)
        strands = tuple((body.nodes[0].name, body) for body in bodies)
        return self._add(ParallelNode(f"parallel({','.join(label for label, _ in strands)})", strands, automatic=True))

    @overload
    def for_each(
        self,
        items: Callable[[Context[InputT]], Any] | Callable[[], Any],
        name: Step[InputT, R],
        /,
        *,
        concurrency: int = 1,
        max_iterations: int = 1000,
    ) -> Workflow[InputT, list[R]]: ...
    @overload
    def for_each(
        self,
        items: Callable[[Context[InputT]], Any] | Callable[[], Any],
        name: str,
        handler: Callable[[Context[InputT]], Any] | Callable[[], Any] | None = None,
        /,
        *,
        block: Any = None,
        concurrency: int = 1,
        max_iterations: int = 1000,
        retry: int | Retry | None = None,
        timeout: Duration | None = None,
        compensate: Undo[InputT] | None = None,
        input_schema: Any = None,
        output_schema: Any = None,
        on_interrupted: OnInterrupted = "repeat",
        compensate_on_failure: bool = False,
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
        if isinstance(name, Step):
            body, label = Body((self._step_node(name, handler, options),)), name.name
        else:
            label = check_name(name, "for_each")
            body = self._item_body(label, handler, block, options)
        what = f"for_each {label!r}"
        check_handler(items, f"{what}: items")
        _count(concurrency, f"{what}: concurrency")
        _count(max_iterations, f"{what}: max_iterations")
        return self._add(ForEachNode(label, items, body, concurrency, max_iterations))

    def _item_body(self, label: str, handler: Any, block: Any, options: StepOptions) -> Body:
        if block is None:
            return Body((self._step_node(label, handler, options),))
        if handler is not None or options != StepOptions():
            msg = f"for_each {label!r}: give a handler with its options, or a block, not both"
            raise DefinitionError(msg)
        return self._body(block, f"for_each {label!r}")

    # ---- loops

    def do_until(
        self, condition: Any, block: Any, *, max_iterations: int = 100, name: str | None = None
    ) -> Workflow[InputT, Any]:
        """Add a loop that runs its body, then asks, and ends when the answer is true.

        Args:
            condition: Takes the context, and the turn's number (1, 2, 3) if it takes two; ``def`` or ``async def``.
            block: The body.
            max_iterations: Turning more often fails the run.
            name: Name its answers are kept under; made from the body when left out.

        Raises:
            DefinitionError: an option is wrong or the body is empty.
        """
        return self._loop(DoUntilNode, condition, block, max_iterations, name)

    def do_while(
        self, condition: Any, block: Any, *, max_iterations: int = 100, name: str | None = None
    ) -> Workflow[InputT, Any]:
        """Add a loop that asks, and runs its body while the answer is true. The turn's numbers are 0, 1, 2.

        The arguments and errors are those of `do_until`.
        """
        return self._loop(DoWhileNode, condition, block, max_iterations, name)

    def _loop(self, kind: Any, condition: Any, block: Any, max_iterations: int, name: str | None) -> Any:
        check_handler(condition, f"{kind.kind}: condition", arguments=2)
        _count(max_iterations, f"{kind.kind}: max_iterations")
        body = self._body(block, kind.kind)
        label = _given(name, kind.kind, f"{kind.kind}({body.nodes[0].name})")
        return self._add(kind(label, condition, body, max_iterations, automatic=name is None))

    # ---- waits

    def wait_for(
        self, event: str | Signal[R], *, timeout: Duration | None = None, on_timeout: Any = None
    ) -> Workflow[InputT, Any]:
        """Add a gate that opens when a signal of this name comes.

        Args:
            event: Name of the event, or a typed `Signal`.
            timeout: Seconds or `timedelta` from when the wait began; 0 has expired already, None waits for ever.
            on_timeout: Block to run when no signal comes in time, instead of failing the run.

        Raises:
            DefinitionError: the name or timeout cannot be used.
        """
        signal = event if isinstance(event, Signal) else Signal(event)
        check_name(signal.name, "signal")
        if signal.payload is not None:
            self._types.append(signal.payload)
        what = f"wait_for {signal.name!r}"
        limit = None if timeout is None else seconds(timeout, f"{what}: timeout")
        if on_timeout is not None and limit is None:
            msg = f"{what}: on_timeout needs a timeout"
            raise DefinitionError(msg)
        body = None if on_timeout is None else self._body(on_timeout, f"{what}: on_timeout", may_be_empty=True)
        return self._add(WaitForNode(f"__waitFor:{signal.name}", signal, limit, body, automatic=True))

    def sleep(self, name: str, duration: Duration) -> Workflow[InputT, None]:
        """Add a durable sleep of so many seconds, or a `timedelta`, from when it is reached.

        Raises:
            DefinitionError: the name or duration cannot be used.
        """
        check_name(name, "sleep")
        return self._add(SleepNode(name, seconds(duration, f"sleep {name!r}")))

    def sleep_until(
        self, name: str, moment: datetime | Callable[[Context[InputT]], datetime] | Callable[[], datetime]
    ) -> Workflow[InputT, None]:
        """Add a durable sleep until an aware point in time, or the one the function returns.

        Raises:
            DefinitionError: the name or moment cannot be used.
        """
        check_name(name, "sleep_until")
        if isinstance(moment, datetime):
            if moment.tzinfo is None:
                msg = f"sleep_until {name!r}: {moment!r} has no time zone; say which, for example timezone.utc"
                raise DefinitionError(msg)
        else:
            check_handler(moment, f"sleep_until {name!r}")
        return self._add(SleepNode(name, moment))

    # ---- other workflows, and the point of no return

    def sub_workflow(
        self, name: str | Workflow[Any, Any], mapper: Any = None, *, as_: str | None = None
    ) -> Workflow[InputT, Mapping[str, Any]]:
        """Add another workflow, run as an execution of its own.

        Args:
            name: Name of the workflow, or the workflow itself.
            mapper: Makes the child's input from the context; the child has no input when it is left out.
            as_: Keeps the result under ``sub:<as_>``, for a child that is used more than once.

        Raises:
            DefinitionError: a name cannot be used or the mapper is no function.
        """
        child = check_name(name.name if isinstance(name, Workflow) else name, "sub-workflow")
        if mapper is not None:
            check_handler(mapper, f"sub_workflow {child!r}: mapper")
        label = check_name(as_, "as_") if as_ is not None else child
        return self._add(SubWorkflowNode(f"sub:{label}", child, mapper))

    def pivot(self) -> Workflow[InputT, OutputT]:
        """Add the point of no return: once passed, a later failure compensates nothing."""
        return self._add(PivotNode("pivot", automatic=True))

    # ---- building

    def _add(self, node: Node) -> Any:
        self._check_open(node.name)
        self._check_branch()
        self._nodes.append(node)
        return self

    def _check_open(self, what: str) -> None:
        if self._definition is not None:
            msg = f"workflow {self.name!r} is registered and cannot be changed (adding {what!r}); build a new one"
            raise DefinitionError(msg)

    def _body(self, block: Any, what: str, *, may_be_empty: bool = False) -> Body:
        fragment = self._fragment(block, what)
        fragment._check_branch()  # noqa: SLF001 - a fragment is one of us
        if fragment is not self:
            self._types.extend(fragment._types)  # noqa: SLF001
        body = Body(tuple(fragment._nodes))  # noqa: SLF001
        if not body.nodes and not may_be_empty:
            msg = f"workflow {self.name!r}: the body of {what} is empty"
            raise DefinitionError(msg)
        return body

    def _fragment(self, block: Any, what: str) -> Workflow[Any, Any]:
        if isinstance(block, Workflow):
            if block is self:
                msg = f"workflow {self.name!r}: {what} cannot hold the workflow itself"
                raise DefinitionError(msg)
            return block
        fresh = cast("Workflow[Any, Any]", Workflow(self.name, version=self.version))
        if isinstance(block, Step):
            return fresh.step(block)
        if isinstance(block, (list, tuple)) and all(isinstance(item, Step) for item in block):
            for item in block:
                fresh.step(item)
            return fresh
        if callable(block):
            block(fresh)
            return fresh
        msg = f"workflow {self.name!r}: {what}: expected a builder function, steps, or a Workflow, got {block!r}"
        raise DefinitionError(msg)


def _given(name: str | None, kind: str, otherwise: str) -> str:
    return otherwise if name is None else check_name(name, kind)


def _count(value: Any, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"{what} must be a whole number of at least 1, got {value!r}"
        raise DefinitionError(msg)
