"""However a process ends, its threads do not keep it alive, it makes no noise, and the next start goes on."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from perdure import Context, Workflow
from perdure.actors.interrupts import next_of
from perdure.testing import watch_points
from tests.patience import PATIENCE

WORK = """
import atexit
began, ending = threading.Event(), threading.Event()
def work(ctx):
    began.set()
    ending.wait()
    threading.Event().wait(0.1)  # the end goes on meanwhile
    return f"attempt {ctx.attempt}"
async def wait(ctx):
    import asyncio
    await asyncio.sleep(0.1)
engine = Engine(path, Workflow("gate").wait_for("go"), Workflow("work").step("wait", wait).step("work", work))
atexit.register(ending.set)
engine.on_any(lambda event: None)
engine.start("gate", id="gate").wait(until="waiting")
engine.start("work", id="work")
began.wait()
"""


def work(ctx: Context[Any]) -> str:
    return f"attempt {ctx.attempt}"


def workflows() -> list[Workflow[Any, Any]]:
    return [Workflow("gate").wait_for("go"), Workflow("work").step("wait", work).step("work", work)]


def assert_that_it_goes_on(engine: Any, *, attempt: int) -> None:
    engine.signal("gate", "go", "on")
    assert engine.run("gate").result(PATIENCE) == "on"
    assert engine.run("work").result(PATIENCE) == f"attempt {attempt}"


def test_a_program_that_ends_without_closing_lets_handlers_finish_within_the_grace_time(
    process: Any, open_engine: Any
) -> None:
    child = process(f"{WORK}say('ready')")
    assert child.line() == "ready"
    assert child.end() == (0, "", "")
    assert_that_it_goes_on(open_engine(*workflows()), attempt=1)


def test_a_program_that_exits_on_sigterm_closes_in_order(process: Any, open_engine: Any) -> None:
    child = process("signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n" + WORK + "say('ready')\nsignal.pause()")
    assert child.line() == "ready"
    child.send(signal.SIGTERM)
    assert child.end() == (3, "", "")
    assert_that_it_goes_on(open_engine(*workflows()), attempt=1)


def test_a_program_that_sigterm_kills_is_gone_on_with(process: Any, open_engine: Any) -> None:
    child = process(WORK + "say('ready')\nsignal.pause()")
    assert child.line() == "ready"
    child.send(signal.SIGTERM)
    assert child.end() == (-signal.SIGTERM, "", "")
    assert_that_it_goes_on(open_engine(*workflows()), attempt=2)


@pytest.mark.parametrize("wait", ["engine.run('gate').result()", "list(engine.run('gate').events())"])
def test_ctrl_c_gets_through_to_whoever_waits_and_makes_no_noise_of_ours(
    process: Any, open_engine: Any, wait: str
) -> None:
    child = process(f"{WORK}\ntry:\n    say('ready')\n    {wait}\nexcept KeyboardInterrupt:\n    say('interrupted')")
    assert child.line() == "ready"
    child.send(signal.SIGINT)
    assert child.end() == (0, "interrupted\n", "")
    assert_that_it_goes_on(open_engine(*workflows()), attempt=1)


def test_a_handler_that_never_returns_does_not_keep_the_process_alive(process: Any, open_engine: Any) -> None:
    child = process("""
import perdure.machine
perdure.machine.GRACE = 0.1
began = threading.Event()
def hang(ctx):
    began.set()
    threading.Event().wait()
engine = Engine(path, Workflow("work").step("wait", hang))
engine.start("work", id="work")
began.wait()
""")
    assert child.end() == (0, "", "")
    engine = open_engine(Workflow("work").step("wait", work))
    assert engine.run("work").result(PATIENCE) == "attempt 2"


@pytest.fixture(params=["SIGINT", "SIGTERM", "SIGALRM"])
def raising(request: pytest.FixtureRequest) -> Iterator[int]:
    """A signal on which the main thread raises `KeyboardInterrupt`."""
    number = getattr(signal, request.param)
    before = signal.signal(number, signal.default_int_handler)
    yield number
    signal.signal(number, before)


def test_an_interrupt_in_the_middle_of_a_commit_is_put_off_until_the_engine_is_done(
    open_engine: Any, raising: int
) -> None:
    engine = open_engine(Workflow("gate").wait_for("go"))
    seen: list[str] = []
    engine.settle(timeout=PATIENCE)
    engine._machine.exclusively(lambda: None)  # now nobody else holds the core: this thread will do the work

    def interrupt(moment: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            seen.append(moment.point)
            signal.raise_signal(raising)

    with watch_points(interrupt), pytest.raises(KeyboardInterrupt):
        engine.start("gate", id="x")
    assert seen
    assert signal.getsignal(raising) is signal.default_int_handler
    assert engine.run("x").wait(PATIENCE, until="waiting").state == "waiting"
    engine.signal("x", "go", "on")
    assert engine.run("x").result(PATIENCE) == "on"
    engine.settle(timeout=PATIENCE)


class Deaf(queue.SimpleQueue[Any]):
    """A queue on which the main thread falls asleep, the first time, just after a signal came: it hears nothing."""

    naps = 0

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - as it is
        self.naps += 1
        if self.naps == 1:
            assert timeout is not None
            raise queue.Empty  # as after a nap
        signal.raise_signal(signal.SIGINT)
        return super().get(block, timeout)


def test_who_waits_on_the_main_thread_looks_up_now_and_then_for_a_signal_that_came_too_early() -> None:
    with pytest.raises(KeyboardInterrupt):
        next_of(Deaf())


def test_who_waits_on_another_thread_sleeps_until_there_is_news() -> None:
    heard: list[float | None] = []

    class Heard(queue.SimpleQueue[Any]):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - as it is
            heard.append(timeout)
            return super().get(block, timeout)

    news = Heard()
    waiting = threading.Thread(target=next_of, args=(news,))
    waiting.start()
    news.put("news")
    waiting.join(PATIENCE)
    assert heard == [None]


OUT_OF_FILES = """
import resource
async def work(ctx):
    return "done"
engine = Engine(path, Workflow("first").step("work", work))
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), most))
failed = threading.Event()
class Listening(logging.Handler):
    def emit(self, record):
        failed.set()
logging.getLogger("perdure").addHandler(Listening())
run = engine.start("first", id="run")  # begins the event loop, which needs files
failed.wait()
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
say(run.result())
engine.close(timeout=600)
say("closed")
"""


def test_a_process_that_has_no_files_left_for_a_moment_goes_on_and_closes_at_once(process: Any) -> None:
    child = process(f"import logging\n{OUT_OF_FILES}")
    assert child.line() == "done"
    assert child.line() == "closed"
    assert child.end()[0] == 0
