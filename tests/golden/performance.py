"""A performance: every phase of one scenario, one process each when it is to be killed, and what came of it.

A phase that ends by SIGKILL runs as ``python -m tests.golden.performance FOLDER PHASE`` and reads its orders from the
folder; every other phase runs here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from freezegun import freeze_time

from tests.patience import PATIENCE

from .player import Player
from .recording import Recording, labels_of
from .stage import Clock, VirtualStage
from .words import read

__all__ = ["perform"]

ROOT = Path(__file__).parents[2]
ORDERS = "orders.json"


def perform(
    spec: dict[str, Any], folder: Path, clock: Clock, now: datetime, *, place: str | None = None
) -> tuple[dict[str, Any], datetime]:
    """Play every phase and return the outcome, in the form of a recording, and the hour at its end."""
    read(spec)
    place = place or str(folder / "golden.db")
    recording = Recording()
    exits = []
    for number, phase in enumerate(spec["phases"]):
        recording.phase = number
        if phase.get("expect_kill"):
            exits.append(_in_a_process(spec, folder, recording, now, place=place))
            now = datetime.fromisoformat(recording.of("time")[-1]["at"])
        else:
            stage = VirtualStage(recording, clock, now, folder)
            stage.move_to(now)
            Player(spec, recording, stage, place).play()
            now = stage.now
            exits.append(0)
    return _outcome(recording, exits), now


def _in_a_process(spec: dict[str, Any], folder: Path, recording: Recording, now: datetime, *, place: str) -> int:
    labels = recording.of("label")
    orders = {"spec": spec, "phase": recording.phase, "now": now.isoformat(), "labels": labels, "place": place}
    (folder / ORDERS).write_text(json.dumps(orders), encoding="utf-8")
    command = [sys.executable, "-m", "tests.golden.performance", str(folder)]
    ended = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE)
    assert ended.returncode < 0, ended.stderr
    recording.extend(_entries(folder, recording.phase))
    return ended.returncode


def _entries(folder: Path, phase: int) -> Path:
    return folder / f"entries{phase}.jsonl"


def main(folder: Path) -> None:
    """Play the one phase that the orders name, in a process of its own."""
    orders = json.loads((folder / ORDERS).read_text(encoding="utf-8"))
    recording = Recording(_entries(folder, orders["phase"]))
    recording.entries += orders["labels"]
    recording.phase = orders["phase"]
    now = datetime.fromisoformat(orders["now"])
    with freeze_time(now) as clock:
        stage = VirtualStage(recording, clock, now, folder)
        Player(orders["spec"], recording, stage, orders["place"]).play()


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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
