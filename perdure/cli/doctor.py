"""``perdure doctor``: looks at everything that can be wrong with a database, and says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import click

from ..actors import clock
from ..persistence.health import Health
from ..persistence.reader import Reader
from .options import as_json, database
from .printing import STYLES, plain, print_json, print_line, when

__all__ = ["doctor"]

_PATIENCE = 60_000_000
"""Microseconds after which a timer that did not fire is a sign of something."""

_MOST_SHOWN = 5
_LARGE_WAL = 256 * 2**20


class _Answer(NamedTuple):
    """What one look has found: ``ok``, ``note``, ``warning`` or ``error``; and what to do about it."""

    level: str
    subject: str
    finding: str
    advice: str = ""


@click.command()
@as_json
@database
@click.pass_context
def doctor(ctx: click.Context, database: str, *, as_json: bool) -> None:
    """Examine a database: its file, its engines, its stuck runs.

    Nothing is changed. The exit code is 1 if something is wrong.
    """
    with Reader(database) as reader:
        health = reader.examine(overdue_before=clock.micros() - _PATIENCE)
    answers = list(_answers(health))
    if as_json:
        told = [{**answer._asdict()} for answer in answers]
        print_json({"health": plain(_data(health)), "findings": told})
    else:
        for answer in answers:
            print_line(
                (f"{answer.level:<8}", STYLES.get(answer.level, "green")), f"{answer.subject:<10}{answer.finding}"
            )
            if answer.advice:
                print_line((f"{'':18}{answer.advice}", "dim"))
    if any(answer.level in ("warning", "error") for answer in answers):
        ctx.exit(1)


def _data(health: Health) -> dict[str, object]:
    data = health._asdict()
    return {
        **data,
        "engines": [one._asdict() for one in health.engines],
        "stuck": [one._asdict() for one in health.stuck],
    }


def _answers(health: Health) -> Iterator[_Answer]:
    yield _of_the_file(health)
    yield _Answer("ok", "schema", f"version {health.schema}")
    yield _of_the_wal(health)
    yield from _of_engines(health)
    yield from _of_locks(health)
    counted = ", ".join(f"{count} {state}" for state, count in health.states.items())
    yield _Answer("ok", "runs", counted or "none")
    yield from _of_stuck_runs(health)


def _of_the_file(health: Health) -> _Answer:
    if health.damage is not None:
        advice = "stop all engines, keep a copy of the file with its -wal file, and restore a backup"
        return _Answer("error", "file", f"damaged: {health.damage}", advice)
    return _Answer("ok", "file", f"sound, {health.size:,} bytes")


def _of_the_wal(health: Health) -> _Answer:
    said = f"{health.wal_size:,} bytes not yet written back"
    if health.wal_size < _LARGE_WAL:
        return _Answer("ok", "log", said)
    advice = "some program keeps a read open, so that it cannot be reused: look for one, and end it"
    return _Answer("warning", "log", said, advice)


def _of_engines(health: Health) -> Iterator[_Answer]:
    for engine in health.engines:
        said = f"{engine.id}: {engine.state}, process {engine.pid} on {engine.host}, since {_since(engine.started_at)}"
        if engine.state == "dead":
            advice = "its runs go on when an engine opens the database that knows their workflows"
            yield _Answer("note", "engine", said, advice)
        else:
            yield _Answer("ok", "engine", said)
    if not any(engine.state == "alive" for engine in health.engines):
        yield _Answer("note", "engine", "none has the database open: nothing happens until one does")


def _since(instant: int) -> str:
    return when(clock.from_micros(instant))


def _of_locks(health: Health) -> Iterator[_Answer]:
    if health.left_locks:
        said = f"{len(health.left_locks)} left by engines that died: {', '.join(health.left_locks[:_MOST_SHOWN])}"
        yield _Answer("note", "locks", said, "they do no harm; the next engine removes those whose runs it takes over")


_ADVICE = {
    "undriven": "no living engine drives them: start the program that registers their workflows",
    "overdue": "their timers are due and nothing happens: see the log of the engine that drives them",
    "quarantined": "they were set aside: read why with perdure show, mend that, then resume them",
}


def _of_stuck_runs(health: Health) -> Iterator[_Answer]:
    for why, advice in _ADVICE.items():
        runs = [run for run in health.stuck if run.why == why]
        if runs:
            names = ", ".join(run.id for run in runs[:_MOST_SHOWN])
            more = f" and {len(runs) - _MOST_SHOWN} more" if len(runs) > _MOST_SHOWN else ""
            yield _Answer("warning", "stuck", f"{len(runs)} {why}: {names}{more}", advice)
