"""Steps as module-level objects: ``@step`` above a handler, ``@charge.compensate`` above its undo."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Generic, TypeVar, overload

from .context import Context
from .errors import DefinitionError, NotSendable
from .limits import Rate, bucket_of
from .names import check_name, name_of
from .nodes.step import StepNode
from .options import StepOptions
from .policies import (
    AttemptPolicy,
    Compensation,
    Duration,
    OnExhausted,
    OnInterrupted,
    Retry,
    check_choice,
    retry_policy,
    seconds,
)
from .schema import as_schema

__all__ = ["Step", "annotations_of", "check_handler", "make_step", "step"]

InputT = TypeVar("InputT")
InputT_contra = TypeVar("InputT_contra", contravariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


def check_handler(handler: Callable[..., Any], what: str, *, arguments: int = 1) -> Callable[..., Any]:
    """Return the handler if it can be called with the context, or with nothing.

    Raises:
        DefinitionError: it is no callable, a generator, or wants other arguments.
    """
    if not callable(handler):
        called = " (was it called? Give the function itself)" if handler is None else ""
        msg = f"{what}: expected a function, got {handler!r}{called}"
        raise DefinitionError(msg)
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        msg = f"{what}: {name_of(handler)!r} is a generator function; a handler returns its result"
        raise DefinitionError(msg)
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # builtins without a signature
        return handler
    for count in range(arguments, -1, -1):
        try:
            signature.bind(*(None,) * count)
        except TypeError:
            continue
        return handler
    msg = f"{what}: {name_of(handler)!r} must take the context or nothing, not {signature}"
    raise DefinitionError(msg)


def annotations_of(handler: Callable[..., Any]) -> Any:
    """Return the handler's return annotation, or None when there is none that can be resolved."""
    function = handler if inspect.isroutine(handler) else getattr(handler, "__call__", handler)  # noqa: B004
    function = inspect.unwrap(function)
    annotation = getattr(function, "__annotations__", {}).get("return")
    if not isinstance(annotation, str):
        return annotation
    alone = SimpleNamespace(__annotations__={"return": annotation})  # those of the arguments may name what is not there
    try:
        return typing.get_type_hints(alone, getattr(function, "__globals__", {})).get("return")
    except Exception:  # noqa: BLE001 - annotations may name anything
        return None


def make_step(name: str, handler: Callable[..., Any], options: StepOptions) -> StepNode:
    """Check everything said about a step and make its node.

    Raises:
        DefinitionError: something is wrong, naming the step.
    """
    what = f"step {name!r}"
    check_handler(handler, what)
    check_name(name, "step")
    timeout = None if options.timeout is None else seconds(options.timeout, f"{what}: timeout")
    check_choice(options.on_interrupted, OnInterrupted, f"{what}: on_interrupted")
    if options.on_exhausted is not None:
        check_choice(options.on_exhausted, OnExhausted, f"{what}: on_exhausted")
    if options.transactional:
        _check_transactional(handler, timeout, options.executor, what)
    bucket = bucket_of(options.rate, what)
    if bucket is not None and bucket.question is not None:
        check_handler(bucket.question, f"{what}: rate: key")
    policy = AttemptPolicy(
        retry=retry_policy(options.retry, what),
        timeout=timeout or None,
        input_schema=as_schema(options.input_schema, f"{what}: input_schema"),
        output_schema=as_schema(options.output_schema, f"{what}: output_schema"),
        returns=(annotations_of(handler), options.output_schema),
        on_interrupted=options.on_interrupted,
        transactional=options.transactional,
        on_exhausted=options.on_exhausted,
        executor=_check_executor(options.executor, handler, what),
        rate=bucket,
    )
    compensation, undo_policy = _make_compensation(options, policy, what)
    return StepNode(name, handler, policy, compensation, undo_policy, options.compensate_on_failure)


def _check_transactional(handler: Callable[..., Any], timeout: float | None, executor: str | None, what: str) -> None:
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None)):  # noqa: B004
        msg = f"{what}: a transactional step needs a def handler: a transaction belongs to one thread"
        raise DefinitionError(msg)
    if timeout:
        msg = f"{what}: a transactional step can have no timeout: its transaction ends when its handler does"
        raise DefinitionError(msg)
    if executor is not None:
        msg = f"{what}: a transactional step can have no executor: its transaction is this process's"
        raise DefinitionError(msg)


def _check_executor(executor: str | None, handler: Callable[..., Any], what: str) -> str | None:
    """Return the name of an executor, for a handler that can be found by name wherever that is.

    What can be told here is told where the step is written; the engine tells the rest when the workflow is registered.
    """
    if executor is None:
        return None
    if not isinstance(executor, str) or not executor:
        msg = f"{what}: executor must be the name of one, such as 'process', got {executor!r}"
        raise DefinitionError(msg)
    name = getattr(handler, "__qualname__", "")
    if "<lambda>" in name or "<locals>" in name:
        raise NotSendable(what, executor, f"{name} is defined inside another function, or has no name")
    return executor


def _make_compensation(
    options: StepOptions, policy: AttemptPolicy, what: str
) -> tuple[Callable[..., Any] | None, AttemptPolicy]:
    undo = AttemptPolicy(retry=policy.retry, timeout=policy.timeout)
    given = options.compensate
    if given is None:
        if options.compensate_on_failure:
            msg = f"{what}: compensate_on_failure needs a compensate handler"
            raise DefinitionError(msg)
        return None, undo
    if isinstance(given, Compensation):
        if given.retry is not None:
            undo = replace(undo, retry=retry_policy(given.retry, f"{what}: compensation"))
        if given.timeout is not None:
            undo = replace(undo, timeout=seconds(given.timeout, f"{what}: compensation: timeout") or None)
        executor = _check_executor(given.executor, given.handler, f"{what}: compensation")
        undo = replace(undo, on_exhausted=given.on_exhausted, executor=executor)
        given = given.handler
    return check_handler(given, f"{what}: compensate"), undo


