"""The translator: a recorded ``spec`` becomes workflows of ours, through the public API alone.

It knows node types and handler behaviours, never a scenario: whatever a recording says in its ``spec_language`` is
built here, and what it says beyond that was refused before, see ``words.py``. Milliseconds become seconds, camelCase
becomes snake_case, ``undefined`` becomes None.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from perdure import Context, Workflow

__all__ = ["Error", "Stage", "Translator"]

_MISSING: Any = object()
_BLANK = re.compile(r"\{([^{}]+)\}")
_TYPES: dict[str, tuple[type, ...]] = {
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
_FIELDS = {"executionId": "execution_id", "input": "input", "signals": "signals", "steps": "steps"}
_RETURNS = {"count", "return_ref", "return_refs", "return_keys", "return_ctx_fields", "return"}


class Error(Exception):
    """What a handler of a recording raises."""


class Stage(Protocol):
    """What handlers can do besides returning a value."""

    def log(self, text: str) -> None:
        """Record a side effect."""

    def acting(self) -> AbstractContextManager[None]:
        """Count a handler as long as it acts."""

    def here(self, pause: Pause) -> None:
        """Make a ``def`` handler pause."""

    async def pause(self, pause: Pause) -> None:
        """Make an ``async def`` handler pause."""


class Pause:
    """A sleep of so many milliseconds, or for ever until the process is killed, the first time under this name."""

    def __init__(self, ctx: Context[Any], milliseconds: float | None = None, *, kill: str | None = None) -> None:
        self._ctx = ctx
        self.milliseconds = milliseconds
        self.kill = kill

    @property
    def awaited(self) -> bool:
        """Whether anybody still waits for the handler that sleeps."""
        return not self._ctx.cancelled


Act = Generator[Pause, None, Any]


class Translator:
    """Builds workflows whose handlers act on one stage; counts of calls are kept per run."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._calls: Counter[tuple[str, ...]] = Counter()

    def workflow(self, spec: dict[str, Any]) -> Workflow[Any, Any]:
        """Build the workflow that a spec describes.

        Raises:
            DefinitionError: the engine refuses it.
        """
        return self._nodes(Workflow(spec["name"]), spec["nodes"])

    def _nodes(self, builder: Workflow[Any, Any], nodes: list[dict[str, Any]]) -> Workflow[Any, Any]:
        for node in nodes:
            builder = _NODES[node["type"]](self, builder, node)
        return builder

    def _block(self, nodes: list[dict[str, Any]]) -> Callable[[Workflow[Any, Any]], Workflow[Any, Any]]:
        return lambda builder: self._nodes(builder, nodes)

    # ---- nodes

    def _step(self, builder: Workflow[Any, Any], node: dict[str, Any]) -> Workflow[Any, Any]:
        return builder.step(node["name"], self._handler(node["do"]), **self._options(node))

    def _branch(self, builder: Workflow[Any, Any], node: dict[str, Any]) -> Workflow[Any, Any]:
        builder = builder.branch(self._source(node["on"], wait=node.get("async", False)))
        for label, nodes in node["paths"]:
            builder = builder.path(label, self._block(nodes))
        return builder

    def _parallel(self, builder: Workflow[Any, Any], node: dict[str, Any]) -> Workflow[Any, Any]:
        return builder.parallel(self._block(node["steps"]))

    def _sub_workflow(self, builder: Workflow[Any, Any], node: dict[str, Any]) -> Workflow[Any, Any]:
        # The reference's options here say how it polls, and for how long; nothing polls here.
        mapper = self._source(node["input"]) if "input" in node else None
        return builder.sub_workflow(node["name"], mapper)

    def _wait_for(self, builder: Workflow[Any, Any], node: dict[str, Any]) -> Workflow[Any, Any]:
        return builder.wait_for(node["event"], timeout=_seconds(node.get("timeout")))

    def _do_until(self, builder: Workflow[Any, Any], node: dict[str, Any]) -> Workflow[Any, Any]:
        return builder.do_until(self._condition(node), self._block(node["steps"]), **_limit(node))

    def _do_while(self, builder: Workflow[Any, Any], node: dict[str, Any]) -> Workflow[Any, Any]:
        return builder.do_while(self._condition(node), self._block(node["steps"]), **_limit(node))

    def _for_each(self, builder: Workflow[Any, Any], node: dict[str, Any]) -> Workflow[Any, Any]:
        options = self._options(node) | _limit(node)
        return builder.for_each(self._source(node["items"]), node["name"], self._handler(node["do"]), **options)

    def _map(self, builder: Workflow[Any, Any], node: dict[str, Any]) -> Workflow[Any, Any]:
        return builder.map(node["name"], self._handler({"sync": True} | node["do"]))

    def _pivot(self, builder: Workflow[Any, Any], node: dict[str, Any]) -> Workflow[Any, Any]:
        return builder.pivot()

    # ---- what is said about a node

    def _options(self, node: dict[str, Any]) -> dict[str, Any]:
        options = {}
        for key, value in node.get("opts", {}).items():
            match key:
                case "retry":
                    options["retry"] = value
                case "timeout":
                    options["timeout"] = _seconds(value)
                case "compensate":
                    options["compensate"] = self._handler(value, role="undo")
                case "inputSchema" | "outputSchema":
                    options[f"{key.removesuffix('Schema')}_schema"] = Schema(value, self._stage)
                case _:
                    pass  # a loop's, not a step's
        return options

    def _source(self, spec: dict[str, Any], *, wait: bool = False) -> Callable[[Context[Any]], Any]:
        def look(ctx: Context[Any]) -> Any:
            if "throw" in spec:
                raise Error(spec["throw"])
            return spec["const"] if "const" in spec else _value(_find(ctx, spec["ref"]))

        async def look_and_wait(ctx: Context[Any]) -> Any:
            return look(ctx)

        return look_and_wait if wait else look

    def _condition(self, node: dict[str, Any]) -> Callable[[Context[Any], int], Any]:
        spec = node["cond"]

        def holds(ctx: Context[Any], turn: int) -> Any:
            return _holds(spec, ctx, turn)

        async def holds_and_wait(ctx: Context[Any], turn: int) -> Any:
            return _holds(spec, ctx, turn)

        return holds_and_wait if node.get("async") else holds

    # ---- handlers

    def _handler(self, do: dict[str, Any], role: str = "do") -> Callable[[Context[Any]], Any]:
        stage = self._stage

        def handle(ctx: Context[Any]) -> Any:
            act = self._act(do, ctx, role)
            with stage.acting():
                try:
                    while True:
                        stage.here(next(act))
                except StopIteration as stop:
                    return stop.value

        async def handle_and_wait(ctx: Context[Any]) -> Any:
            act = self._act(do, ctx, role)
            with stage.acting():
                try:
                    while True:
                        await stage.pause(next(act))
                except StopIteration as stop:
                    return stop.value

        return handle if do.get("sync") else handle_and_wait

    def _act(self, do: dict[str, Any], ctx: Context[Any], role: str) -> Act:
        """Do everything a behaviour says, in the order its language gives; one within another counts for itself."""
        run = (ctx.execution_id, role, ctx.step_name)
        if "log" in do:
            self._stage.log(_fill(do["log"], ctx))
        if "sleep" in do:
            yield Pause(ctx, do["sleep"])
        if "kill9_once" in do:
            yield Pause(ctx, kill=do["kill9_once"])
        if "fail_if" in do and _holds(do["fail_if"], ctx, ctx.turn or 0):
            raise Error(do.get("msg", "fail_if"))
        if "fail_times" in do and self._count("fails", *run) <= do["fail_times"]:
            raise Error(do.get("msg", "transient"))
        if "fail" in do:
            raise Error(do["fail"])
        if "fail_raw" in do:
            raw = do["fail_raw"]
            raise Error(raw if isinstance(raw, str) else _json(raw))
        nested = (yield from self._act(do["then"], ctx, f"{role}, then")) if "then" in do else None
        if "log_after" in do:
            self._stage.log(_fill(do["log_after"], ctx))
        return self._result(do, ctx) if do.keys() & _RETURNS else nested

    def _result(self, do: dict[str, Any], ctx: Context[Any]) -> Any:
        if "count" in do:
            return {"n": self._count("count", ctx.execution_id, do["count"])}
        if "return_ref" in do:
            return _value(_find(ctx, do["return_ref"]))
        if "return_refs" in do:
            return {key: _value(_find(ctx, path)) for key, path in do["return_refs"].items()}
        if "return_keys" in do:
            return sorted({"steps": ctx.steps, "signals": ctx.signals}[do["return_keys"]])
        if "return_ctx_fields" in do:
            return sorted(theirs for theirs, ours in _FIELDS.items() if hasattr(ctx, ours))
        return do["return"]

    def _count(self, *what: str) -> int:
        self._calls[what] += 1
        return self._calls[what]


