"""Saying steps and maps: what a run does."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from ..options import AnyOptions, BlindOptions, Options, StepOptions
from ..steps import Step
from .verbs import Blind, Handler, Verbs

if TYPE_CHECKING:
    from ..workflow import Workflow

__all__ = ["StepVerbs"]

InputT = TypeVar("InputT")
R = TypeVar("R")


class StepVerbs(Verbs[InputT]):
    """What a run does."""

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
    def step(self, name: Any, handler: Any = None, /, **options: Unpack[AnyOptions]) -> Any:
        """Add a step: ``.step(charge)``, or ``.step("charge", fn, retry=5)``. The options are those of `perdure.step`.

        Raises:
            DefinitionError: a name or option is wrong.
        """
        self._draft.add_step(name, handler, StepOptions(**options))
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
