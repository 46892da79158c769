"""The same test sees the same events, every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure import Context, Engine, Event, State, Workflow
from perdure.testing import freeze, restart


def fails_before(attempt: int) -> Any:
    def handler(ctx: Context[Any]) -> int:
        if ctx.attempt < attempt:
            raise OSError
        return attempt

    return handler


async def awaited(ctx: Context[Any]) -> str:
    return "awaited"


def workflows() -> tuple[Workflow[Any, Any], ...]:
    child = (
        Workflow("child")
        .step("first", fails_before(2))
        .parallel(lambda w: w.step("left", fails_before(2)).step("right", lambda: 1))
    )
    parent = (
        Workflow("parent")
        .parallel(
            lambda w: w.step("a", fails_before(3)).step("b", fails_before(2)).step("c", awaited).sub_workflow("child")
        )
        .for_each(lambda: [1, 2, 3], "item", fails_before(2), concurrency=3)
        .step("end", lambda: "done")
    )
    return parent, child


def play(location: str | None) -> list[tuple[Any, ...]]:
    """Run two parents side by side; return every event with its time, its number and whose it is."""
    seen: list[tuple[Any, ...]] = []

    def note(event: Event) -> None:
        seen.append((event.type, event.execution_id, getattr(event, "step", None), event.at, event.sequence))

    with Engine(location, *workflows(), seed=7, on_event=note) as engine:
        runs = [engine.start("parent"), engine.start("parent")]
        engine.advance(minutes=5)
        assert [run.state for run in runs] == [State.COMPLETED] * 2
    return seen


def test_the_same_test_gives_the_same_events_however_often_it_is_run(
    location: str, new_location: Callable[[], str | None], as_many: Callable[[int, int], int], figures: Any
) -> None:
    tellings = set()
    times = as_many(20, 5) if "://" in location else figures.repeats  # a second each, where the server is slow
    for _ in range(times):
        place = new_location()
        with freeze():
            tellings.add(tuple(play(place)))

    [telling] = tellings
    assert len(telling) > 80


def test_an_engine_with_a_seed_that_is_restarted_draws_other_ids(frozen_engine: Engine) -> None:
    frozen_engine.register(Workflow("w").wait_for("go"))
    first = frozen_engine.start("w")

    second = restart(frozen_engine).start("w")

    assert second.id != first.id