_NODES: dict[str, Callable[[Translator, Workflow[Any, Any], dict[str, Any]], Workflow[Any, Any]]] = {
    "step": Translator._step,
    "branch": Translator._branch,
    "parallel": Translator._parallel,
    "subWorkflow": Translator._sub_workflow,
    "waitFor": Translator._wait_for,
    "doUntil": Translator._do_until,
    "doWhile": Translator._do_while,
    "forEach": Translator._for_each,
    "map": Translator._map,
    "pivot": Translator._pivot,
}


class Schema:
    """A recording's schema: asserts types, rejects, or adds to the value."""

    def __init__(self, spec: dict[str, Any], stage: Stage) -> None:
        self._spec = spec
        self._stage = stage

    def parse(self, value: Any) -> Any:
        """Return the value as the handler, or the database, shall have it."""
        if "log" in self._spec:
            self._stage.log(self._spec["log"])
        if "reject" in self._spec:
            raise Error(self._spec["reject"])
        for key, name in self._spec.get("require", {}).items():
            found = value.get(key, _MISSING) if isinstance(value, Mapping) else _MISSING
            if not isinstance(found, _TYPES[name]) or isinstance(found, bool) != (name == "boolean"):
                raise Error(f"{key}: expected {name}, got {_type_name(found)}")
        return {**value, **self._spec["coerce"]} if "coerce" in self._spec else value


