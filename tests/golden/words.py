"""The words of the recordings' language, and a reader that takes no others.

A word that the translator or the player passed over would be a scenario that was not played, and would pass. So a
recording is read here first, whole; what it says beyond these words is refused, with the place where it says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from perdure.dsl.errors import did_you_mean

__all__ = ["UnknownWord", "read"]

_STEP = {"retry", "timeout", "compensate", "inputSchema", "outputSchema"}
_LOOP = {"cond", "steps", "async", "opts"}

# Of each node: what it says besides its type, and what its options may be.
_NODES: dict[str, tuple[set[str], set[str]]] = {
    "step": ({"name", "do", "opts"}, _STEP),
    "branch": ({"on", "paths", "async"}, set()),
    "parallel": ({"steps"}, set()),
    "subWorkflow": ({"name", "input", "opts"}, {"timeout", "pollInterval"}),
    "waitFor": ({"event", "timeout"}, set()),
    "doUntil": (_LOOP, {"maxIterations"}),
    "doWhile": (_LOOP, {"maxIterations"}),
    "forEach": ({"items", "name", "do", "opts"}, _STEP | {"maxIterations", "concurrency"}),
    "map": ({"name", "do"}, set()),
    "pivot": (set(), set()),
}
_MAY_BE_LEFT_OUT = {"opts", "async", "timeout", "input"}

_BEHAVIOUR = {
    *("log", "sleep", "kill9_once", "fail_if", "msg", "fail_times", "fail", "fail_raw", "then", "log_after", "sync"),
    *("count", "return_ref", "return_refs", "return_keys", "return_ctx_fields", "return"),
}
_SOURCES = ({"const"}, {"ref"}, {"throw"})
_CONDITIONS = (
    *({"const"}, {"throw"}, {"iteration_gte"}, {"iteration_lt"}),
    *({"ref", "eq"}, {"ref", "gte"}, {"ref", "lt"}),
)
_SCHEMA = {"require", "coerce", "reject", "log"}
_TYPES = {"number", "string", "boolean", "object", "array"}

# Of each action: what it says besides what to do.
_ACTIONS: dict[str, set[str]] = {
    "start": {"wf", "as", "input", "count", "index_input"},
    "wait": {"run", "prefix", "states", "timeout"},
    "wait_log": {"entry", "timeout"},
    "wait_event": {"type", "step", "timeout"},
    "signal": {"run", "event", "payload", "no_payload"},
    "signal_child": {"wf", "event", "payload", "no_payload"},
    "sleep": {"ms"},
    "get": {"run", "label"},
    "list": {"wf", "state", "options"},
    "list_count": {"wf", "state", "options"},
    "cleanup": {"age", "states"},
    "archive": {"age", "states"},
    "archived_count": set(),
    "recover": set(),
    "resume_comp": {"run"},
    "abandon_comp": {"run"},
    "close": {"force"},
    "register": {"wf"},
    "mutate": {"wf"},
    "listener": {"mode", "type", "as", "run", "throws"},
    "unlisten": {"as"},
    "max_live": set(),
    "kill9": set(),
}
_MODES = {"on", "onAny", "subscribe"}
_SPEC = {"workflows", "phases", "engine", "noDataPath", "no_final", "final_children"}
_PHASE = {"actions", "expect_kill", "workflows", "skip"}
_ENGINE = {"concurrency", "queueName"}


class UnknownWord(Exception):
    """A recording says something that nobody here understands."""


def read(spec: dict[str, Any]) -> None:
    """Read a whole spec.

    Raises:
        UnknownWord: it says something that is not in the language; the message says what, and where.
    """
    _known(spec, _SPEC, "the spec")
    _known(spec.get("engine", {}), _ENGINE, "the engine's options")
    for workflow in spec["workflows"]:
        _workflow(workflow)
    for number, phase in enumerate(spec["phases"]):
        where = f"phase {number}"
        _known(phase, _PHASE, where)
        for workflow in phase.get("workflows", ()):
            _workflow(workflow)
        for place, action in enumerate(phase["actions"]):
            _action(action, f"{where}, action {place}", mortal=bool(phase.get("expect_kill")))


def _known(said: Mapping[str, Any], words: Collection[str], where: str) -> None:
    for word in said:
        if word not in words:
            msg = f"{where}: unknown word {word!r}{did_you_mean(word, words)}"
            raise UnknownWord(msg)


def _one_of(value: Any, words: Collection[str], where: str) -> None:
    if value not in words:
        msg = f"{where}: {value!r} is none of them{did_you_mean(str(value), words)}"
        raise UnknownWord(msg)


def _workflow(spec: dict[str, Any]) -> None:
    _known(spec, {"name", "nodes"}, f"workflow {spec.get('name')!r}")
    _nodes(spec["nodes"], f"workflow {spec['name']!r}")


def _nodes(nodes: list[dict[str, Any]], where: str) -> None:
    for number, node in enumerate(nodes):
        _node(node, f"{where}, node {number}")


def _node(node: dict[str, Any], where: str) -> None:
    kind = node.get("type")
    _one_of(kind, _NODES, f"{where}: type")
    where = f"{where} ({kind} {node['name']!r})" if "name" in node else f"{where} ({kind})"
    words, options = _NODES[str(kind)]
    _known(node, {"type", *words}, where)
    if missing := words - _MAY_BE_LEFT_OUT - node.keys():
        msg = f"{where}: it does not say {min(missing)!r}"
        raise UnknownWord(msg)
    _options(node.get("opts", {}), options, f"{where}: opts")
    for word in ("on", "items", "input"):
        if word in node:
            _shape(node[word], _SOURCES, f"{where}: {word}")
    if "cond" in node:
        _condition(node["cond"], f"{where}: cond")
    if "do" in node:
        _behaviour(node["do"], f"{where}: do")
    _nodes(node.get("steps", []), where)
    for label, path in node.get("paths", ()):
        _nodes(path, f"{where}, path {label!r}")


def _options(options: dict[str, Any], words: set[str], where: str) -> None:
    _known(options, words, where)
    if "compensate" in options:
        _behaviour(options["compensate"], f"{where}: compensate")
    for word in options.keys() & {"inputSchema", "outputSchema"}:
        _known(options[word], _SCHEMA, f"{where}: {word}")
        for key, name in options[word].get("require", {}).items():
            _one_of(name, _TYPES, f"{where}: {word}: the type of {key!r}")


def _behaviour(do: dict[str, Any], where: str) -> None:
    _known(do, _BEHAVIOUR, where)
    if "fail_if" in do:
        _condition(do["fail_if"], f"{where}: fail_if")
    if "return_keys" in do:
        _one_of(do["return_keys"], ("steps", "signals"), f"{where}: return_keys")
    if "then" in do:
        _behaviour(do["then"], f"{where}: then")


def _condition(spec: Any, where: str) -> None:
    if not isinstance(spec, bool):
        _shape(spec, _CONDITIONS, where)


def _shape(spec: Any, shapes: Collection[set[str]], where: str) -> None:
    if not isinstance(spec, dict) or spec.keys() not in shapes:
        known = ", ".join(" with ".join(sorted(shape, reverse=True)) for shape in shapes)
        msg = f"{where}: {spec!r} says none of: {known}"
        raise UnknownWord(msg)


def _action(action: dict[str, Any], where: str, *, mortal: bool) -> None:
    _one_of(action.get("do"), _ACTIONS, f"{where}: do")
    verb = action["do"]
    _known(action, {"do", *_ACTIONS[verb]}, f"{where} ({verb})")
    if verb == "listener":
        _one_of(action["mode"], _MODES, f"{where} ({verb}): mode")
    if verb == "kill9" and not mortal:
        msg = f"{where}: kill9 in a phase that does not say expect_kill"
        raise UnknownWord(msg)
