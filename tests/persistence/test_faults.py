"""When the disk, another program or a person gets in the way: a typed error that says what was written, and no harm."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from perdure.dsl.errors import DuplicateRow, StoreCorrupt, StoreError, StoreUnavailable
from perdure.persistence.places import changes_at
from perdure.persistence.store import Store


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """A folder that a user without rights can reach: pytest keeps its own to itself, and every session says so anew."""
    with tempfile.TemporaryDirectory(prefix="perdure-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def locker(path: Path) -> Iterator[Callable[[], sqlite3.Connection]]:
    """Another program's connection that holds the write lock, once asked."""
    connections: list[sqlite3.Connection] = []

    def lock() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None)
        connections.append(connection)
        connection.execute("BEGIN IMMEDIATE")
        return connection

    yield lock
    for connection in connections:
        connection.close()


def test_a_lock_that_another_program_holds_is_waited_for_and_then_named(
    open_store: Any, rows: Any, locker: Any
) -> None:
    store = open_store()
    run = rows.run(store)
    connection = locker()
    with pytest.raises(StoreUnavailable, match=r"locked by another program .*nothing was written"):
        store.commit(rows.batch(run))
    assert store.load(run.id) is None
    connection.execute("ROLLBACK")
    store.commit(rows.batch(run))
    assert store.load(run.id) is not None


def test_the_side_lock_of_another_process_is_waited_for_and_then_named(
    open_store: Any, rows: Any, path: Path, child: Any
) -> None:
    store = open_store()
    holder = child(
        "from perdure.persistence.locks import FileLock\nlock = FileLock(sys.argv[1])\nassert lock.try_acquire()\n"
        "print('held', flush=True)\ninput()",
        f"{path}-lock",
    )
    assert holder.line() == "held"
    with pytest.raises(StoreUnavailable, match=r"others have held the lock .* nothing was written"):
        store.commit(rows.batch(rows.run(store)))
    holder.kill()
    store.commit(rows.batch(rows.run(store)))
    assert store.count() == 1


def test_reading_goes_on_while_another_program_writes(open_store: Any, rows: Any, locker: Any) -> None:
    store = open_store()
    run = rows.run(store)
    store.commit(rows.batch(run))
    locker()
    assert store.snapshot(run.execution_id) == (run, [], [])
    assert store.load(run.id) == (run, [], [])


@pytest.mark.parametrize("replace", [False, True], ids=["deleted", "replaced"])
def test_a_file_that_is_gone_is_noticed_at_the_next_commit_and_never_made_anew(
    open_store: Any, rows: Any, path: Path, *, replace: bool
) -> None:
    store = open_store()
    store.commit(rows.batch(rows.run(store)))
    path.unlink()
    if replace:
        sqlite3.connect(path).close()
        path.touch()
    for call in (lambda: store.commit(rows.batch(rows.run(store))), store.count):
        with pytest.raises(StoreError, match="deleted or replaced while it was open; nothing was written"):
            call()
    assert path.exists() == replace
    store.close()
    assert path.exists() == replace
    assert not replace or path.stat().st_size == 0


def test_changes_of_what_is_no_database_are_refused_by_name(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        changes_at(str(path))
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreCorrupt, match=r"runs\.db"):
        changes_at(str(path))


def test_a_full_disk_is_named_and_nothing_was_written(open_store: Any, rows: Any) -> None:
    store = open_store()
    run = rows.run(store)
    store.commit(rows.batch(run))
    pages = store._database.writer.execute("PRAGMA page_count").fetchone()[0]
    store._database.writer.execute(f"PRAGMA max_page_count = {pages}")
    big = rows.run(store, input='"' + "x" * 100_000 + '"')
    with pytest.raises(StoreUnavailable, match=r"full disk .*SQLITE_FULL.*nothing was written"):
        store.commit(rows.batch(replace(run, state="waiting"), big))
    assert store.load(run.id).execution == run
    assert store.load(big.id) is None
    store._database.writer.execute("PRAGMA max_page_count = 1073741823")
    store.commit(rows.batch(big))
    assert store.load(big.id) is not None


class BrokenCommit:
    """A connection whose COMMIT meets an I/O error, before or after the disk has it; all else is the real one's."""

    def __init__(self, connection: sqlite3.Connection, *, written: bool) -> None:
        self._connection = connection
        self._written = written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *parameters: Any) -> Any:
        if sql != "COMMIT":
            return self._connection.execute(sql, *parameters)
        if self._written:
            self._connection.execute("COMMIT")
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error


@pytest.mark.parametrize("written", [False, True])
def test_after_an_io_error_at_commit_the_outcome_is_unknown_until_it_is_read(
    open_store: Any, rows: Any, *, written: bool
) -> None:
    store = open_store()
    run = rows.run(store)
    store._database._writer = BrokenCommit(store._database.writer, written=written)
    with pytest.raises(StoreUnavailable, match=r"I/O error .*whether the last commit was written is unknown"):
        store.commit(rows.batch(run))
    assert (store.load(run.id) is not None) == written
    store.commit(rows.batch(rows.run(store)))
    assert store.count() == 1 + written


def test_a_connection_that_is_opened_anew_never_makes_a_new_file(open_store: Any, rows: Any, path: Path) -> None:
    store = open_store()
    store._database._writer = BrokenCommit(store._database.writer, written=False)
    with pytest.raises(StoreUnavailable):
        store.commit(rows.batch(rows.run(store)))
    path.unlink()
    calls: list[Callable[[], object]] = [lambda: store.commit(rows.batch(rows.run(store))), lambda: store.find("x")]
    for call in calls:
        with pytest.raises(StoreError, match="deleted or replaced"):
            call()
    assert not path.exists()


