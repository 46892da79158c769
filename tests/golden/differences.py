"""Where our rule differs from the recording: one entry for each scenario, with what we do instead and why.

An entry names the sentence of our own documentation that decides, the recorded version it starts from, and the parts of
that version's outcome that are otherwise here. Whatever an entry does not mention must be as recorded. Where threads
race, and both ends of the race are right, an entry has several `changes`, and one of them must hold.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

__all__ = ["DOCUMENTED", "Difference", "expected"]

_EVENT = re.compile(
    r"(?P<type>[a-z]+:[a-z]+)(?: (?P<step>(?!\d+/\d+|=|!|\[)\S+))?(?: (?P<attempt>\d+)/(?P<max>\d+))?"
    r"(?: \[(?P<phase>\d)\])?(?: = (?P<value>.*?))?(?: ! (?P<error>.*))?"
)
_VALUES = {"workflow:started": "input", "step:completed": "result", "signal:received": "payload"}


@dataclass(frozen=True, slots=True)
class Difference:
    """What one scenario does here.

    Attributes:
        rule: The sentence that decides.
        base: The recorded version that holds in everything else.
        changes: What is otherwise in the recorded outcome: mappings are merged into it, anything else replaces it.
            Several if either of them is right.
    """

    rule: str
    base: str = "2.9.5"
    changes: tuple[dict[str, Any], ...] = ()


def expected(scenario: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the outcomes of which ours must be one, each with the ``version`` it was recorded from."""
    recorded = {version: outcome | {"version": version} for version, outcome in scenario["outcome"].items()}
    difference = DOCUMENTED.get(scenario["name"])
    if difference is not None:
        return [_merged(recorded[difference.base], change) for change in difference.changes or ({},)]
    match scenario["judgement"]:
        case "equal":
            return list(recorded.values())
        case "follow_seed":
            return [recorded[min(recorded, key=_number)]]
        case "follow_new" | "better" | "new_api":
            return [recorded[max(recorded, key=_number)]]
        case judgement:
            msg = f"scenario {scenario['name']!r}: unknown judgement {judgement!r}"
            raise KeyError(msg)


