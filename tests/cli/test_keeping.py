"""`archive`, `cleanup`, `export`, `backup` and `doctor` keep a database in order beside its engine."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from perdure import Engine, UsageError, Workflow
from perdure.errors import StoreUnavailable

Perdure = Callable[..., Result]
Ask = Callable[..., Any]


def ids_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT execution_id FROM workflow_executions ORDER BY id")]


# ---- archive and cleanup


def test_cleanup_deletes_what_has_ended_and_nothing_else(run: Perdure, runs: Path) -> None:
    assert run("cleanup", "--older-than", "1d").stdout == "deleted 0 runs\n"
    assert run("cleanup", "--older-than", "0", "--state", "failed").stdout == "deleted 1 run\n"
    assert ids_in(runs) == ["o-1", "o-3"]
    assert run("cleanup", "--older-than", "0").stdout == "deleted 1 run\n"
    assert ids_in(runs) == ["o-3"]


def test_archive_moves_runs_out_of_the_way(ask: Ask, runs: Path) -> None:
    assert ask("archive", "--older-than", "0") == {"archived": 2}
    with Engine(runs) as engine:
        assert engine.get_archived_count() == 2


def test_cleanup_works_beside_a_running_engine_and_disturbs_no_run(run: Perdure, folder: Path) -> None:
    workflow = Workflow("w").wait_for("go").step("last", lambda: "done")
    with Engine(folder / "perdure.db", workflow) as engine:
        waiting = engine.start(workflow, id="waits")
        waiting.wait(until="waiting")
        engine.start(workflow, id="ended").cancel()
        engine.run("ended").wait()

        assert run("cleanup", "--older-than", "0").stdout == "deleted 1 run\n"
        waiting.signal("go")
        assert waiting.result() == "done"


def test_how_old_is_asked_for_so_that_nothing_goes_by_mistake(run: Perdure, runs: Path) -> None:
    assert "Missing option '--older-than'" in run("cleanup").stderr
    for unclear in ("soon", "30", "0.5"):
        assert "no duration with its unit; write for example 30d" in run("cleanup", "--older-than", unclear).stderr
    assert "is too long" in run("cleanup", "--older-than", "9999999999d").stderr


# ---- export


def test_export_writes_a_line_for_each_run_oldest_first(run: Perdure, runs: Path, folder: Path) -> None:
    lines = [json.loads(line) for line in run("export").stdout.splitlines()]

    assert [(line["id"], line["state"]) for line in lines] == [
        ("o-1", "completed"),
        ("o-2", "failed"),
        ("o-3", "waiting"),
    ]
    assert len(lines[0]["attempts"]) == 5
    run("export", "-o", "runs.jsonl")
    assert [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()] == lines


def test_an_export_replaces_no_file(run: Perdure, runs: Path, folder: Path) -> None:
    (folder / "mine").write_text("precious")

    assert "exists already" in run("export", "-o", "mine").stderr
    assert "cannot write 'no/where'" in run("export", "-o", "no/where").stderr
    assert (folder / "mine").read_text() == "precious"


# ---- backup


def test_a_backup_is_a_database_of_its_own(run: Perdure, runs: Path, folder: Path) -> None:
    assert run("backup", "copy.db").stdout.startswith("copied to copy.db: ")
    assert ids_in(folder / "copy.db") == ["o-1", "o-2", "o-3"]
    assert sorted(path.name for path in folder.glob("copy*")) == ["copy.db"]


def test_a_backup_can_be_taken_while_runs_go_on_and_be_run_itself(tmp_path: Path) -> None:
    workflow = Workflow("w").wait_for("go").step("last", lambda ctx: ctx.signals["go"])
    with Engine(tmp_path / "runs.db", workflow) as engine:
        engine.start(workflow, id="r").wait(until="waiting")
        engine.backup(tmp_path / "copy.db")
        engine.signal("r", "go", "first")
        assert engine.run("r").result() == "first"

    with Engine(tmp_path / "copy.db", workflow) as copy:
        copy.signal("r", "go", "second")
        assert copy.run("r").result() == "second"


def test_a_backup_never_replaces_anything_and_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    with Engine(tmp_path / "runs.db") as engine:
        with pytest.raises(UsageError, match="exists already: a backup never replaces anything"):
            engine.backup(tmp_path / "runs.db")
        with pytest.raises(StoreUnavailable, match="cannot be opened"):
            engine.backup(tmp_path / "no" / "where.db")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.db", "runs.db-lock"]


# ---- doctor


def findings(answer: Any) -> list[tuple[str, str]]:
    return [(one["level"], one["subject"]) for one in answer["findings"]]


def test_a_sound_database_gets_a_clean_bill(run: Perdure, runs: Path) -> None:
    result = run("doctor")

    assert result.exit_code == 0
    assert "file      sound" in result.stdout
    assert "1 completed, 1 failed, 1 waiting" in result.stdout
    assert "none has the database open: nothing happens until one does" in result.stdout


def test_a_living_engine_is_told_from_a_dead_one(ask: Ask, folder: Path) -> None:
    program = """
import sys
from perdure import Engine, Workflow
engine = Engine("perdure.db", Workflow("w").step("hang", lambda: sys.stdin.read()))
engine.start("w", id="r-1")
print("started", flush=True)
engine.run("r-1").result()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        alive = ask("doctor")
        os.kill(process.pid, signal.SIGKILL)
    dead = ask("doctor")

    assert [engine["state"] for engine in alive["health"]["engines"]] == ["alive"]
    assert alive["health"]["stuck"] == []
    assert [engine["state"] for engine in dead["health"]["engines"]] == ["dead"]
    assert [(run["id"], run["why"]) for run in dead["health"]["stuck"]] == [("r-1", "undriven")]
    assert [Path(lock).name for lock in dead["health"]["left_locks"]] == ["perdure.db-engine-1"]
    assert ("warning", "stuck") in findings(dead)
    assert ("note", "locks") in findings(dead)


def test_a_quarantined_run_is_found_with_what_to_do(run: Perdure, folder: Path) -> None:
    with Engine(folder / "perdure.db", Workflow("w").step("old", lambda: 1).wait_for("go")) as engine:
        engine.start("w", id="r-1").wait(until="waiting")
    with Engine(folder / "perdure.db", Workflow("w").step("new", lambda: 1).wait_for("go")) as engine:
        engine.signal("r-1", "go")
        engine.run("r-1").wait()

    result = run("doctor")

    assert result.exit_code == 1
    assert "warning stuck     1 quarantined: r-1" in result.stdout
    assert "read why with perdure show" in result.stdout


def test_a_damaged_file_is_an_error(run: Perdure, runs: Path) -> None:
    damaged = bytearray(runs.read_bytes())
    damaged[8192:16384] = bytes(8192)
    runs.write_bytes(damaged)

    result = run("doctor")

    assert result.exit_code == 1
    assert "restore a backup" in result.output
