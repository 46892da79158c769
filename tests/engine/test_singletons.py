"""Of a singleton there is one unfinished run at a time, of each key, however it comes to be started."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest

from perdure import Client, DuplicateExecution, Engine, State, Workflow

sync = Workflow("sync", input=str, singleton=True).wait_for("go").step("sync", lambda ctx: ctx.input)


@pytest.fixture
def office(lab: Engine) -> Engine:
    return lab.register(sync)


def end(engine: Engine, run: Any) -> None:
    run.signal("go")
    engine.settle()


def at_work(engine: Engine) -> int:
    return sum(any(wait.event == "go" for wait in run.waiting_for) for run in engine.list_executions())


def test_a_start_while_it_is_unfinished_gives_the_run_that_is_there(office: Engine) -> None:
    first, again = office.start(sync, "a"), office.start(sync, "b")
    office.settle()

    assert (again.id == first.id, office.count_executions()) == (True, 1)


def test_a_start_after_its_end_is_another_run(office: Engine) -> None:
    first = office.start(sync, "a")
    end(office, first)
    second = office.start(sync, "b")
    end(office, second)

    assert (first.result(), second.result()) == ("a", "b")


def test_there_is_one_of_each_key(office: Engine) -> None:
    ids = [office.start(sync, "a", key=key).id for key in ("inbox", "drafts", "inbox")]

    assert (ids[0] == ids[2], len(set(ids))) == (True, 2)


def test_a_start_may_be_refused_while_it_is_unfinished(office: Engine) -> None:
    first = office.start(sync, "a", if_exists="reject")
    with pytest.raises(DuplicateExecution):
        office.start(sync, "b", if_exists="reject")
    end(office, first)

    assert office.start(sync, "c", if_exists="reject").id != first.id


def test_many_threads_that_start_at_once_are_one_run(office: Engine) -> None:
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(office.start(sync, "a").id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(ids)) == 1


def test_every_engine_and_client_means_the_same_run(office: Engine) -> None:
    with Engine(office.path, sync, durability="normal") as other, Client(office.path) as client:
        ids = {office.start(sync, "a").id, other.start(sync, "b").id, client.start("sync", "c").id}

    assert len(ids) == 1


@pytest.mark.on_a_file
def test_a_start_in_a_transaction_gives_the_run_that_is_there(office: Engine) -> None:
    first = office.start(sync, "a")
    with closing(sqlite3.connect(office.path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        again = office.start(sync, "b", tx=connection)
        connection.execute("COMMIT")
    office.settle()

    assert (again.id == first.id, office.count_executions()) == (True, 1)


def test_a_sub_workflow_waits_until_the_one_that_is_there_has_ended(office: Engine) -> None:
    office.register(Workflow("parent", input=str).sub_workflow("sync", lambda ctx: ctx.input))
    first = office.start(sync, "a")
    parent = office.start("parent", "b")
    office.settle()
    assert at_work(office) == 1
    end(office, first)
    [child] = office.list_executions("sync", "waiting")
    office.signal(child.id, "go")
    office.settle()

    assert parent.state is State.COMPLETED


def test_a_run_that_is_tried_again_waits_until_the_one_that_is_there_has_ended(lab: Engine) -> None:
    broken = [True]

    def work() -> str:
        if broken:
            message = "broken"
            raise RuntimeError(message)
        return "done"

    flow = Workflow("sync", input=str, singleton=True).wait_for("go").step("work", work, retry=1).wait_for("go")
    lab.register(flow)
    failed = lab.start(flow, "a")
    end(lab, failed)
    assert failed.state is State.FAILED
    broken.clear()
    lab.start(flow, "b")
    failed.retry()
    lab.settle()

    assert at_work(lab) == 1
