"""How an outcome of ours is compared with a recorded one.

Compared per run: the events in order with their step, attempt, result, payload and error; the log of side effects; the
final state with every step's status, result, attempts and error; signals; what every call returned or that it raised;
what listeners saw; how processes ended. An event or a record that one side has and the other has not is a difference.

What is read differently is written here once, as a rule for all scenarios; a difference of one scenario belongs in
``differences.py``.

1. Texts of errors are compared by what they say, not by wording: see `_SAYINGS`. Ours must come from our own family of
   errors where the reference raised from a call.
2. Event types the reference does not have are left out of ours (`_OURS_ALONE`), and so are step events of a
   ``sub:`` node; the 2.7.10 recordings have no ``compensation:*`` either.
3. The terminal event comes last: a recorded ``workflow:failed`` is moved behind the compensation it announces.
4. A run enters ``compensating`` once, and only if something is owed: a recorded ``workflow:compensating`` counts if it
   is the run's first and a handler ran.
5. A loop's turns share one name: recorded ``t:0``, ``t:1`` are ``t``, and records of theirs are left out. So is the
   record that 2.9.5 keeps under a ``for_each``'s bare name.
6. A gate's record is compared when the gate failed.
7. What happens while nobody waits has no order. When a signal is sent, or a listener added, right after ``start`` or
   another signal, the place of ``signal:received``, whether the run was seen waiting, and the listener's first events
   are left open; when a process is killed right after ``start``, how far the run had come is. The log of several runs
   is compared without order.
8. ``recover`` is nothing here; to build and to register are one thing.
9. Milliseconds are not compared, except that the delay after attempt ``k`` lies between ``500 * 2**(k-1)`` and half as
   much again, and that there are as many delays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from difflib import unified_diff
from typing import Any

from .scenario import Scenario

__all__ = ["differences"]

Outcome = dict[str, Any]
Line = dict[str, Any]

_OURS_ALONE = {"workflow:resumed", "timer:fired", "step:timeout", "step:late", "listener:error"}
_VALUES = ("input", "result", "event", "payload")
_ROLLBACKS = {"completed": ("complete", "none"), "not-applicable": ("none",), "stuck": ("partial",)}
_COMPENSATIONS = {"compensated": "completed", "compensation-failed": "failed"}
_OMISSION = re.compile(r"\.\.\. (\d+) more \.\.\.")

# A text of the reference, and what ours must say instead; `{1}` is the first group. Ours must contain any other text.
_SAYINGS = [
    (r"Step timed out after \d+ms", "timed out after"),
    (r'Signal "(.*)" timed out after \d+ms', "signal '{1}' timed out"),
    (r"do(?:Until|While) exceeded maxIterations \((\d+)\)", "max_iterations={1}"),
    (r"forEach items \((\d+)\) exceeds maxIterations \((\d+)\)", "{1} items, more than max_iterations={2}"),
    (r"forEach items must be an array, got .*", "must be a list or a tuple"),
    (r'Branch at node \d+ resolved unknown path "(.*)"', "'{1}', which is not a path"),
    (r"Branch at node \d+ returned a non-string path", "which is not a path"),
    (r'Input validation failed for ".*": (.*)', "{1}"),
    (r'Output validation failed for ".*": (.*)', "{1}"),
    (r"\d+ failures: (.*)", "{1}"),
    (r'Sub-workflow "(.*)" \(.*\) failed', "{1}"),
]


def differences(spec: dict[str, Any], recorded: Outcome, ours: Outcome) -> list[str]:
    """Return every difference between a recorded outcome and ours, as lines to read; none when they agree."""
    comparison = _Comparison(spec, recorded, ours)
    return [line for part in comparison.parts for line in part()]


class _Comparison:
    """One recorded outcome, one of ours, and what the scenario says about how to read them."""

    def __init__(self, spec: dict[str, Any], recorded: Outcome, ours: Outcome) -> None:
        self.recorded = recorded
        self.ours = ours
        self.scenario = Scenario(spec)
        self.tells_compensation = recorded["version"] != "2.7.10" or "compensation:" in json.dumps(
            recorded.get("events")
        )
        self.parts: list[Callable[[], Iterable[str]]] = [
            self._events,
            self._counts,
            self._log,
            self._finals,
            self._snapshots,
            self._api,
            self._listeners,
            self._exits,
            self._gaps,
        ]

    # ---- events

    def _events(self) -> Iterator[str]:
        recorded, ours = self.recorded.get("events", {}), self.ours["events"]
        left_out = set(self.recorded.get("event_counts_all_runs", ())) and set(ours) - set(recorded)
        for label in sorted({*recorded, *ours} - left_out):
            yield from self._events_of(label, recorded.get(label, []), ours.get(label, []))

    def _events_of(self, label: str, recorded: list[Any], ours: list[Line]) -> Iterator[str]:
        if self.scenario.killed_in_haste:
            return
        theirs = self._as_we_read(recorded)
        mine = self._comparable(ours)
        if label in self.scenario.hasty:
            theirs, mine = _signals_first(theirs), _signals_first(mine)
        theirs, mine = _abridged(theirs, mine)
        wanted = [_line(event) for event in theirs]
        found = [_line(mine[i] | _kept(theirs[i], mine[i]) if i < len(theirs) else mine[i]) for i in range(len(mine))]
        yield from _unlike(f"events of {label}", wanted, found)
        for event, own in zip(theirs, mine, strict=False):
            if not _says(event.get("error"), own.get("error")):
                yield f"events of {label}: {_line(event)}: {event['error']!r} became {own.get('error')!r}"

    def _as_we_read(self, recorded: list[Any]) -> list[Line]:
        events = [event if isinstance(event, dict) else {"type": event} for event in recorded]
        events = [self._renamed(event) for event in events]
        if not self._owed(events):
            return [event for event in events if event["type"] != "workflow:compensating"]
        return _terminal_last(_once(events, "workflow:compensating"))

    def _owed(self, events: list[Line]) -> bool:
        if not self.tells_compensation:
            return bool(self.scenario.undo_logs & set(map(_without_phase, self.recorded.get("log", ()))))
        return any(event["type"].startswith("compensation:") for event in events)

    def _renamed(self, event: Line) -> Line:
        step = event.get("step")
        turn_of = self.scenario.turn_of(step) if step else None
        return event | {"step": turn_of} if turn_of and event["type"].startswith("compensation:") else event

    def _comparable(self, ours: list[Line]) -> list[Line]:
        return [event for event in ours if not self._ours_alone(event["type"], event.get("step"))]

    def _ours_alone(self, type_: str, step: str | None) -> bool:
        return (
            type_ in _OURS_ALONE
            or (type_.startswith("step:") and (step or "").startswith("sub:"))
            or (type_.startswith("compensation:") and not self.tells_compensation)
        )

    def _counts(self) -> Iterator[str]:
        recorded = self.recorded.get("event_counts_all_runs")
        if recorded:
            ours = self.ours["event_counts_all_runs"]
            known = {type_ for type_ in ours if type_ not in _OURS_ALONE}
            for type_ in sorted({*recorded, *known} - {"workflow:compensating"}):
                if recorded.get(type_, 0) != ours.get(type_, 0):
                    yield f"all runs: {recorded.get(type_, 0)} times {type_}, not {ours.get(type_, 0)}"

    # ---- side effects, processes, listeners

    def _log(self) -> Iterator[str]:
        theirs = [_settled(line) for line in self.recorded.get("log", ())]
        mine = [_settled(line) for line in self.ours["log"]]
        if self.scenario.killed_in_haste:
            theirs, mine = sorted(set(map(_without_phase, theirs))), sorted(set(map(_without_phase, mine)))
        if not self.scenario.crowded:
            yield from _unlike("log", *_abridged(theirs, mine))
            return
        length = sum(_omitted(line) or 1 for line in theirs)
        lines = {line for line in theirs if not _omitted(line)}
        if length != len(mine) or lines != set(mine):
            yield f"log: {length} lines of {sorted(lines)}, not {len(mine)} of {sorted(set(mine))}"

    def _exits(self) -> Iterator[str]:
        recorded = self.recorded.get("process_exit")
        if recorded is not None and recorded != self.ours["process_exit"]:
            yield f"processes ended with {self.ours['process_exit']}, not {recorded}"

    def _gaps(self) -> Iterator[str]:
        recorded = self.recorded.get("timing", {}).get("retry_gaps_ms", ())
        ours = self.ours["retry_gaps"]
        if len(recorded) != len(ours):
            yield f"{len(recorded)} delays {list(recorded)} became {len(ours)}: {ours}"
        for attempt, milliseconds in ours:
            least = min(500 * 2 ** (attempt - 1), 30_000)
            if not least <= milliseconds <= min(1.5 * least, 30_000):
                yield f"the delay after attempt {attempt} was {milliseconds} ms"

    def _listeners(self) -> Iterator[str]:
        recorded, ours = self.recorded.get("listener_saw", {}), self.ours["listener_saw"]
        for name in sorted({*recorded, *ours}):
            theirs = list(recorded.get(name, ()))
            mine = [seen for seen in ours.get(name, ()) if not self._ours_alone(*_seen(seen))]
            if name in self.scenario.hasty_listeners:
                theirs, mine = _after_the_start(theirs), _after_the_start(mine)
            yield from _unlike(f"listener {name}", theirs, mine)

    # ---- calls

    def _api(self) -> Iterator[str]:
        theirs = [call for call in self.recorded.get("api", ()) if not call["what"].startswith("recover")]
        mine = self.ours["api"]
        yield from _unlike("calls", list(map(_call, theirs)), list(map(_call, mine)))
        for call, own in zip(theirs, mine, strict=False):
            if not _same(call.get("ok"), own.get("ok")):
                yield f"{_call(call)}: {call.get('ok')!r} became {own.get('ok')!r}"

    # ---- executions

    def _finals(self) -> Iterator[str]:
        yield from self._executions("final", self.recorded.get("final", {}), self.ours["final"])

    def _snapshots(self) -> Iterator[str]:
        if not self.scenario.killed_in_haste:
            yield from self._executions("snapshot", self.recorded.get("snapshots", {}), self.ours["snapshots"])

    def _executions(self, what: str, recorded: dict[str, Any], ours: dict[str, Any]) -> Iterator[str]:
        for label in sorted({*recorded, *ours}):
            where = f"{what} {label}"
            if label not in recorded or label not in ours:
                yield f"{where}: only {'recorded' if label in recorded else 'ours'}"
            elif recorded[label] is None or ours[label] is None:
                if recorded[label] is not ours[label]:
                    yield f"{where}: {recorded[label]!r} became {ours[label]!r}"
            else:
                yield from self._execution(where, recorded[label], ours[label])

    def _execution(self, where: str, recorded: dict[str, Any], ours: dict[str, Any]) -> Iterator[str]:
        for key in ("state", "workflowName", "input", "signals"):
            if not _same(recorded[key], ours[key]):
                yield f"{where}: {key} {recorded[key]!r} became {ours[key]!r}"
        if "failureReason" in recorded and recorded["state"] == "failed":
            if not _says(recorded["failureReason"], ours["error"]):
                yield f"{where}: reason {recorded['failureReason']!r} became {ours['error']!r}"
            if ours["rollback"] not in _ROLLBACKS[recorded["rollbackStatus"]]:
                yield f"{where}: rollback {recorded['rollbackStatus']!r} became {ours['rollback']!r}"
        if "hasParent" in recorded and not ours["hasParent"]:
            yield f"{where}: it has no parent"
        yield from self._steps(where, recorded["steps"], ours["steps"])

    def _steps(self, where: str, recorded: dict[str, Any], ours: dict[str, Any]) -> Iterator[str]:
        abridged = any(map(_omitted, recorded))
        theirs = {name: step for name, step in recorded.items() if not _omitted(name) and self._compared(name, step)}
        mine = {name: step for name, step in ours.items() if _decided(name, step)}
        names = theirs.keys() if abridged and len(mine) > len(theirs) else {*theirs, *mine}
        for name in sorted(names):
            if name not in theirs or name not in mine:
                yield f"{where}: step {name!r} only {'recorded' if name in theirs else 'ours'}"
            else:
                recorded_step = theirs[name] | ({"attempts": None} if self.scenario.killed_in_haste else {})
                yield from _step(f"{where}: step {name!r}", recorded_step, mine[name])

    def _compared(self, name: str, step: dict[str, Any]) -> bool:
        return _decided(name, step) and not self.scenario.turn_of(name) and name not in self.scenario.for_each


# ---- reading a recording


def _once(events: list[Line], type_: str) -> list[Line]:
    first = next((event for event in events if event["type"] == type_), None)
    return [event for event in events if event["type"] != type_ or event is first]


def _terminal_last(events: list[Line]) -> list[Line]:
    failed = [event for event in events if event["type"] == "workflow:failed"]
    if len(failed) != 1:
        return events
    rest = [event for event in events if event is not failed[0]]
    phase = {"phase": rest[-1]["phase"]} if "phase" in failed[0] else {}
    return [*rest, failed[0] | phase]


def _signals_first(events: list[Line]) -> list[Line]:
    events = [event for event in events if event["type"] != "workflow:waiting"]
    return sorted(events, key=lambda event: event["type"] != "signal:received")


def _after_the_start(seen: list[str]) -> list[str]:
    first = next((i for i, entry in enumerate(seen) if _seen(entry)[0] not in ("workflow:started", "step:started")), 0)
    return seen[first:]


def _seen(entry: str) -> tuple[str, str | None]:
    _, type_, *step = entry.split(" ", 2)
    return type_, step[0] if step else None


def _omitted(line: Any) -> int:
    text = line.get("type", "") if isinstance(line, dict) else line
    omission = _OMISSION.fullmatch(text) if isinstance(text, str) else None
    return int(omission[1]) if omission else 0


def _decided(name: str, step: dict[str, Any]) -> bool:
    return not name.startswith("__waitFor:") or step["status"] == "failed"


def _abridged(theirs: list[Any], mine: list[Any]) -> tuple[list[Any], list[Any]]:
    """Leave out of ours as many lines as the recording leaves out, in the same place."""
    for i, line in enumerate(theirs):
        if (count := _omitted(line)) and len(mine) == len(theirs) - 1 + count:
            return theirs[:i] + theirs[i + 1 :], mine[:i] + mine[i + count :]
    return theirs, mine


def _without_phase(line: str) -> str:
    return re.sub(r"^\[phase \d+\] ", "", line)


def _settled(line: str) -> str:
    return re.sub(r"\bundefined\b", "null", line)


# ---- comparing


def _line(event: Line) -> str:
    step = f" {event['step']}" if event.get("step") else ""
    attempt = f" {event['attempt']}/{event['max']}" if event.get("attempt") is not None else ""
    phase = f" [phase {event['phase']}]" if "phase" in event else ""
    values = {key: _plain(event[key]) for key in _VALUES if _plain(event.get(key)) is not None}
    return str(event["type"]) + step + attempt + phase + (f" {json.dumps(values, sort_keys=True)}" if values else "")


def _kept(theirs: Line, mine: Line) -> Line:
    """Return what ours says more than a recording does, blanked out, and long values it has shortened."""
    kept: Line = {}
    if theirs.get("attempt") is None:
        kept |= {"attempt": None, "max": None}
    for key in _VALUES:
        if (key in mine and key not in theirs) or (key in theirs and _same(theirs[key], mine.get(key))):
            kept[key] = theirs.get(key)
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if value == "<undefined>" else value


def _same(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, str) and theirs.startswith("<long "):
        return ours is not None
    theirs, ours = _plain(theirs), _plain(ours)
    return bool(theirs == ours) and json.dumps(theirs, sort_keys=True) == json.dumps(ours, sort_keys=True)


def _says(theirs: str | None, ours: str | None) -> bool:
    if theirs is None:
        return True
    if ours is None:
        return False
    text = theirs.removeprefix("Error: ")
    for pattern, saying in _SAYINGS:
        if match := re.fullmatch(pattern, text):
            wanted = saying.format(text, *match.groups())
            return all(part in ours for part in wanted.split("; "))
    return text in ours


def _call(call: Line) -> str:
    what = re.sub(r"^build ", "register ", call["what"])
    phase = f" [phase {call['phase']}]" if "phase" in call else ""
    return f"{what}{phase}: {'raised' if 'error' in call else 'returned'}"


def _step(where: str, recorded: dict[str, Any], ours: dict[str, Any]) -> Iterator[str]:
    if recorded["status"] != ours["status"]:
        yield f"{where}: {recorded['status']} became {ours['status']}"
    if not _same(recorded.get("result"), ours["result"]):
        yield f"{where}: result {recorded.get('result')!r} became {ours['result']!r}"
    if recorded.get("attempts") not in (None, ours["attempts"]):
        yield f"{where}: {recorded['attempts']} attempts became {ours['attempts']}"
    if not _says(recorded.get("error"), ours["error"]) or ("error" not in recorded and ours["error"] is not None):
        yield f"{where}: error {recorded.get('error')!r} became {ours['error']!r}"
    outcome, *_ = recorded.get("compensation", (None,))
    if outcome is not None and _COMPENSATIONS.get(outcome, outcome) != ours["compensation"]:
        yield f"{where}: compensation {outcome!r} became {ours['compensation']!r}"


def _unlike(what: str, wanted: list[str], found: list[str]) -> Iterator[str]:
    if wanted != found:
        yield from unified_diff(wanted, found, f"{what}: wanted", f"{what}: ours", lineterm="", n=1)
