"""The builder: a workflow written as a fluent chain, typed so that a wrong use is refused before it runs.

What can be said stands in `verbs`, one noun a file. What may be said where is the business of the `Draft` behind the
chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar, overload

from .definition import Definition
from .draft import Draft
from .limits import Concurrency
from .policies import Duration, OnExhausted
from .spelling import spelt
from .steps import Step
from .verbs.children import ChildVerbs
from .verbs.choices import ChoiceVerbs
from .verbs.groups import GroupVerbs
from .verbs.loops import LoopVerbs
from .verbs.steps import StepVerbs
from .verbs.waits import WaitVerbs

if TYPE_CHECKING:
    from .diagram import Figure
    from .findings import Finding

__all__ = ["Block", "Workflow"]

InputT = TypeVar("InputT")
OutputT_co = TypeVar("OutputT_co", covariant=True)
I2 = TypeVar("I2")
R = TypeVar("R")


@spelt
class Workflow(
    StepVerbs[InputT],
    ChoiceVerbs[InputT],
    GroupVerbs[InputT],
    LoopVerbs[InputT],
    WaitVerbs[InputT],
    ChildVerbs[InputT],
    Generic[InputT, OutputT_co],
):
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
        self: Workflow[Any, None],
        name: str,
        *,
        version: str | None = None,
        timeout: Duration | None = None,
        on_exhausted: OnExhausted = "fail",
        concurrency: int | Concurrency | None = None,
        singleton: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self: Workflow[I2, None],
        name: str,
        *,
        input: type[I2],
        version: str | None = None,
        timeout: Duration | None = None,
        on_exhausted: OnExhausted = "fail",
        concurrency: int | Concurrency | None = None,
        singleton: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self: Workflow[Any, None],
        name: str,
        *,
        input: object,
        version: str | None = None,
        timeout: Duration | None = None,
        on_exhausted: OnExhausted = "fail",
        concurrency: int | Concurrency | None = None,
        singleton: bool = False,
    ) -> None: ...
    def __init__(
        self,
        name: str,
        *,
        input: Any = None,
        version: str | None = None,
        timeout: Duration | None = None,
        on_exhausted: OnExhausted = "fail",
        concurrency: int | Concurrency | None = None,
        singleton: bool = False,
    ) -> None:
        """Begin a workflow.

        Args:
            name: Name callers start it by.
            input: Type its input must fit; anything storable goes when it is left out.
            version: Tells definitions of one name apart; runs stay on the version they began with.
            timeout: Seconds or `timedelta` a run may take as a whole, from its first node on; when they have passed
                it is stopped and undone, and ends as failed.
            on_exhausted: What becomes of a step that has failed for good and does not say so itself: ``"fail"`` the
                run, or ``"park"`` the step, for an operator to resolve.
            concurrency: How many runs may be under way at once, in all engines together: a number, or a
                `Concurrency` that tells whose runs they are. Others wait in line before their first node.
            singleton: Whether there is one unfinished run at a time, of each key that is given to `Engine.start`. A
                start while it is unfinished gives that run.

        Raises:
            DefinitionError: the name or an option cannot be used.
        """
        self._draft = Draft(name, version, input, timeout, on_exhausted, concurrency=concurrency, singleton=singleton)
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

    # ---- looking at it

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as data that JSON can hold: kinds, names, options and bodies, and no code.

        Raises:
            DefinitionError: the workflow as a whole is wrong. So do the methods that follow.
        """
        from .description import describe

        return describe(self._draft.definition())

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart."""
        from .diagram_mermaid import to_mermaid

        return to_mermaid(self._figure())

    def to_dot(self) -> str:
        """Return the graph in the language of Graphviz."""
        from .diagram_dot import to_dot

        return to_dot(self._figure())

    def to_svg(self) -> str:
        """Return the graph as a drawing, which needs no other program."""
        from .diagram_svg import to_svg

        return to_svg(self._figure())

    def check(self, *others: Workflow[Any, Any]) -> list[Finding]:
        """Return what is allowed and still looks wrong, in order of the graph.

        Paths that nobody takes, look-ups of what need not be there, loops without end, waits without a timeout, steps
        without compensation that seem to act, what may take longer than it has, and sub-workflows that wait for a slot
        of the limit that this workflow holds one of. None of it stops anything.

        Args:
            others: Workflows to look into where this one starts them as sub-workflows, of which it knows the name only.
        """
        from .findings import check

        return check(self._draft.definition(), [other._draft.definition() for other in others])  # noqa: SLF001 - one of us

    def _figure(self) -> Figure:
        from .diagram import draw

        return draw(self._draft.definition())

    def _repr_svg_(self) -> str | None:
        """Show the drawing in a notebook, once there is something to draw."""
        return self.to_svg() if self._draft.nodes else None

    def _repr_html_(self) -> str | None:
        """Show the drawing in a notebook that prefers HTML."""
        return self._repr_svg_()

    def _blank(self) -> Workflow[Any, None]:
        return Workflow(self.name, version=self.version)


Block: TypeAlias = (
    Callable[[Workflow[InputT, None]], Workflow[InputT, R] | None]
    | Workflow[InputT, R]
    | Step[InputT, R]
    | Sequence[Step[InputT, R]]
)
"""The inside of a path, group, loop or item of a workflow whose input is an ``InputT``; it leaves an ``R``.

A builder function may return nothing: what counts is what it has said. Only its value's type is then unknown.
"""
