"""Everything the suite measures, with its targets. Their sense: see docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CASES", "Case", "Figure", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must reach, and what it should.

    Attributes:
        must: Beyond this it is a defect.
        want: Where it is good.
        ratio_to: The figure is compared as a multiple of this contender's; None for as it stands.
    """

    must: float
    want: float
    ratio_to: str | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a case.

    Attributes:
        unit: As it is printed.
        higher: Whether more is better.
        targets: What it is held against.
    """

    unit: str
    higher: bool = False
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured, each time in a process of its own.

    Attributes:
        name: Its name in tables and for ``--only``.
        workload: The file in ``workloads/``, and the function of a peer.
        options: Arguments of the function.
        figures: Those of its results that are of interest, by name.
        quick: Arguments that differ with ``--quick``; None leaves the case out.
        contenders: Who takes part.
        long: Whether it is left out unless it is asked for.
    """

    name: str
    workload: str
    options: Mapping[str, Any]
    figures: Mapping[str, Figure]
    quick: Mapping[str, Any] | None = field(default_factory=lambda: {"seconds": 0.2})
    contenders: tuple[str, ...] = ("perdure",)
    long: bool = False


_PEERS = ("dbos", "unhinged", "langgraph", "bunqueue", "temporal")
_SIDE_BY_SIDE = ("perdure", "raw", *_PEERS)


def _throughput(name: str, durability: str, in_flight: int, callers: int, *targets: Target) -> Case:
    return Case(
        name,
        "throughput",
        {"durability": durability, "in_flight": in_flight, "callers": callers, "seconds": 2.0},
        {
            "runs": Figure("runs/s", higher=True, targets=targets),
            "cpu": Figure("µs CPU/step", targets=(Target(45, 25),) if in_flight == 48 else ()),
        },
        quick={"seconds": 0.2} if in_flight == 48 or targets else None,
        contenders=_SIDE_BY_SIDE if in_flight == 48 else ("perdure", "raw"),
    )


def _latency(steps: int, durability: str, *targets: Target) -> Case:
    return Case(
        f"latency-{steps}-{durability}",
        "latency",
        {"durability": durability, "steps": steps, "seconds": 1.5},
        {"p50": Figure("ms", targets=targets), "p99": Figure("ms"), "runs": Figure("runs/s", higher=True)},
        contenders=_SIDE_BY_SIDE,
    )


def _signal(burners: int, durability: str, p50: Target, p99: tuple[Target, ...] = ()) -> Case:
    beside = f"-beside-{burners}" if burners else ""
    return Case(
        f"signal{beside}-{durability}",
        "signals",
        {"durability": durability, "burners": burners, "seconds": 1.5},
        {"p50": Figure("ms", targets=(p50,)), "p99": Figure("ms", targets=p99)},
        contenders=("perdure", "dbos", "unhinged", "bunqueue")
        if not burners and durability == "normal"
        else ("perdure",),
    )


def _nodes(kind: str, must: float, want: float) -> Case:
    return Case(
        kind,
        "nodes",
        {"durability": "normal", "kind": kind, "seconds": 1.0},
        {"p50": Figure("ms", targets=(Target(must, want),)), "p99": Figure("ms")},
        contenders=("perdure", "bunqueue") if kind == "parallel" else ("perdure", "bunqueue", "dbos"),
    )


def _flat(kind: str) -> Case:
    return Case(
        f"flat-{kind}",
        "flat",
        {"kind": kind, "sizes": [10, 100, 1000, 10000]},
        {
            **{f"{size}": Figure("µs/step") for size in (10, 100, 1000, 10000)},
            "growth": Figure("x", targets=(Target(1.3, 1.05),)),
        },
        quick={"sizes": [10, 100, 1000]},
    )


def _age(stored: int) -> Case:
    calls = ("run", "signal", "get", "list", "list-state", "archive")
    return Case(
        f"stored-{stored}",
        "age",
        {"stored": stored, "seconds": 2.5},
        {name: Figure("µs") for name in calls},
        quick={"seconds": 0.4} if stored <= 1000 else None,
    )


