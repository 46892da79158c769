"""Metrics by the API, and nothing of it where the extra is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from perdure import Context, Engine, Retry, Workflow
from perdure.otel import names
from tests.patience import PATIENCE

from .conftest import Backend

Opened = Callable[..., Engine]


def ship(ctx: Context[Any]) -> None:
    if ctx.attempt == 1:
        raise ConnectionError("no lorry")
    raise LookupError("no lorry at all")


def test_every_metric_is_told_with_what_it_is_about(opened: Opened, backend: Backend) -> None:
    order = (
        Workflow("order")
        .step("reserve", lambda: 1, compensate=lambda: None)
        .wait_for("approval")
        .step("ship", ship, retry=Retry(2, initial=0.001, jitter=0))
    )
    parked = Workflow("parked").step("pay", lambda: 1 / 0, retry=1, on_exhausted="park")
    engine = opened(order, parked)
    run = engine.start(order)
    run.signal("approval")
    run.wait(timeout=PATIENCE)
    engine.start(parked).wait(until="waiting", timeout=PATIENCE)
    engine.settle()

    figures = backend.figures()

    assert figures.keys() == names.METRICS.keys()
    about = {names.WORKFLOW: "order"}
    assert (about, 1) in figures["perdure.run.started"]
    assert figures["perdure.run.duration"] == [({**about, names.STATE: "failed", names.ERROR: "LookupError"}, 1)]
    assert figures["perdure.step.retries"] == [({**about, names.STEP: "ship"}, 1)]
    assert figures["perdure.compensations"] == [({**about, names.STEP: "reserve"}, 1)]
    assert figures["perdure.incidents"] == [({names.WORKFLOW: "parked", names.STEP: "pay"}, 1)]
    assert figures["perdure.signals"] == [({**about, names.SIGNAL: "approval"}, 1)]
    assert sorted(figures["perdure.runs"], key=str) == [({names.STATE: "failed"}, 1), ({names.STATE: "waiting"}, 1)]
    assert figures["perdure.engine.handlers"] == [({}, 0)]
    attempts = {
        (kind[names.STEP], kind.get(names.ERROR), kind[names.COMPENSATION]): count
        for kind, count in figures["perdure.attempt.duration"]
    }
    assert attempts == {
        ("reserve", None, False): 1,
        ("reserve", None, True): 1,
        ("ship", "ConnectionError", False): 1,
        ("ship", "LookupError", False): 1,
        ("pay", "ZeroDivisionError", False): 1,
    }
    assert {name for kinds in figures.values() for kind, _ in kinds for name in kind} <= names.ATTRIBUTES.keys()


def test_of_a_closed_engine_nothing_is_observed(opened: Opened, backend: Backend) -> None:
    opened(Workflow("order").step("ship", lambda: None)).close()

    assert "perdure.engine.handlers" not in backend.figures()


WITHOUT = "import sys; sys.modules['opentelemetry'] = None; import perdure.otel"


def test_without_the_extra_one_line_says_what_to_install() -> None:
    ran = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)

    assert ran.stderr.splitlines()[-1].endswith('telemetry needs an extra: pip install "perdure[otel]"')


UNLOADED = """
import sys, perdure
with perdure.Engine(None, perdure.Workflow("w").step("s", lambda: 1)) as engine:
    engine.start("w").result()
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_nothing_of_it_is_loaded_unless_it_is_asked_for() -> None:
    ran = subprocess.run([sys.executable, "-c", UNLOADED], capture_output=True, text=True, check=True)

    assert ran.stdout == "[]\n"
