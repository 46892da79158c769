"""The player: performs the actions of one phase on an engine and records what happened.

The player is the only one who moves the time, from one deadline to the next (of the engine or of a sleeping handler),
and only when everything has come to rest.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from perdure import Engine, Execution, Workflow
from perdure.actors.supervisor import FireNext
from perdure.errors import EngineError
from tests.patience import PATIENCE

from .language import Error, Translator
from .recording import Recording, labels_of
from .stage import VirtualStage

__all__ = ["Player"]

FINAL = ("completed", "failed", "cancelled", "quarantined")
# Real seconds: between two looks at the engine, and after which something is stuck.
GLANCE = 0.001
_ENGINE = {"concurrency": "concurrency", "queueName": "queue_name"}
# Frozen time that passes between two actions.
MOMENT = timedelta(milliseconds=0.1)


class Player:
    """Performs one phase: registers the workflows, does the actions, reads what is left."""

    def __init__(self, spec: dict[str, Any], recording: Recording, stage: VirtualStage, place: str) -> None:
        self._spec = spec
        self._phase = spec["phases"][recording.phase]
        self._recording = recording
        self._stage = stage
        self._path = None if spec.get("noDataPath") else place
        self._translator = Translator(stage)
        self._ids: dict[str, str] = {entry["label"]: entry["id"] for entry in recording.of("label")}
        self._listeners: dict[str, Callable[[], object]] = {}
        self._engine = self._open()
        self._closed = False

    def _open(self) -> Engine:
        options = {_ENGINE[word]: value for word, value in self._spec.get("engine", {}).items()}
        return Engine(self._path, on_event=self._hear, **options)

    def play(self) -> None:
        """Perform the phase."""
        actions = list(self._phase["actions"])
        try:
            # What a phase reads first is what the one before has left: to register a workflow is to restore its runs.
            while self._recording.phase and actions and actions[0]["do"] == "get":
                self._do(actions.pop(0))
            for workflow in self._workflows():
                self._register(workflow)
            for action in actions:
                self._do(action)
            self._rest()
            assert not self._phase.get("expect_kill"), "the process should have been killed"
            if self._recording.phase == len(self._spec["phases"]) - 1:
                self._read_what_is_left()
        finally:
            self._engine.close(force=True)
            self._stage.wake_everyone()

    def _do(self, action: dict[str, Any]) -> None:
        # Between two actions some time passes, as it always does.
        self._stage.move_to(self._stage.now + MOMENT)
        _ACTIONS[action["do"]](self, action)

    def _workflows(self) -> Iterator[dict[str, Any]]:
        replaced = {workflow["name"]: workflow for workflow in self._phase.get("workflows", ())}
        for workflow in self._spec["workflows"]:
            if workflow["name"] not in self._phase.get("skip", ()):
                yield replaced.get(workflow["name"], workflow)

    def _register(self, spec: dict[str, Any]) -> Workflow[Any, Any] | None:
        try:
            workflow = self._translator.workflow(spec)
            self._engine.register(workflow)
        except EngineError as error:
            self._api(f"register {spec['name']}", error=error)
            return None
        return workflow

    # ---- what is recorded

    def _hear(self, event: Any) -> None:
        fields: dict[str, Any] = {}
        for name in ("step", "attempt", "max_attempts", "input", "result", "event", "payload", "name"):
            if hasattr(event, name) and event.type != "listener:error":
                fields[name] = getattr(event, name)
        if getattr(event, "error", None) is not None:
            fields["error"] = str(event.error)
        self._recording.add(
            "event",
            run=event.execution_id,
            workflow=event.workflow_name,
            type=event.type,
            at=event.at.timestamp(),
            **fields,
        )

    def _api(self, what: str, *, ok: Any = None, error: EngineError | None = None) -> None:
        outcome = {"ok": ok} if error is None else {"error": f"{type(error).__name__}: {error}"}
        self._recording.add("api", what=what, **outcome)

    @contextmanager
    def _trying(self, what: str) -> Iterator[None]:
        """Record that a call did not succeed; one that does records itself."""
        try:
            yield
        except EngineError as error:
            self._api(what, error=error)

    def _id(self, label: str) -> str:
        return self._ids.get(label, label)

    # ---- time

    def _rest(self) -> None:
        """Let the engine do everything that is due; handlers that sleep are in flight, but have nothing to do.

        This is `Engine.settle` for an engine whose handlers wait for the player: settling would wait for them.
        """
        if not self._closed:
            with self._engine._machine.lanes.alarm_paused():
                while True:
                    self._wait_for_real(self._only_sleepers_are_in_flight)
                    if not self._engine._machine.ask(FireNext(), "settle"):
                        break
        if self._stage.kill_wanted:
            assert self._phase.get("expect_kill"), "a handler kills a phase that does not say expect_kill"
            self._kill({})

    def _only_sleepers_are_in_flight(self) -> bool:
        before = self._stage.pulse()
        idle = self._stage.asleep() + len(self._engine._machine.crew._queue)
        return self._engine._machine.lanes.in_flight == idle and self._stage.pulse() == before

    def _until(self, holds: Callable[[], bool], milliseconds: float) -> bool:
        """Move the time until something holds, but no further than this."""
        end = self._stage.now + timedelta(milliseconds=milliseconds)
        self._rest()
        while not holds():
            ahead = [moment for moment in (self._stage.next_due(), self._next_deadline()) if moment is not None]
            moment = min(max(min(ahead, default=end), self._stage.now), end)
            if moment == end == self._stage.now:
                return False
            self._stage.move_to(moment)
            self._rest()
        return True

    def _next_deadline(self) -> Any:
        return None if self._closed else self._engine.next_deadline()

    # ---- actions on runs

    def _start(self, action: dict[str, Any]) -> None:
        count = action.get("count")
        for number in range(1 if count is None else count):
            label = action["as"] if count is None else f"{action['as']}{number}"
            given = {"i": number} if action.get("index_input") else action.get("input")
            with self._trying(f"start {action['wf']}"):
                run = self._engine.start(action["wf"], given)
                self._ids[label] = run.id
                self._recording.add("label", label=label, id=run.id)

    def _wait(self, action: dict[str, Any]) -> None:
        states = action.get("states", FINAL)
        milliseconds = action.get("timeout", 8000)
        labels = [label for label in self._ids if label.startswith(action["prefix"])] if "prefix" in action else None
        runs = [self._ids[label] for label in labels] if labels else [self._ids.get(action.get("run", ""))]

        def reached() -> bool:
            return all(run is not None and self._state(run) in states for run in runs)

        patience = 0 if None in runs else milliseconds
        if not self._until(reached, patience):
            wanted = "|".join(action.get("states", ("completed", "failed", "compensation-stuck")))
            who = action.get("run", action.get("prefix"))
            self._api(f"wait {who} {wanted}", ok=f"not reached in {milliseconds}ms")

    def _state(self, run: str) -> str | None:
        execution = None if self._closed else self._engine.get_execution(run)
        return None if execution is None else str(execution.state)

    def _wait_log(self, action: dict[str, Any]) -> None:
        self._wait_for_entry(
            lambda: any(entry["text"] == action["entry"] for entry in self._recording.of("log")), action
        )

    def _wait_event(self, action: dict[str, Any]) -> None:
        def heard() -> bool:
            return any(
                entry["type"] == action["type"] and action.get("step") in (None, entry.get("step"))
                for entry in self._recording.of("event")
            )

        self._wait_for_entry(heard, action)

    def _wait_for_entry(self, there: Callable[[], bool], action: dict[str, Any]) -> None:
        assert self._until(there, action.get("timeout", 8000)), f"in vain: {action}"

    def _sleep(self, action: dict[str, Any]) -> None:
        self._until(lambda: False, action["ms"])

    def _signal(self, action: dict[str, Any]) -> None:
        self._send(f"signal {action['run']} {action['event']}", self._id(action["run"]), action)

    def _signal_child(self, action: dict[str, Any]) -> None:
        child = self._engine.list_executions(workflow=action["wf"], limit=1)[0]
        self._send(f"signal child {action['wf']} {action['event']}", child.id, action)

    def _send(self, what: str, run: str, action: dict[str, Any]) -> None:
        payload = () if action.get("no_payload") else (action.get("payload"),)
        with self._trying(what):
            self._engine.signal(run, action["event"], *payload)
            self._api(what)

    def _resume_comp(self, action: dict[str, Any]) -> None:
        what = f"resumeCompensation {action['run']}"
        with self._trying(what):
            self._engine.resume(self._id(action["run"]))
            self._api(what)

    def _abandon_comp(self, action: dict[str, Any]) -> None:
        what = f"abandonCompensation {action['run']}"
        with self._trying(what):
            self._engine.cancel(self._id(action["run"]), compensate=False)
            self._api(what)

    # ---- actions on the store

    def _get(self, action: dict[str, Any]) -> None:
        with self._trying(f"get {action['label']}"):
            self._recording.add("snapshot", label=action["label"], value=self._described(self._id(action["run"])))

    def _list(self, action: dict[str, Any]) -> None:
        labels = labels_of(self._recording)
        what = _call("list", action)
        with self._trying(what):
            self._api(what, ok=[labels.get(found.id, found.id) for found in self._listed(action)])

    def _list_count(self, action: dict[str, Any]) -> None:
        what = _call("list_count", action)
        with self._trying(what):
            self._api(what, ok=len(self._listed(action)))

    def _listed(self, action: dict[str, Any]) -> list[Execution]:
        return self._engine.list_executions(
            workflow=action.get("wf"), state=action.get("state"), **action.get("options", {})
        )

    def _cleanup(self, action: dict[str, Any]) -> None:
        self._sweep("cleanup", self._engine.cleanup, action)

    def _archive(self, action: dict[str, Any]) -> None:
        self._sweep("archive", self._engine.archive, action)

    def _sweep(self, verb: str, sweep: Callable[..., int], action: dict[str, Any]) -> None:
        states = action.get("states")
        what = f"{verb} {action['age']} {','.join(states or ())}"
        with self._trying(what):
            self._api(what, ok=sweep(action["age"] / 1000, states))

    def _archived_count(self, action: dict[str, Any]) -> None:
        self._api("archived_count", ok=self._engine.get_archived_count())

    # ---- actions on the engine

    def _recover(self, action: dict[str, Any]) -> None:
        """Do nothing: to register a workflow is to restore its runs."""

    def _register_again(self, action: dict[str, Any]) -> None:
        spec = next(spec for spec in self._workflows() if spec["name"] == action["wf"])
        if self._register(spec) is not None:
            self._api(f"register {action['wf']}")

    def _mutate(self, action: dict[str, Any]) -> None:
        spec = next(spec for spec in self._workflows() if spec["name"] == action["wf"])
        workflow = self._register(spec)
        what = f"mutate {action['wf']}"
        with self._trying(what):
            assert workflow is not None
            workflow.step("added too late", lambda: None)
            self._api(what)

    def _close(self, action: dict[str, Any]) -> None:
        force = bool(action.get("force"))
        what = "close(true)" if force else "close"
        with self._trying(what):
            if force or self._closed:
                self._engine.close(force=force)
            else:
                self._close_and_wait()
            self._api(what)
        self._closed = True

    def _close_and_wait(self) -> None:
        """Close as a program would that is in the middle of its work: the handlers in flight go on to their end."""
        failures: list[BaseException] = []

        def close() -> None:
            try:
                self._engine.close()
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is seen
                failures.append(error)

        closing = threading.Thread(target=close, name="closing")
        closing.start()
        self._wait_for_real(lambda: self._engine._machine.crew._closed)
        while closing.is_alive():
            if (moment := self._stage.next_due()) is not None:
                self._stage.move_to(moment)
            closing.join(GLANCE)
        if failures:
            raise failures[0]

    def _wait_for_real(self, holds: Callable[[], bool]) -> None:
        tick = threading.Event()
        for _ in range(round(PATIENCE / GLANCE)):
            if holds():
                return
            tick.wait(GLANCE)
        raise AssertionError("nothing moves any longer")

    def _kill(self, action: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    # ---- listeners

    def _listener(self, action: dict[str, Any]) -> None:
        name = action["as"]

        def listen(event: Any) -> None:
            self._recording.add(
                "seen", listener=name, run=event.execution_id, type=event.type, step=getattr(event, "step", None)
            )
            if action.get("throws"):
                raise Error("listener")

        self._recording.add("listening", listener=name)
        match action["mode"]:
            case "on":
                self._engine.on(action["type"], listen)
                self._listeners[name] = lambda: self._engine.off(action["type"], listen)
            case "onAny":
                self._engine.on_any(listen)
                self._listeners[name] = lambda: self._engine.off_any(listen)
            case "subscribe":
                self._listeners[name] = self._engine.subscribe(self._id(action["run"]), listen)

    def _unlisten(self, action: dict[str, Any]) -> None:
        self._rest()
        self._listeners.pop(action["as"])()

    def _max_live(self, action: dict[str, Any]) -> None:
        self._api("max concurrent handlers", ok=self._stage.most_asleep)

    # ---- what is left

    def _read_what_is_left(self) -> None:
        if self._closed:
            # Without its workflows: nothing is restored, so nothing goes on while we look.
            with suppress(EngineError):
                self._engine.close(force=True)
            self._engine = self._open()
        left_out = self._spec.get("no_final", ())
        for label, run in self._ids.items():
            if label not in left_out:
                self._recording.add("final", label=label, value=self._described(run))
        for workflow in self._spec.get("final_children", ()):
            for number, child in enumerate(reversed(self._engine.list_executions(workflow=workflow))):
                label = f"child:{workflow}{number or ''}"
                self._recording.add("final", label=label, value=self._described(child.id))

    def _described(self, run: str) -> dict[str, Any] | None:
        execution = self._engine.get_execution(run)
        if execution is None:
            return None
        return {
            "state": str(execution.state),
            "workflowName": execution.workflow_name,
            "input": execution.input,
            "signals": dict(execution.signals),
            "error": None if execution.error is None else str(execution.error),
            "rollback": None if execution.rollback is None else str(execution.rollback),
            "hasParent": execution.parent_id is not None,
            "steps": {
                name: {
                    "status": str(step.status),
                    "result": step.result,
                    "error": None if step.error is None else str(step.error),
                    "attempts": step.attempts,
                    "compensation": step.compensation,
                }
                for name, step in execution.steps.items()
            },
        }


def _call(verb: str, action: dict[str, Any]) -> str:
    arguments = {key: value for key, value in action.items() if key != "do"}
    return f"{verb} {json.dumps(arguments, separators=(',', ':'), ensure_ascii=False)}"


_ACTIONS: dict[str, Callable[[Player, dict[str, Any]], None]] = {
    "start": Player._start,
    "wait": Player._wait,
    "wait_log": Player._wait_log,
    "wait_event": Player._wait_event,
    "signal": Player._signal,
    "signal_child": Player._signal_child,
    "sleep": Player._sleep,
    "get": Player._get,
    "list": Player._list,
    "list_count": Player._list_count,
    "cleanup": Player._cleanup,
    "archive": Player._archive,
    "archived_count": Player._archived_count,
    "recover": Player._recover,
    "resume_comp": Player._resume_comp,
    "abandon_comp": Player._abandon_comp,
    "close": Player._close,
    "register": Player._register_again,
    "mutate": Player._mutate,
    "listener": Player._listener,
    "unlisten": Player._unlisten,
    "max_live": Player._max_live,
    "kill9": Player._kill,
}