CASES: tuple[Case, ...] = (
    Case(
        "limits",
        "limits",
        {"seconds": 0.3},
        {name: Figure("µs") for name in ("commit-normal", "commit-full", "hop", "loop")},
        quick={"seconds": 0.1},
        contenders=("raw",),
    ),
    _throughput(
        "throughput-50-full", "full", 48, 16, Target(8000, 15000), Target(0.25, 0.45, "raw"), Target(30, 60, "bunqueue")
    ),
    _throughput("throughput-50-normal", "normal", 48, 16, Target(30, 60, "dbos")),
    _throughput("throughput-5-full", "full", 5, 5),
    _throughput("throughput-5-normal", "normal", 5, 5),
    _throughput("throughput-500-full", "full", 496, 16),
    _throughput("throughput-500-normal", "normal", 496, 16),
    _throughput("clients-8-full", "full", 8, 8, Target(1500, 2500)),
    _throughput("clients-50-full", "full", 50, 50),
    Case(
        "one-thread-50",
        "one_thread",
        {"durability": "normal", "in_flight": 48, "seconds": 1.5},
        {"runs": Figure("runs/s", higher=True), "cpu": Figure("µs CPU/step")},
    ),
    Case(
        "one-at-a-time",
        "latency",
        {"durability": "normal", "steps": 3, "seconds": 1.5},
        {
            "runs": Figure("runs/s", higher=True, targets=(Target(2300, 4000), Target(1.3, 2.5, "unhinged"))),
            "p50": Figure("ms"),
        },
        contenders=_SIDE_BY_SIDE,
    ),
    _latency(1, "normal", Target(0.3, 0.15)),
    _latency(1, "full", Target(0.7, 0.45)),
    _latency(10, "normal"),
    _latency(10, "full"),
    _signal(0, "normal", Target(0.4, 0.2), (Target(2, 1),)),
    _signal(0, "full", Target(2, 1)),
    _signal(1, "normal", Target(5, 2)),
    _signal(4, "normal", Target(50, 20)),
    _nodes("for_each", 12, 5),
    _nodes("parallel", 6, 3),
    _nodes("sub_workflow", 1, 0.5),
    Case(
        "waiting-10000",
        "waiting",
        {"durability": "normal", "count": 10_000},
        {
            "create": Figure("s", targets=(Target(3, 1),)),
            "restart": Figure("s", targets=(Target(0.3, 0.05),)),
            "resume": Figure("s", targets=(Target(4, 2),)),
        },
        quick=None,
    ),
    Case(
        "waiting-1000",
        "waiting",
        {"durability": "normal", "count": 1000},
        {name: Figure("s") for name in ("create", "restart", "resume")},
        quick={},
        contenders=("perdure", "unhinged", "bunqueue"),
    ),
    Case(
        "parked-100000",
        "parked",
        {"count": 100_000, "seconds": 20.0},
        {
            "memory": Figure("MB", targets=(Target(20, 5),)),
            "threads": Figure("threads", targets=(Target(0, 0),)),
            "cpu": Figure("% of a core", targets=(Target(0.5, 0.1),)),
            "writes": Figure("calls", targets=(Target(0, 0),)),
        },
        quick=None,
        long=True,
    ),
    _flat("steps"),
    _flat("turns"),
    _age(1),
    _age(1000),
    _age(100_000),
    Case(
        "operations-alone",
        "operations",
        {"in_flight": 1, "seconds": 0.5},
        {
            "commits": Figure("/step", targets=(Target(1, 1),)),
            "statements": Figure("/step", targets=(Target(3, 2),)),
            "reads": Figure("/step", targets=(Target(0, 0),)),
            "calls": Figure("/step"),
        },
    ),
    Case(
        "operations-50",
        "operations",
        {"in_flight": 48, "seconds": 1.0},
        {
            "commits": Figure("/step", targets=(Target(1, 0.5),)),
            "statements": Figure("/step", targets=(Target(3, 1),)),
            "reads": Figure("/step", targets=(Target(0, 0),)),
        },
    ),
    Case(
        "startup",
        "startup",
        {"rounds": 7},
        {
            "import": Figure("ms", targets=(Target(120, 60),)),
            "open": Figure("ms", targets=(Target(30, 10),)),
            "close": Figure("ms", targets=(Target(50, 10),)),
        },
        quick={"rounds": 3},
        contenders=("perdure", "dbos"),
    ),
    Case("disk", "disk", {"seconds": 1.0}, {"bytes": Figure("bytes/run", targets=(Target(1200, 800),))}),
)
