"""A commit that fails costs time, and nothing else: what its turn had in hand is taken up again from the store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from perdure import Context, Engine, Retry, State, Workflow
from perdure.actors import core
from perdure.actors.core import Letter
from perdure.actors.reply import Reply
from perdure.actors.starting import Start
from perdure.dsl.errors import OwnershipLost, StoreUnavailable
from perdure.dsl.facts import FactStatus
from perdure.persistence.records import Batch
from perdure.persistence.store import Store
from tests.patience import PATIENCE


@contextmanager
def one_commit_fails(which: Callable[[Batch], bool], *, written: bool) -> Iterator[list[Batch]]:
    """Have the first commit that is wanted fail, either with nothing written or with everything."""
    commit = Store.commit
    failed: list[Batch] = []

    def failing(self: Store, batch: Batch) -> None:
        if failed or not which(batch):
            commit(self, batch)
            return
        failed.append(batch)
        if written:
            commit(self, batch)
        raise StoreUnavailable("the disk has failed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "commit", failing)
        yield failed


def go_on(engine: Engine) -> None:
    """Let time pass; whoever asks for that in a cycle whose commit fails is told so."""
    for _ in range(3):
        with suppress(StoreUnavailable):
            engine.advance(minutes=1)


def begin(engine: Engine, workflow: str) -> None:
    with suppress(StoreUnavailable):
        engine.start(workflow, id="it")
    go_on(engine)


def has_fact(name: str, status: FactStatus, attempts: int = 0) -> Callable[[Batch], bool]:
    def look(batch: Batch) -> bool:
        facts = [fact for (_, key), fact in batch.facts.items() if key == name and fact.status is status]
        return any(fact.attempts >= attempts for fact in facts)

    return look


def ends(workflow: str, state: State) -> Callable[[Batch], bool]:
    return lambda batch: any((row.workflow, row.state) == (workflow, state) for row in batch.executions.values())


def begins(id: str) -> Callable[[Batch], bool]:
    return lambda batch: any(row.execution_id == id for row in batch.executions.values())


@pytest.mark.parametrize("written", [False, True])
def test_a_retry_comes_though_the_commit_that_was_to_begin_it_failed(lab: Engine, written: bool) -> None:  # noqa: FBT001
    def fails_once(ctx: Context[Any]) -> str:
        if ctx.attempt == 1:
            raise RuntimeError
        return "done"

    lab.register(Workflow("w").step("try", fails_once, retry=Retry(attempts=2, initial=10, jitter=0)))
    with one_commit_fails(has_fact("try", FactStatus.RUNNING, attempts=2), written=written) as failed:
        begin(lab, "w")
    assert failed
    assert lab.run("it").result(timeout=PATIENCE) == "done"


@pytest.mark.parametrize("kind", ["gate", "sleep", "deadline"])
def test_a_deadline_is_kept_though_the_commit_of_its_outcome_failed(lab: Engine, kind: str) -> None:
    flow = Workflow("w", timeout=10 if kind == "deadline" else None)
    if kind == "sleep":
        flow.sleep("wait", 10)
    else:
        flow.wait_for("go", timeout=10 if kind == "gate" else None)
    lab.register(flow)
    run = lab.start("w")
    lab.settle()
    with one_commit_fails(lambda batch: True, written=False) as failed:
        go_on(lab)
    assert failed
    assert run.state is (State.COMPLETED if kind == "sleep" else State.FAILED)


def test_a_child_begins_though_the_commit_that_wrote_it_was_said_to_have_failed(lab: Engine) -> None:
    child = Workflow("child").step("only", lambda: 1)
    lab.register(child, Workflow("parent").sub_workflow(child))
    with one_commit_fails(has_fact("sub:child", FactStatus.RUNNING), written=True) as failed:
        begin(lab, "parent")
    assert failed
    assert lab.run("it").state is State.COMPLETED


def test_an_end_is_told_of_though_its_commit_was_said_to_have_failed(lab: Engine) -> None:
    child = Workflow("child").step("only", lambda: 1)
    lab.register(child, Workflow("parent").sub_workflow(child).step("last", lambda: "done"))
    with one_commit_fails(ends("child", State.COMPLETED), written=True) as failed:
        begin(lab, "parent")
    assert failed
    assert lab.run("it").state is State.COMPLETED


def test_whoever_waits_hears_of_an_end_whose_commit_was_said_to_have_failed(lab: Engine) -> None:
    lab.register(Workflow("w").wait_for("go"))
    run = lab.start("w")
    ends_told: list[Any] = []
    lab.when_ended(run.id, ends_told.append)
    with one_commit_fails(ends("w", State.COMPLETED), written=True) as failed, pytest.raises(StoreUnavailable):
        run.signal("go")
    go_on(lab)
    assert failed
    assert [row.state for row in ends_told] == [State.COMPLETED]


def test_a_child_that_was_undone_says_so_though_its_commit_was_said_to_have_failed(lab: Engine) -> None:
    child = Workflow("child").step("only", lambda: 1, compensate=lambda: None)
    lab.register(child, Workflow("parent").sub_workflow(child).step("last", lambda: 1 / 0, retry=1))
    with one_commit_fails(ends("child", State.CANCELLED), written=True) as failed:
        begin(lab, "parent")
    assert failed
    execution = lab.get_execution("it")
    assert execution is not None
    assert (execution.state, execution.rollback) == (State.FAILED, "complete")


@pytest.mark.parametrize("written", [False, True])
def test_a_fork_begins_if_it_is_on_disk_though_its_commit_was_said_to_have_failed(
    lab: Engine,
    written: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "_TURNS_PER_COMMIT", 1)  # the supervisor, who reads again what it had a turn in, has none
    lab.register(Workflow("w").step("a", lambda: 1).step("b", lambda: 2))
    begin(lab, "w")
    with one_commit_fails(begins("fork"), written=written) as failed, pytest.raises(StoreUnavailable):
        lab.fork("it", at="b", new_id="fork")
    go_on(lab)
    assert failed
    fork = lab.get_execution("fork")
    assert (fork is not None and fork.state) == (written and State.COMPLETED)


def test_a_question_asked_anew_is_not_answered_by_what_was_asked_before(lab: Engine) -> None:
    asked, answer = threading.Event(), threading.Event()
    answers = iter(["first", "second"])

    def choose() -> str:
        label = next(answers)
        if label == "first":
            asked.set()
            answer.wait(PATIENCE)
        return label

    flow = Workflow("w").branch(choose).path("first", lambda w: w.step("a", lambda: 1))
    lab.on_any(lambda event: None)  # without a listener nobody would hear of late answers
    lab.register(flow.path("second", lambda w: w.step("b", lambda: 2)))
    run = lab.start("w")
    assert asked.wait(PATIENCE)
    with one_commit_fails(lambda batch: bool(batch.signals), written=False), pytest.raises(StoreUnavailable):
        run.signal("any", strict=False)
    answer.set()
    go_on(lab)
    assert run.result(timeout=PATIENCE) == 2


def test_a_second_start_of_a_run_is_not_acknowledged_before_the_run_is_on_disk(lab: Engine) -> None:
    lab.register(Workflow("w").wait_for("go"))
    machine = lab._machine
    replies = [Reply(), Reply()]

    def start_twice() -> None:
        for reply in replies:
            machine.core.post(machine.supervisor, Letter(Start("w", "null", "twin", execution_id="twin"), reply))

    def lost(self: Store, batch: Batch) -> None:
        raise OwnershipLost("taken for dead")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "commit", lost)
        machine.exclusively(start_twice)
        for reply in replies:
            with pytest.raises(OwnershipLost):
                reply.get(timeout=PATIENCE)
