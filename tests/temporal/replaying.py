"""Replays histories, as a worker does that takes a run over: the same walk must ask for the same things again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.temporal import TemporalEngine

__all__ = ["replay"]


def replay(engine: TemporalEngine, runs: Iterable[str]) -> None:
    """Replay what has happened in these runs.

    Raises:
        Exception: a run would have gone another way.
    """
    from temporalio.client import WorkflowHistory
    from temporalio.worker import Replayer

    from perdure.temporal.program import PerdureRun
    from perdure.temporal.worker import sandbox

    async def fetch() -> list[WorkflowHistory]:
        return [await engine._client.get_workflow_handle(run).fetch_history() for run in runs]

    async def repeat(histories: list[WorkflowHistory]) -> None:
        replayer = Replayer(workflows=[PerdureRun], workflow_runner=sandbox())
        for history in histories:
            await replayer.replay_workflow(history)

    asyncio.run(repeat(engine._do(fetch())))
