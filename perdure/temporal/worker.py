"""Workers: processes that run workflows and their code for a Temporal cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from ..arguments import check_count, check_text
from ..dsl.definition import Definition
from ..dsl.errors import DefinitionError, UsageError
from ..dsl.policies import AttemptPolicy
from ..dsl.workflow import Workflow
from ..registry import make_types_known
from .code import Activities
from .program import PerdureRun

__all__ = ["TASK_QUEUE", "checked", "sandbox", "worker"]

TASK_QUEUE = "perdure"

_TRUSTED = ("perdure", "msgspec", "blinker", "pykka")
"""Modules that a workflow shares with its worker: what it uses of them is the same each time, and too large to be
loaded for each run."""


def worker(
    client: Client,
    workflows: Iterable[Workflow[Any, Any]],
    *,
    task_queue: str = TASK_QUEUE,
    threads: int = 32,
    **options: Any,
) -> Worker:
    """Make a Temporal worker for these workflows, to be run as any: by its ``run()``, or in an ``async with``.

    Args:
        client: A connected client of Temporal's SDK.
        workflows: What it runs. All workers of one task queue should know the same.
        task_queue: Where it takes its work from.
        threads: How many ``def`` handlers it runs at a time; ``async def`` handlers run on its event loop.
        options: Any other option of `temporalio.worker.Worker`.

    Raises:
        DefinitionError: a workflow is wrong, or asks for something that only an engine with a database has.
        UsageError: an argument is wrong.
    """
    check_text(task_queue, "task_queue")
    check_count(threads, "threads")
    activities = Activities(threads)
    for definition in checked(workflows):
        make_types_known(definition)
        activities.add(definition)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[PerdureRun],
        activities=[activities.handler, activities.question],
        workflow_runner=sandbox(),
        **options,
    )


def sandbox() -> SandboxedWorkflowRunner:
    """Return where the workflow runs: Temporal's sandbox, which forbids what a replay could not repeat."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*_TRUSTED))


def checked(workflows: Iterable[Workflow[Any, Any]]) -> list[Definition]:
    """Return the definitions of these workflows.

    Raises:
        DefinitionError: a workflow is wrong, or asks for something that Temporal has not.
        UsageError: one is no workflow.
    """
    definitions = []
    for workflow in workflows:
        if not isinstance(workflow, Workflow):
            msg = f"expected workflows, got {workflow!r}"
            raise UsageError(msg)
        definitions.append(workflow.definition())
        _check(definitions[-1])
    return definitions


def _check(definition: Definition) -> None:
    if definition.pool is not None:
        msg = f"workflow {definition.name!r} cannot run on Temporal: its concurrency is counted in an engine's database"
        raise DefinitionError(msg)
    for node in definition.body.every():
        for field in fields(node):
            policy = getattr(node, field.name)
            if isinstance(policy, AttemptPolicy) and (wish := _impossible(policy)) is not None:
                msg = f"{node.name!r} of workflow {definition.name!r} cannot run on Temporal: {wish}"
                raise DefinitionError(msg)


def _impossible(policy: AttemptPolicy) -> str | None:
    if policy.transactional:
        return "transactional=True needs the engine's own database"
    if policy.rate is not None:
        return "its rate is counted in an engine's database"
    if policy.parks or policy.on_interrupted == "park":
        return "there is no operator's inbox for what is parked"
    return None
