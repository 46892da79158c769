"""A `move` that is killed, at whatever instant: nothing is driven in two places, and the same command again ends it."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from perdure import Client, Engine, Workflow, look_at
from perdure.cli.commands import perdure
from perdure.dsl.errors import StoreError, StoreMoved
from perdure.persistence import inbox
from perdure.persistence.kind import Kind
from perdure.persistence.places import kinds
from perdure.testing.forks import run_in_fork
from tests.patience import PATIENCE

Watch = Callable[[str], None]

RUNS = ("one", "two")
GATE = Workflow("gate").step("first", lambda: "done").wait_for("go").step("after", lambda ctx: ctx.signals["go"])


def move(source: str, *words: str) -> Result:
    return CliRunner().invoke(perdure, ["move", *words, "-d", source])


def engine_on(place: str) -> Engine:
    return Engine(place, GATE, durability="normal")


def fill(place: str) -> None:
    """Leave runs that wait, and one that no engine has taken yet."""
    with engine_on(place) as engine:
        for run in RUNS:
            engine.start("gate", id=run).wait(timeout=PATIENCE, until="waiting")
    with Client(place) as client:
        client.start("gate", id="sent")


def drives(place: str) -> bool:
    """Tell whether an engine that is opened here would drive the runs; it leaves them as they are."""
    try:
        with look_at(place) as looking:
            if looking.get_execution("one") is None:
                return False
    except StoreError:  # nothing is there, or not even tables
        return False
    try:
        engine_on(place).close()
    except StoreMoved:
        return False
    return True


def bring_to_an_end(place: str) -> None:
    with engine_on(place) as engine:
        for run in (*RUNS, "sent"):
            engine.run(run).wait(timeout=PATIENCE, until="waiting")
            engine.signal(run, "go", run)
            assert engine.run(run).result(timeout=PATIENCE) == run


class Watched:
    """A connection whose every statement is told of before it is executed."""

    def __init__(self, connection: Any, watch: Watch) -> None:
        self._connection = connection
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, *statement: Any) -> Any:
        self._watch("statement")
        return self._connection.execute(*statement)

    def executemany(self, *statement: Any) -> Any:
        self._watch("statement")
        return self._connection.executemany(*statement)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Have told of every statement of a move, and of every commit, before and after."""

    def wrapped(original: Callable[..., Any], *, writes: bool) -> Callable[..., Any]:
        def method(self: Kind, work: Callable[[Any], Any]) -> Any:
            def watched_work(connection: Any) -> Any:
                result = work(Watched(connection, watch))
                watch("before a commit" if writes else "statement")
                return result

            result = original(self, watched_work)
            watch("after a commit" if writes else "statement")
            return result

        return method

    with pytest.MonkeyPatch.context() as patch:
        for kind in kinds():
            for name in ("open", "write", "read"):
                patch.setattr(kind, name, wrapped(getattr(kind, name), writes=name == "write"))
        yield


def killed_at(number: int, *, commits_only: bool) -> Watch:
    """Return what kills this process at the so manieth instant that it is told of."""
    instants = itertools.count(1)

    def watch(what: str) -> None:
        if (not commits_only or "commit" in what) and next(instants) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return watch


def move_in_a_fork(source: str, target: str, watch: Watch) -> bool:
    """Have another process move everything; return whether it was killed."""

    def live() -> None:
        with watched(watch):
            result = move(source, target)
            assert result.exit_code == 0, result.output

    death = run_in_fork(live, timeout=PATIENCE)
    assert not death.trouble, death.trouble
    return death.killed