def _holds(spec: Any, ctx: Context[Any], turn: int) -> Any:
    if isinstance(spec, bool):
        return spec
    match spec:
        case {"const": value}:
            return value
        case {"throw": message}:
            raise Error(message)
        case {"iteration_gte": bound}:
            return turn >= bound
        case {"iteration_lt": bound}:
            return turn < bound
        case {"ref": path, "eq": value}:
            return _value(_find(ctx, path)) == value
        case {"ref": path, "gte": bound}:
            return (found := _find(ctx, path)) is not _MISSING and found >= bound
        case {"ref": path, "lt": bound}:
            return (found := _find(ctx, path)) is _MISSING or found < bound
    raise KeyError(str(spec))


def _find(ctx: Context[Any], path: list[str]) -> Any:
    roots: dict[str, Callable[[], Any]] = {
        "input": lambda: ctx.input,
        "steps": lambda: ctx.steps,
        "signals": lambda: ctx.signals,
        "executionId": lambda: ctx.execution_id,
    }
    found = roots[path[0]]() if path[0] in roots else _MISSING
    for key in path[1:]:
        if isinstance(found, Mapping):
            found = found.get(key, _MISSING)
        elif isinstance(found, list) and str(key).isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return _MISSING
    return found


def _value(found: Any) -> Any:
    if found is _MISSING:
        return None
    return dict(found) if isinstance(found, Mapping) else found


def _fill(text: str, ctx: Context[Any]) -> str:
    return _BLANK.sub(lambda blank: _text(_find(ctx, blank[1].split("."))), text)


def _text(value: Any) -> str:
    if value is _MISSING:
        return "undefined"
    return value if isinstance(value, str) else _json(_value(value))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _type_name(value: Any) -> str:
    if value is _MISSING:
        return "undefined"
    return next((name for name, types in reversed(_TYPES.items()) if isinstance(value, types)), "null")


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _limit(node: dict[str, Any]) -> dict[str, Any]:
    options = node.get("opts", {})
    names = {"maxIterations": "max_iterations", "concurrency": "concurrency"}
    return {ours: options[theirs] for theirs, ours in names.items() if theirs in options}