class Step(Generic[InputT_contra, R_co]):
    """A handler with a name and a policy, to be used in any workflow whose input fits.

    Calling it calls the handler, so it can be tested like any function.

    Attributes:
        name: Name of the step.
    """

    def __init__(self, name: str, handler: Callable[..., Any], options: StepOptions) -> None:
        # Complain here, where the decorator stands; but its undo may come after it, by `compensate`.
        make_step(name, handler, replace(options, compensate_on_failure=False))
        self.name = name
        self._handler = handler
        self._options = options
        self.__doc__ = handler.__doc__

    def __repr__(self) -> str:
        """Show the name."""
        return f"<Step {self.name!r}>"

    def __call__(self, *context: Context[InputT_contra]) -> Any:
        """Call the handler itself."""
        return self._handler(*context)

    @overload
    def compensate(
        self,
        handler: Callable[[Context[InputT_contra]], R],
    ) -> Callable[[Context[InputT_contra]], R]: ...
    @overload
    def compensate(self, handler: Callable[[], R]) -> Callable[[], R]: ...
    def compensate(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate the function that undoes this step; returns it unchanged.

        Raises:
            DefinitionError: the step has a compensation already.
        """
        if self._options.compensate is not None:
            msg = f"step {self.name!r} has a compensation already"
            raise DefinitionError(msg)
        options = replace(self._options, compensate=handler)
        make_step(self.name, self._handler, options)
        self._options = options
        return handler

    def node(self) -> StepNode:
        """Return the node this step is in a graph."""
        return make_step(self.name, self._handler, self._options)


class _Decorator(typing.Protocol):
    @overload
    def __call__(self, handler: Callable[[Context[InputT]], Awaitable[R]], /) -> Step[InputT, R]: ...
    @overload
    def __call__(self, handler: Callable[[Context[InputT]], R], /) -> Step[InputT, R]: ...
    @overload
    def __call__(self, handler: Callable[[], Awaitable[R]], /) -> Step[Any, R]: ...
    @overload
    def __call__(self, handler: Callable[[], R], /) -> Step[Any, R]: ...


@overload
def step(handler: Callable[[Context[InputT]], Awaitable[R]], /) -> Step[InputT, R]: ...
@overload
def step(handler: Callable[[Context[InputT]], R], /) -> Step[InputT, R]: ...
@overload
def step(handler: Callable[[], Awaitable[R]], /) -> Step[Any, R]: ...
@overload
def step(handler: Callable[[], R], /) -> Step[Any, R]: ...
@overload
def step(
    name: str | None = None,
    /,
    *,
    retry: int | Retry | None = None,
    timeout: Duration | None = None,
    compensate: Callable[..., Any] | Compensation | None = None,
    input_schema: Any = None,
    output_schema: Any = None,
    on_interrupted: OnInterrupted = "repeat",
    compensate_on_failure: bool = False,
    transactional: bool = False,
    on_exhausted: OnExhausted | None = None,
    executor: str | None = None,
    rate: Rate | None = None,
) -> _Decorator: ...
def step(
    name: Any = None,
    /,
    *,
    retry: int | Retry | None = None,
    timeout: Duration | None = None,
    compensate: Callable[..., Any] | Compensation | None = None,
    input_schema: Any = None,
    output_schema: Any = None,
    on_interrupted: OnInterrupted = "repeat",
    compensate_on_failure: bool = False,
    transactional: bool = False,
    on_exhausted: OnExhausted | None = None,
    executor: str | None = None,
    rate: Rate | None = None,
) -> Any:
    """Make a step of a function: ``@step``, ``@step("name")`` or ``@step(retry=5, timeout=15)``.

    Args:
        name: Name of the step; the function's own when left out.
        retry: Number of attempts (3 when left out) or a `Retry`.
        timeout: Seconds or `timedelta` per attempt; None or 0 for no bound.
        compensate: Handler that undoes the step, or a `Compensation` with a policy of its own.
        input_schema: Checks the context's input before the handler sees it; a misfit is not tried again.
        output_schema: Checks the result before it is stored; a misfit is an attempt that failed.
        on_interrupted: After a crash in the middle of an attempt: ``"repeat"`` it; ``"fail"`` the step, so that
            the handler begins at most once per allowed attempt; or ``"park"`` it, for an operator to find out.
        compensate_on_failure: Run the compensation also when the step itself failed.
        transactional: Commit what the handler writes through ``ctx.transaction`` together with its result, or neither.
        on_exhausted: When the step has failed for good: ``"fail"`` the run, or ``"park"`` the step, for an operator
            to resolve; what the workflow says when left out.
        executor: Where the handler runs: ``"process"`` for processes of the engine's own, or the name of one of the
            engine's ``executors``; in this process when left out.
        rate: How often the step may be attempted, in all engines together; an attempt too many waits for its time.

    Raises:
        DefinitionError: an option is wrong; the message names the step.

    Example:
        >>> @step(retry=5)
        ... def greet():
        ...     return "hello"
        >>> greet.name, greet()
        ('greet', 'hello')
    """
    options = StepOptions(
        retry,
        timeout,
        compensate,
        input_schema,
        output_schema,
        on_interrupted,
        compensate_on_failure,
        transactional,
        on_exhausted,
        executor,
        rate,
    )
    if callable(name):
        return Step(getattr(name, "__name__", ""), name, options)

    def decorate(handler: Callable[..., Any]) -> Step[Any, Any]:
        return Step(name if name is not None else getattr(handler, "__name__", ""), handler, options)

    return decorate