@pytest.fixture
def every(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """Chooses whether all instants are tried, with `--stores=all`, or one in so many."""
    return lambda few: 1 if request.config.getoption("stores") == "all" else few


def test_a_move_that_is_killed_before_any_statement_leaves_one_place_at_most_and_is_ended_by_another(
    tmp_path: Path, every: Callable[[int], int]
) -> None:
    filled = tmp_path / "filled.db"
    fill(str(filled))
    driven: list[tuple[bool, bool]] = []
    killed = True
    while killed:
        number = 1 + len(driven) * every(9)
        source, target = (str(tmp_path / f"{number}-{name}.db") for name in ("old", "new"))
        Path(source).write_bytes(filled.read_bytes())
        killed = move_in_a_fork(source, target, killed_at(number, commits_only=False))
        driven.append((drives(source), drives(target)))
        assert driven[-1] != (True, True), number
        again = move(source, target)
        assert again.exit_code == 0, (number, again.output)
        assert (drives(source), drives(target)) == (False, True), number
        if not killed:
            bring_to_an_end(target)
    assert len(driven) * every(9) > 60
    assert driven == sorted(driven, key=[(True, False), (False, False), (False, True)].index), "and never back"


@pytest.mark.parametrize("to_server", [True, False], ids=["from a file to a server", "from a server to a file"])
def test_a_move_that_is_killed_around_each_of_its_commits_is_ended_by_another(
    postgres: Any, tmp_path: Path, every: Callable[[int], int], *, to_server: bool
) -> None:
    driven = []
    for number in range(every(3), 10, every(3)):  # before and after each of four commits, and at the end
        file, server = str(tmp_path / f"{number}.db"), postgres.borrow()
        source, target = (file, server) if to_server else (server, file)
        fill(source)
        assert move_in_a_fork(source, target, killed_at(number, commits_only=True)) == (number < 9)
        rest(server)
        driven.append((drives(source), drives(target)))
        assert move(source, target).exit_code == 0
        assert move(source, target).exit_code == 0, "what has ended may be asked for again"
        assert (drives(source), drives(target)) == (False, True)
        if number == 6:
            bring_to_an_end(target)
        postgres.give_back(server)
    whole = [(True, False), *[(False, False)] * 6, (False, True), (False, True)]
    assert driven == whole[every(3) - 1 :: every(3)]


def rest(server: str) -> None:
    """Wait until the server has noticed that a process has died."""
    wait_until(
        server,
        "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid())",
    )


def wait_until(server: str, found: str) -> None:
    """Wait until something is found on the server."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as session:
        while session.execute(found.encode()).fetchone() is None:
            threading.Event().wait(0)


def test_a_move_that_was_killed_can_go_elsewhere_or_be_taken_back_until_everything_has_left(tmp_path: Path) -> None:
    source, first, second = (str(tmp_path / f"{name}.db") for name in ("old", "first", "second"))
    fill(source)
    before_the_third_commit = 5
    assert move_in_a_fork(source, first, killed_at(before_the_third_commit, commits_only=True))
    with pytest.raises(StoreMoved, match=r"is being moved to .*first\.db': the same `perdure move` again"):
        engine_on(source)
    with pytest.raises(StoreMoved, match=r"is being moved here from .*old\.db', and has not arrived"):
        engine_on(first)

    assert move(source, "--stay").exit_code == 0
    assert (drives(source), drives(first)) == (True, False)
    assert "nothing to take back" in move(source, "--stay").output
    assert "is not empty" in move(source, first).output
    assert (drives(source), drives(first)) == (True, False), "what was refused has changed nothing"

    assert move_in_a_fork(source, str(tmp_path / "lost.db"), killed_at(before_the_third_commit, commits_only=True))
    assert move(source, second).exit_code == 0
    assert "was moved to" in move(source, first).output
    assert (drives(source), drives(first), drives(second)) == (False, False, True)
    assert move(source).exit_code != 0
    bring_to_an_end(second)


@pytest.mark.on_a_file
def test_a_move_that_fails_leaves_everything_where_it_was(tmp_path: Path) -> None:
    source, target = str(tmp_path / "old.db"), str(tmp_path / "new.db")
    fill(source)
    engine_on(target).close()
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("DELETE FROM workflow_engines")
        connection.execute(
            "CREATE TRIGGER stop BEFORE INSERT ON workflow_steps BEGIN SELECT RAISE(ABORT, 'no more'); END"
        )
    failed = move(source, target)
    assert failed.exit_code != 0
    assert "no more" in failed.output
    bring_to_an_end(source)


def test_a_message_that_is_accepted_while_a_move_begins_is_moved_as_well(
    postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = postgres.borrow(), str(tmp_path / "new.db")
    fill(source)
    moved: list[Result] = []
    moving = threading.Thread(target=lambda: moved.append(move(source, target)))
    put = inbox._put

    def put_while_a_move_begins(connection: Any, row: Any) -> int:
        moving.start()
        wait_until(source, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'workflow_moves'::regclass")
        return put(connection, row)

    monkeypatch.setattr(inbox, "_put", put_while_a_move_begins)
    with Client(source) as client:
        client.start("gate", id="late")
    moving.join(PATIENCE)
    assert moved[0].exit_code == 0, moved[0].output
    with engine_on(target) as engine:
        assert engine.run("late").wait(timeout=PATIENCE, until="waiting").state == "waiting"
    postgres.give_back(source)
