"""A performance: every phase of one scenario, in a fork each when it is to be killed, and what came of it."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from perdure.testing.forks import check_may_fork, run_in_fork
from tests.patience import PATIENCE

from .player import Player
from .recording import Recording, labels_of
from .stage import Clock, VirtualStage
from .words import read

__all__ = ["perform"]


def perform(
    spec: dict[str, Any], folder: Path, clock: Clock, now: datetime, *, place: str | None = None
) -> tuple[dict[str, Any], datetime]:
    """Play every phase and return the outcome, in the form of a recording, and the hour at its end."""
    read(spec)
    place = place or str(folder / "golden.db")
    recording = Recording()
    exits = []

    def play(recording: Recording) -> datetime:
        stage = VirtualStage(recording, clock, now, folder)
        stage.move_to(now)
        Player(spec, recording, stage, place).play()
        return stage.now

    for number, phase in enumerate(spec["phases"]):
        recording.phase = number
        if phase.get("expect_kill"):
            check_may_fork("perform")
            entries = folder / f"entries{number}.jsonl"
            death = run_in_fork(lambda entries=entries: play(recording.written_to(entries)), timeout=PATIENCE)  # type: ignore[misc]
            assert death.killed, death.trouble
            recording.extend(entries)
            now = datetime.fromisoformat(recording.of("time")[-1]["at"])
            exits.append(-signal.SIGKILL)
        else:
            now = play(recording)
            exits.append(0)
    return _outcome(recording, exits), now


# ---- the outcome, in the form in which the reference's outcomes are recorded


def _outcome(recording: Recording, exits: list[int]) -> dict[str, Any]:
    several = len(exits) > 1
    labels = labels_of(recording)
    outcome: dict[str, Any] = {
        "events": {},
        "event_counts_all_runs": Counter(entry["type"] for entry in recording.of("event")),
        "log": [f"[phase {entry['phase']}] " * several + entry["text"] for entry in recording.of("log")],
        "final": {entry["label"]: entry["value"] for entry in recording.of("final")},
        "snapshots": {entry["label"]: entry["value"] for entry in recording.of("snapshot")},
        "api": [_api(entry, several=several) for entry in recording.of("api")],
        "listener_saw": {entry["listener"]: [] for entry in recording.of("listening")},
        "process_exit": exits if several else [],
        "retry_gaps": list(_gaps(recording.of("event"))),
    }
    for entry in recording.of("event"):
        outcome["events"].setdefault(labels[entry["run"]], []).append(_event(entry, several=several))
    for entry in recording.of("seen"):
        step = f" {entry['step']}" if entry["step"] else ""
        outcome["listener_saw"][entry["listener"]].append(f"{labels[entry['run']]} {entry['type']}{step}")
    return outcome


def _gaps(events: list[dict[str, Any]]) -> Iterator[tuple[int, float]]:
    """Yield for each attempt that was followed by another its number, and the milliseconds between the two."""
    failed: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        step = (event["run"], event.get("step", ""))
        if event["type"] == "step:retry":
            failed[step] = event
        elif event["type"] == "step:started" and step in failed:
            before = failed.pop(step)
            yield before["attempt"], round(1000 * (event["at"] - before["at"]), 3)


def _event(entry: dict[str, Any], *, several: bool) -> dict[str, Any]:
    event = {key: value for key, value in entry.items() if key not in ("kind", "run", "workflow", "at", "phase")}
    if "max_attempts" in event:
        event["max"] = event.pop("max_attempts")
    return event | ({"phase": entry["phase"]} if several else {})


def _api(entry: dict[str, Any], *, several: bool) -> dict[str, Any]:
    outcome = {key: entry[key] for key in ("what", "ok", "error") if key in entry}
    return outcome | ({"phase": entry["phase"]} if several else {})
