"""Run many histories, or one again: ``python -m perdure.testing.simulator --help``."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter

from .history import History, PromiseBroken, crash_at_every_turn

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Do as the command line says; return how many histories broke a promise, at most 1."""
    parser = argparse.ArgumentParser(prog="python -m perdure.testing.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this history alone, and describe it")
    parser.add_argument("--crash-at", type=int, metavar="TURN", help="have the process of --seed die in this turn only")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="seed of the first of many (0)")
    parser.add_argument("--histories", type=int, default=1000, help="how many (1000)")
    parser.add_argument(
        "--crash-everywhere", action="store_true", help="run each again and again, with a crash at each of its turns"
    )
    options = parser.parse_args(arguments)
    try:
        if options.seed is not None:
            return _replay(options.seed, options.crash_at)
        return _many(options.first, options.histories, everywhere=options.crash_everywhere)
    except PromiseBroken as broken:
        _say(str(broken))
        return 1


def _replay(seed: int, crash_at: int | None) -> int:
    history = History(seed, crash_at=crash_at)
    try:
        outcome = history.run()
    finally:
        _say(history.describe())
    _say(str(outcome))
    return 0


def _many(first: int, count: int, *, everywhere: bool) -> int:
    began, tally, histories = time.process_time(), Counter[str](), 0
    for seed in itertools.islice(itertools.count(first), count):
        if everywhere:
            histories += crash_at_every_turn(seed)
            continue
        outcome = History(seed).run()
        histories += 1
        tally.update(outcome.states)
        tally["turns"] += outcome.turns
        tally["processes"] += outcome.processes
    took = max(time.process_time() - began, 1e-9)
    what = ", ".join(f"{number} {name}" for name, number in tally.most_common())
    _say(f"{histories} histories from seed {first} kept every promise; {histories / took:.0f} a CPU second; {what}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
