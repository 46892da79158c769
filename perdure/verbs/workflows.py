"""Making workflows known, and comparing them with what was known before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ..actors.supervisor import Register
from ..dsl.errors import UsageError
from ..dsl.workflow import Workflow
from ..registry import make_types_known
from ..upgrade import Upgrade, upgrades_to
from .driving import DrivingVerbs

if TYPE_CHECKING:
    from ..dsl.difference import Difference

__all__ = ["WorkflowVerbs"]


class WorkflowVerbs(DrivingVerbs):
    """What an engine is told of workflows, and tells of them."""

    _workflows: list[Workflow[Any, Any]]

    def register(self, *workflows: Workflow[Any, Any]) -> Self:
        """Make workflows known, and have their unfinished runs go on; returns the engine.

        The same definition twice is harmless. Two versions of one name may stand side by side; runs stay on theirs,
        and `start` uses the one registered last.

        Raises:
            DefinitionError: a workflow is wrong, or another definition has its name and version; `UnknownExecutor` or
                `NotSendable` if a step cannot run where it is to run.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("register")
        definitions = []
        for workflow in workflows:
            if not isinstance(workflow, Workflow):
                msg_ = f"register takes workflows, not {workflow!r}"
                raise UsageError(msg_)
            definitions.append(workflow.definition())
            self._machine.crew.annexes.check(definitions[-1])
        self._workflows.extend(workflows)
        for definition in definitions:
            make_types_known(definition)
            self._machine.ask(Register(definition), "register")
            self._registry.add(definition)
        return self

    def diff(
        self,
        old: Workflow[Any, Any] | str | tuple[str, str | None],
        new: Workflow[Any, Any] | str | tuple[str, str | None],
    ) -> Difference:
        """Return what differs between two definitions: nodes that came, went, moved or have other options.

        Args:
            old: A workflow, the name of a registered one, or its name and version.
            new: The same.

        Raises:
            UnknownWorkflow: nothing of this name, or of this name and version, is registered.
            DefinitionError: a workflow is wrong.
            EngineClosed: the engine is closed.
        """
        from ..dsl.difference import compare

        self._machine.check_open("compare workflows")
        return compare(self._registry.named(old), self._registry.named(new))

    def check_upgrade(self, workflow: Workflow[Any, Any]) -> list[Upgrade]:
        """Tell what would become of each unfinished run if the next engine on this file had this definition instead.

        Nothing is registered and nothing changes. What it says holds for the runs as they are on disk now.

        Args:
            workflow: The new definition, under the name of the old one.

        Returns:
            One record for each unfinished run of a workflow of that name, whoever drives it, oldest first: it goes on,
            or it is quarantined, with the first difference; or it keeps to another version and is left alone.

        Raises:
            UsageError: this is no workflow.
            DefinitionError: it is wrong.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("check an upgrade")
        if not isinstance(workflow, Workflow):
            msg_ = f"check_upgrade takes a workflow, not {workflow!r}"
            raise UsageError(msg_)
        return upgrades_to(workflow.definition(), lambda look: self._machine.read("check an upgrade", look))

    def unregistered(self) -> dict[tuple[str, str | None], int]:
        """Return the workflows, by name and version, that have unfinished runs but are not registered; and how many.

        Those runs are left untouched, by this engine, until their workflow is registered.

        Raises:
            EngineClosed: the engine is closed.
        """
        counts = self._machine.read("look for unregistered workflows", lambda store: store.count_unfinished())
        return {key: count for key, count in counts.items() if not self._registry.knows(*key)}
