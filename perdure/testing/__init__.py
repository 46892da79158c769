"""What tests of workflows are written with: the engine's own, and nothing is mocked but the outside world.

pytest finds the fixtures ``engine``, ``freezer`` and ``frozen_engine`` by itself; everything here works without pytest,
but for the suite `store_contract`, which is imported by whoever wants to prove a store of their own.
"""

from .crash_points import POINTS, Moment, Stop, kill_at, stop_at, watch_points
from .everywhere import CrashError, CrashReport, crash_everywhere
from .freezing import freeze
from .handlers import run_step
from .leaks import LeakError, close_cleanly
from .recorder import Recorder, assert_events, record
from .restarting import restart
from .simulation import Simulation, simulate
from .stubs import Stub, stub, with_stubs

__all__ = [
    # Time
    "freeze",
    # Handlers
    "run_step",
    "with_stubs",
    "stub",
    "Stub",
    # Events
    "record",
    "Recorder",
    "assert_events",
    # Engines
    "restart",
    "close_cleanly",
    "LeakError",
    # Crashes
    "crash_everywhere",
    "CrashReport",
    "CrashError",
    "POINTS",
    "Moment",
    "watch_points",
    "stop_at",
    "Stop",
    "kill_at",
    # Graphs
    "simulate",
    "Simulation",
]