def test_after_a_refused_batch_the_connection_is_fit_for_the_next(open_store: Any, rows: Any) -> None:
    store = open_store()
    run = rows.run(store)
    for _ in range(3):
        with pytest.raises(DuplicateRow):
            store.commit(rows.batch(run, rows.run(store, execution_id=run.execution_id)))
    store.commit(rows.batch(run))
    assert store.count() == 1


class TestOpening:
    def test_a_file_that_is_no_database_is_refused_untouched(self, path: Path) -> None:
        path.write_bytes(b"Dear diary, " * 1000)
        with pytest.raises(StoreCorrupt, match="not a sound database"):
            Store(str(path)).open()
        assert path.read_bytes() == b"Dear diary, " * 1000
        assert list(path.parent.iterdir()) == [path]

    def test_a_damaged_database_is_refused(self, path: Path) -> None:
        path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 8000)
        with pytest.raises(StoreCorrupt):
            Store(str(path)).open()

    def test_a_damaged_page_is_found_when_the_file_is_verified(self, open_store: Any, rows: Any, path: Path) -> None:
        store = open_store()
        runs = [rows.run(store) for _ in range(200)]
        store.commit(rows.batch(*runs, facts={run.id: [rows.fact()] for run in runs}))
        store.verify()
        store.close()
        damaged = bytearray(path.read_bytes())
        damaged[-4096 * 3 : -4096] = b"\xa5" * 8192
        path.write_bytes(damaged)
        store = open_store()
        with pytest.raises(StoreCorrupt, match=r"damaged|sound"):
            store.verify()

    def test_an_empty_file_becomes_a_database(self, open_store: Any, path: Path) -> None:
        path.touch()
        assert open_store().count() == 0

    def test_an_empty_file_beside_a_wal_is_a_database_that_was_cut_off(self, path: Path) -> None:
        path.touch()
        path.with_name(f"{path.name}-wal").write_bytes(b"x")
        with pytest.raises(StoreCorrupt, match="cut off"):
            Store(str(path)).open()

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable, match=r"there is no folder .*nowhere"):
            Store(str(tmp_path / "nowhere" / "runs.db")).open()

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable, match="is a folder"):
            Store(str(tmp_path)).open()

    @pytest.mark.parametrize("what", ["file", "folder"])
    def test_what_is_read_only_is_named_and_untouched(self, foreign_folder: Path, child: Any, what: str) -> None:
        path = foreign_folder / "runs.db"
        store = Store(str(path))
        store.open()
        store.close()
        path.with_name(f"{path.name}-lock").unlink()
        before = path.read_bytes()
        path.chmod(0o444 if what == "file" else 0o666)
        foreign_folder.chmod(0o777 if what == "file" else 0o555)
        code = """
if os.getuid() == 0:
    os.setuid(65534)
try:
    Store(sys.argv[1]).open()
except Exception as error:
    print(type(error).__name__, error)
"""
        line = child(code, path).line()
        foreign_folder.chmod(0o755)
        assert line.startswith("StoreUnavailable")
        assert "read-only" in line
        assert list(foreign_folder.iterdir()) == [path]
        assert path.read_bytes() == before

    def test_a_file_that_is_locked_for_long_is_named(self, open_store: Any, path: Path, locker: Any) -> None:
        open_store().close()
        locker()
        with pytest.raises(StoreUnavailable, match="locked"):
            Store(str(path), busy_timeout=0.05).open()

    def test_a_private_database_leaves_nothing_behind(self, rows: Any) -> None:
        store = Store(None)
        store.open()
        store.commit(rows.batch(rows.run(store)))
        folder = Path(store.path).parent
        assert folder.exists()
        store.close()
        assert not folder.exists()

    def test_a_forked_child_that_exits_leaves_its_parents_private_database(self, child: Any) -> None:
        code = """
store = Store(None)
store.open()
process = os.fork()
if process == 0:
    sys.exit()
os.waitpid(process, 0)
print(os.path.exists(store.path), flush=True)
store.close()
"""
        assert child(code).line() == "True"

    def test_a_link_and_the_file_it_leads_to_are_one_database(self, open_store: Any, rows: Any, path: Path) -> None:
        store = open_store()
        link = path.with_name("link.db")
        link.symlink_to(path)
        other = Store(str(link))
        other.open()
        other.commit(rows.batch(rows.run(other)))
        other.close()
        assert store.count() == 1
        assert [file.name for file in path.parent.glob("*-lock")] == [f"{path.name}-lock"]

    def test_the_tables_of_others_in_the_file_are_left_alone(self, open_store: Any, path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE mine (x)")
        connection.execute("INSERT INTO mine VALUES (1)")
        connection.commit()
        open_store().close()
        assert connection.execute("SELECT x FROM mine").fetchall() == [(1,)]
        connection.close()


def test_a_parked_store_closed_in_the_forked_child_does_not_harm_the_parent(
    open_store: Any, rows: Any, path: Path
) -> None:
    store = open_store()
    run = rows.run(store)
    store.commit(rows.batch(run))
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        outcome = b"nothing was raised"
        try:
            store.commit(rows.batch(run))
        except StoreError as error:
            outcome = str(error).encode()
        finally:
            store.close()
            os.write(write, outcome)
            os._exit(0)
    os.waitpid(process, 0)
    assert b"belongs to the parent process" in os.read(read, 1000)
    os.close(read)
    os.close(write)
    other = open_store()
    assert other.take_over() == []
    store.commit(rows.batch(replace(run, sequence=2)))