def _number(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _events(*lines: str) -> list[dict[str, Any]]:
    """Read events written as ``type step attempt/max [phase] = value ! error``."""
    return [_event(line) for line in lines]


def _event(line: str) -> dict[str, Any]:
    match = _EVENT.fullmatch(line)
    assert match, line
    found = {key: value for key, value in match.groupdict().items() if value is not None}
    event: dict[str, Any] = {"type": found["type"]}
    if "step" in found:
        event["event" if found["type"].startswith("signal:") else "step"] = found["step"]
    if "attempt" in found:
        event |= {"attempt": int(found["attempt"]), "max": int(found["max"])}
    if "phase" in found:
        event["phase"] = int(found["phase"])
    if found["type"] in _VALUES:
        event[_VALUES[found["type"]]] = json.loads(found.get("value", "null"))
    if "error" in found:
        event["error"] = found["error"]
    return event


def _merged(recorded: Any, change: Any) -> Any:
    if not (isinstance(recorded, dict) and isinstance(change, dict)):
        return change
    merged = {key: _merged(recorded.get(key), value) for key, value in change.items()}
    return {key: value for key, value in (recorded | merged).items() if value is not _GONE}


_GONE = object()


def _ran(name: str, result: Any = None, *, phase: int | None = None) -> tuple[str, str]:
    """Say that a step ran once; it returns its own name unless said otherwise, as most steps of the recording do."""
    value = json.dumps({"v": name} if result is None else result)
    where = "" if phase is None else f" [{phase}]"
    return f"step:started {name} 1/3{where}", f"step:completed {name} 1/3{where} = {value}"


def _done(result: Any, attempts: int = 1) -> dict[str, Any]:
    return {"status": "completed", "result": result, "attempts": attempts}


def _completed(steps: dict[str, Any], *, workflow: str = "w", given: Any = None, signals: Any = None) -> dict[str, Any]:
    return {"state": "completed", "workflowName": workflow, "input": given, "signals": signals or {}, "steps": steps}


_OK = {"ok": True}
_GO = 'signal:received go = {"ok": true}'
_UNDONE = {"compensation": ["compensated"]}

_NESTING = "Nesting: any node may stand in any body, to any depth"
_MAILBOX = "Signals: a durable mailbox; a wait takes the oldest signal of its name not yet taken"
_UNKNOWN_NAME = "Signals: a name that no gate of the definition waits for is refused"
_CANCELLED = "Steps: an `async def` handler that times out is cancelled"
_UNDO_POLICY = "Compensation: best effort, and handlers take the step's retry and timeout policy"
_ONLY_FINISHED = "Runs and control: a verb is allowed in named states only: a run that lives is not removed"
_OWN_UNDO = "Compensation: the failed step's own handler does not run"

DOCUMENTED: dict[str, Difference] = {
    # ---- steps
    "timeout_fails_step": Difference(_CANCELLED, changes=({"log": ["begin"]},)),
    "timeout_per_attempt": Difference(_CANCELLED, changes=({"log": ["begin", "begin"]},)),
    "schema_input_fails": Difference(
        "Steps: failure of an input schema is not retried: it cannot get better",
        changes=(
            {
                "events": {
                    "r": _events(
                        'workflow:started = {"amount": "5"}',
                        "step:started a 1/3",
                        "step:failed a 1/3 ! amount: expected number, got string",
                        "workflow:failed",
                    )
                },
                "final": {"r": {"steps": {"a": {"attempts": 1}}}},
                "timing": {"retry_gaps_ms": ()},
            },
        ),
    ),
    # ---- compensation
    "comp_throws_in_middle": Difference(
        _UNDO_POLICY,
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started",
                        *_ran("a"),
                        *_ran("b"),
                        *_ran("c"),
                        "step:started d 1/1",
                        "step:failed d 1/1 ! boom",
                        "workflow:compensating",
                        "compensation:started c",
                        "compensation:completed c",
                        "compensation:started b",
                        "compensation:started b",
                        "compensation:started b",
                        "compensation:failed b ! cannot undo b",
                        "compensation:started a",
                        "compensation:completed a",
                        "workflow:failed",
                    )
                },
                "log": ["undo c", "undo b", "undo b", "undo b", "undo a"],
                "final": {"r": {"state": "failed", "steps": {"a": _UNDONE}}},
            },
        ),
    ),
    "comp_hangs_timeout": Difference(
        f"{_UNDO_POLICY}; {_CANCELLED}",
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started",
                        *_ran("a"),
                        "step:started b 1/1",
                        "step:failed b 1/1 ! x",
                        "workflow:compensating",
                        "compensation:started a",
                        "compensation:started a",
                        "compensation:started a",
                        "compensation:failed a ! Step timed out after 150ms",
                        "workflow:failed",
                    )
                },
                "log": ["undo a begin", "undo a begin", "undo a begin"],
                "final": {"r": {"state": "failed"}},
            },
        ),
    ),
    "comp_foreach_fail_middle": Difference(
        _OWN_UNDO,
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started",
                        *_ran("pre"),
                        "step:started it:0 1/1",
                        "step:completed it:0 1/1 = 10",
                        "step:started it:1 1/1",
                        "step:failed it:1 1/1 ! bad item",
                        "workflow:compensating",
                        "compensation:started it:0",
                        "compensation:completed it:0",
                        "compensation:started pre",
                        "compensation:completed pre",
                        "workflow:failed",
                    )
                },
                "log": ["do 10", "do 20", "undo item=10", "undo pre"],
                "final": {"r": {"steps": {"it:1": {"compensation": _GONE}}}},
            },
        ),
    ),
    "comp_stuck_resume": Difference(
        _UNDO_POLICY,
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started",
                        *_ran("a"),
                        *_ran("b"),
                        "step:started z 1/1",
                        "step:failed z 1/1 ! z",
                        "workflow:compensating",
                        "compensation:started b",
                        "compensation:started b",
                        "compensation:completed b",
                        "compensation:started a",
                        "compensation:completed a",
                        "workflow:failed",
                    )
                },
                "snapshots": {
                    "stuck": {
                        "state": "failed",
                        "rollbackStatus": "completed",
                        "steps": {"a": _UNDONE, "b": _UNDONE},
                    }
                },
                "api": [{"what": "resumeCompensation r", "error": "nothing is stuck"}],
            },
        ),
    ),
    # ---- nodes in bodies
    "branch_nested": Difference(
        _NESTING,
        base="2.7.10",
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started",
                        *_ran("o1"),
                        *_ran("i1"),
                        *_ran("o2"),
                        *_ran("after", ["i1", "o1", "o2"]),
                        "workflow:completed",
                    )
                },
                "final": {"r": {"steps": {"i1": _done({"v": "i1"}), "after": {"result": ["i1", "o1", "o2"]}}}},
            },
        ),
    ),
    "branch_with_parallel_foreach_sub": Difference(
        _NESTING,
        base="2.7.10",
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started",
                        *_ran("p1"),
                        *_ran("it:0", 1),
                        "step:started m",
                        "step:completed m = 1",
                        *_ran("d1"),
                        *_ran("after", ["d1", "it:0", "m", "p1", "sub:child"]),
                        "workflow:completed",
                    ),
                    "child:child": _events("workflow:started = 1", *_ran("c1"), "workflow:completed"),
                },
                "final": {
                    "r": {
                        "steps": {
                            "p1": _done({"v": "p1"}),
                            "it:0": _done(1),
                            "m": {"status": "completed", "result": 1},
                            "sub:child": {"status": "completed", "result": {"c1": {"v": "c1"}}},
                            "d1": _done({"v": "d1"}),
                            "after": {"result": ["d1", "it:0", "m", "p1", "sub:child"]},
                        }
                    }
                },
            },
        ),
    ),
    "parallel_with_waitfor": Difference(
        _NESTING,
        base="2.7.10",
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started", *_ran("p1"), "workflow:waiting", _GO, *_ran("z"), "workflow:completed"
                    )
                }
            },
        ),
    ),
    "parallel_nested": Difference(
        _NESTING,
        base="2.7.10",
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started",
                        "step:started p1 1/3",
                        "step:started q1 1/3",
                        'step:completed p1 1/3 = {"v": "p1"}',
                        'step:completed q1 1/3 = {"v": "q1"}',
                        *_ran("z", ["p1", "q1"]),
                        "workflow:completed",
                    )
                },
                "final": {"r": {"steps": {"q1": _done({"v": "q1"}), "z": {"result": ["p1", "q1"]}}}},
            },
        ),
    ),
    "loop_with_waitfor": Difference(
        _NESTING,
        base="2.7.10",
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started", *_ran("t"), "workflow:waiting", _GO, *_ran("z"), "workflow:completed"
                    )
                }
            },
        ),
    ),
    "same_name_in_two_paths": Difference(
        "Names: two exclusive paths may share one",
        changes=(
            {
                "events": {"r": _events("workflow:started", *_ran("s", 1), "workflow:completed")},
                "final": {"r": _completed({"s": _done(1)})},
                "api": [],
            },
        ),
    ),
    "loop_condition_nonboolean": Difference(
        "Loops: a condition is asked for its truth, as everywhere in Python", base="2.7.10"
    ),
    # ---- signals
    "signal_twice_parked": Difference(
        f"{_MAILBOX}; a finished run takes none: the second signal may find the run at either point",
        changes=(
            {},
            {
                "events": {
                    "r": _events(
                        "workflow:started",
                        *_ran("a"),
                        "workflow:waiting",
                        'signal:received go = {"n": 1}',
                        'signal:received go = {"n": 2}',
                        *_ran("z", {"n": 1}),
                        "workflow:completed",
                    )
                },
                "api": [{"what": "signal r go", "ok": None}, {"what": "signal r go", "ok": None}],
            },
        ),
    ),
    "signal_twice_before": Difference(
        _MAILBOX,
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started",
                        "step:started slow 1/3",
                        'signal:received go = {"n": 1}',
                        'signal:received go = {"n": 2}',
                        "step:completed slow 1/3",
                        *_ran("z", {"n": 1}),
                        "workflow:completed",
                    )
                },
                "api": [{"what": "signal r go", "ok": None}, {"what": "signal r go", "ok": None}],
            },
        ),
    ),
    "signal_other_event": Difference(
        _UNKNOWN_NAME,
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started",
                        *_ran("a"),
                        "workflow:waiting",
                        _GO,
                        *_ran("z", {"go": _OK}),
                        "workflow:completed",
                    )
                },
                "api": [{"what": "signal r other", "error": "UnknownSignal"}, {"what": "signal r go", "ok": None}],
                "snapshots": {"after other": {"signals": {"other": _GONE}}},
                "final": {"r": {"signals": {"other": _GONE}, "steps": {"z": {"result": {"other": _GONE}}}}},
            },
        ),
    ),
    "wait_timeout_other_signal_then_expire": Difference(
        _UNKNOWN_NAME,
        changes=(
            {
                "events": {
                    "r": _events("workflow:started", "workflow:waiting", "signal:timeout go", "workflow:failed")
                },
                "api": [{"what": "signal r other", "error": "UnknownSignal"}],
                "final": {"r": {"signals": {"other": _GONE}}},
            },
        ),
    ),
    # ---- sub-workflows
    "sub_child_fails": Difference(
        "Compensation: handlers of completed steps run; a child that failed has undone itself",
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started",
                        *_ran("a"),
                        "workflow:compensating",
                        "compensation:started a",
                        "compensation:completed a",
                        "workflow:failed",
                    )
                },
                "final": {"r": {"steps": {"sub:child": {"compensation": _GONE}}}},
            },
        ),
    ),
    "sub_mapper_throws": Difference(
        "Execution: `steps` shows what was recorded of each step, sub-workflow, gate and sleep, one that failed too",
        changes=({"final": {"r": {"steps": {"sub:child": {"status": "failed", "error": "mapper boom"}}}}},),
    ),
    "sub_timeout_option": Difference(
        "Names: `.sub_workflow(name, mapper, as_=)`: a limit belongs to the child's own gate",
        base="2.7.10",
        changes=({"final": {"r": {"steps": {"sub:child": {"status": "running"}}}}},),
    ),
    "sub_concurrency_one": Difference(
        "Sub-workflows: a waiting parent holds no slot of `concurrency`",
        changes=(
            {
                "events": {
                    "r": _events("workflow:started", *_ran("z"), "workflow:completed"),
                    "child:child": _events("workflow:started = 1", *_ran("c1"), "workflow:completed"),
                },
                "api": [],
                "final": {
                    "r": {
                        "state": "completed",
                        "steps": {
                            "sub:child": {"status": "completed", "result": {"c1": {"v": "c1"}}},
                            "z": _done({"v": "z"}),
                        },
                    },
                    "child:child": {"state": "completed", "steps": {"c1": _done({"v": "c1"})}},
                },
            },
        ),
    ),
    # ---- the engine
    "branch_no_paths": Difference(
        "Names: branches without paths are a `DefinitionError`",
        changes=(
            {
                "events": {"r": _GONE},
                "final": {"r": _GONE},
                "api": [
                    {"what": "register w", "error": "DefinitionError"},
                    {"what": "start w", "error": "UnknownWorkflow"},
                    {"what": "wait r completed|failed|compensation-stuck", "ok": "not reached in 3000ms"},
                ],
            },
        ),
    ),
    "cleanup_states": Difference(
        _ONLY_FINISHED,
        changes=(
            {
                "api": [
                    {"what": "cleanup 3600000 ", "ok": 0},
                    {"what": "cleanup 0 completed", "ok": 1},
                    {"what": "list {}", "ok": ["p1", "v1"]},
                    {"what": "cleanup 0 ", "ok": 1},
                    {"what": "list {}", "ok": ["p1"]},
                    {"what": "cleanup 0 waiting", "error": "UsageError"},
                    {"what": "list {}", "ok": ["p1"]},
                ],
                "final": {"p1": {"state": "waiting", "workflowName": "p", "input": None, "signals": {}, "steps": {}}},
            },
        ),
    ),
    "archive_flow": Difference(
        _ONLY_FINISHED,
        changes=(
            {
                "events": {
                    "p1": _events("workflow:started", "workflow:waiting", _GO, "workflow:completed"),
                },
                "api": [
                    {"what": "archived_count", "ok": 0},
                    {"what": "archive 3600000 ", "ok": 0},
                    {"what": "archive 0 ", "ok": 1},
                    {"what": "archived_count", "ok": 1},
                    {"what": "list {}", "ok": ["p1"]},
                    {"what": "archive 0 waiting", "error": "UsageError"},
                    {"what": "archived_count", "ok": 1},
                    {"what": "signal p1 go", "ok": None},
                ],
                "final": {"p1": _completed({}, workflow="p", signals={"go": _OK})},
            },
        ),
    ),
    "register_twice": Difference(
        "Runs and control: `register` of the same definition twice is harmless", base="2.7.10"
    ),
    "use_after_close": Difference(
        "Errors: calls on a closed engine raise `EngineClosed`",
        changes=(
            {
                "api": [
                    {"what": "close", "ok": None},
                    {"what": "start w", "error": "EngineClosed"},
                    {"what": "signal r x", "error": "EngineClosed"},
                    {"what": "list {}", "error": "EngineClosed"},
                    {"what": "close", "ok": None},
                ],
                "final": {"r2": _GONE},
            },
        ),
    ),
    "close_force_mid_run": Difference(
        "Errors: `close(force=True)` does not wait: the loop on which an `async def` handler runs ends with the engine",
        changes=({"log": ["[phase 0] a", "[phase 0] b begin", "[phase 1] b begin", "[phase 1] b end", "[phase 1] c"]},),
    ),
    # ---- restart
    "kill9_mid_loop": Difference(
        "Steps: `attempts` counts how often the handler began, in a loop's turn as anywhere",
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started [0]",
                        *_ran("t", 1, phase=0),
                        *_ran("t", 1, phase=0),
                        "step:started t 1/3 [0]",
                        "step:started t 2/3 [1]",
                        "step:completed t 2/3 [1] = 1",
                        *_ran("t", 1, phase=1),
                        *_ran("z", phase=1),
                        "workflow:completed [1]",
                    )
                }
            },
        ),
    ),
    "kill9_waiting_timeout_no_recover": Difference(
        "Signals: a deadline is a point in time fixed when the wait began; Restart: nothing else is to be called",
        base="2.7.10",
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started [0]",
                        *_ran("a", phase=0),
                        "workflow:waiting [0]",
                        "signal:timeout go [1]",
                        "workflow:failed [1]",
                    )
                }
            },
        ),
    ),
    "kill9_changed_definition": Difference(
        "Restart: a run whose recorded facts all still lie on the graph in order goes on",
        base="2.7.10",
        changes=(
            {
                "events": {
                    "r": _events(
                        "workflow:started [0]",
                        *_ran("a", phase=0),
                        "workflow:waiting [0]",
                        'signal:received go [1] = {"ok": true}',
                        *_ran("new", phase=1),
                        *_ran("z", phase=1),
                        "workflow:completed [1]",
                    )
                }
            },
        ),
    ),
    "kill9_unregistered_after": Difference(
        "Restart: a run whose workflow is not registered is left untouched; Signals: the payload is on disk",
        changes=({"final": {"r": {"state": "running", "signals": {"go": _GONE}}}},),
    ),
}
