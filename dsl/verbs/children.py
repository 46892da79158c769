"""Saying sub-workflows, and the point of no return."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from .verbs import Blind, Handler, Verbs

if TYPE_CHECKING:
    from ..workflow import Workflow

__all__ = ["ChildVerbs"]

InputT = TypeVar("InputT")
I2 = TypeVar("I2")


class ChildVerbs(Verbs[InputT]):
    """What other runs a run starts, and from where on there is no way back."""

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
        name = workflow._draft.name if isinstance(workflow, Verbs) else workflow  # noqa: SLF001 - it is one of us
        self._draft.add_child(name, mapper, as_)
        return self

    def pivot(self) -> Workflow[InputT, None]:
        """Add the point of no return: once passed, a later failure compensates nothing."""
        self._draft.add_pivot()
        return cast("Workflow[InputT, None]", self)
