"""Saying choices: branches and their paths."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, overload

from .verbs import Blind, Handler, Verbs

if TYPE_CHECKING:
    from ..workflow import Block, Workflow

__all__ = ["ChoiceVerbs"]

InputT = TypeVar("InputT")

Label: TypeAlias = str | Awaitable[str]


class ChoiceVerbs(Verbs[InputT]):
    """Which way a run takes."""

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
        return cast("Workflow[InputT, Any]", self)

    def otherwise(self, block: Block[InputT, Any]) -> Workflow[InputT, Any]:
        """Add the path taken by every label that has none of its own.

        Raises:
            DefinitionError: there is no branch before, or it has one already.
        """
        self._draft.add_otherwise(self._fragment(block, "otherwise"))
        return cast("Workflow[InputT, Any]", self)
