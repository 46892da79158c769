"""Definitions as data: a graph without its code, so that a run can carry it along.

A run walks the graph it began with, whatever becomes of the definition meanwhile: Temporal replays it against that, so
changing a workflow needs no patches. In the place of each function stands its `Code`: which node it belongs to, and
under which of the node's names; whoever runs it looks it up there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

from msgspec import NODEFAULT
from msgspec.structs import fields as struct_fields

from ..dsl.definition import Definition
from ..dsl.demands import AllOf, AnyOf, Quorum
from ..dsl.errors import DefinitionError
from ..dsl.gate import Reminder
from ..dsl.graph import Body, Node
from ..dsl.joining import FirstStrand, Tolerance
from ..dsl.nodes.branch import BranchNode
from ..dsl.nodes.for_each import ForEachNode
from ..dsl.nodes.loop import DoUntilNode, DoWhileNode
from ..dsl.nodes.map import MapNode
from ..dsl.nodes.parallel import ParallelNode
from ..dsl.nodes.pivot import PivotNode
from ..dsl.nodes.sleep import SleepNode
from ..dsl.nodes.step import StepNode
from ..dsl.nodes.sub_workflow import SubWorkflowNode
from ..dsl.nodes.wait_all import WaitAllNode
from ..dsl.nodes.wait_any import WaitAnyNode
from ..dsl.nodes.wait_for import WaitForNode
from ..dsl.policies import AttemptPolicy, Retry
from ..dsl.signals import Signal

__all__ = ["Code", "Found", "codes_of", "read", "write"]

_CLASSES: Final[dict[str, Any]] = {
    cls.__name__: cls
    for cls in (
        *(BranchNode, ForEachNode, DoUntilNode, DoWhileNode, MapNode, ParallelNode, PivotNode, SleepNode, StepNode),
        *(SubWorkflowNode, WaitAllNode, WaitAnyNode, WaitForNode),
        *(Body, Reminder, Tolerance, FirstStrand, Quorum, AnyOf, AllOf, Signal, AttemptPolicy, Retry),
    )
}

_OF_THE_WORKER: Final = frozenset({"input_schema", "output_schema", "returns", "on", "never_on", "payload", "executor"})
"""Fields that only whoever runs the code needs, who has the definition itself."""


class Code(NamedTuple):
    """Stands for a function of a node's.

    Attributes:
        way: The names on the way to the node, bodies' labels among them; its own last. Exclusive paths may share names.
        role: Name of its field, such as ``handler``, ``selector`` or ``reminder``.
    """

    way: tuple[str, ...]
    role: str

    def __call__(self, *_: Any) -> Any:
        """Refuse: code is run by an activity, never in a workflow."""
        raise AssertionError(self)


class Found(NamedTuple):
    """A function of a definition, and how it is tried."""

    function: Callable[..., Any]
    policy: AttemptPolicy


def write(definition: Definition) -> dict[str, Any]:
    """Return a definition as data that JSON can hold.

    Raises:
        DefinitionError: something in it cannot be carried along.
    """
    return {
        "name": definition.name,
        "version": definition.version,
        "fingerprint": definition.fingerprint,
        "timeout": definition.timeout,
        "body": _Writer().write(definition.body),
    }


def codes_of(definition: Definition) -> dict[Code, Found]:
    """Return every function of a definition under the code that stands for it."""
    writer = _Writer()
    writer.write(definition.body)
    return writer.found


class _Writer:
    """Writes what it is given, and notes which functions it has met."""

    def __init__(self) -> None:
        self.found: dict[Code, Found] = {}
        self._way: tuple[str, ...] = ()
        self._role = ""
        self._policy = AttemptPolicy()

    def write(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, datetime):
            return {"at": value.isoformat()}
        if isinstance(value, timedelta):
            return value.total_seconds()
        if _CLASSES.get(type(value).__name__) is type(value):
            return [type(value).__name__, self._record(value)]
        if isinstance(value, tuple):
            return {"all": [self._labelled(each) for each in value]}
        if callable(value):
            code = Code(self._way, self._role)
            self.found[code] = Found(value, self._policy)
            return {"code": code}
        msg = f"{self._role} of {'/'.join(self._way)} cannot be carried along by a Temporal workflow: {value!r}"
        raise DefinitionError(msg)

    def _labelled(self, value: Any) -> Any:
        """Write an element of a tuple; a body that is one of several stands behind its label."""
        way = self._way
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Body):  # noqa: PLR2004 - a pair
            self._way = (*way, value[0])
        written = self.write(value)
        self._way = way
        return written

    def _record(self, value: Any) -> dict[str, Any]:
        way, role, policy = self._way, self._role, self._policy
        cls: Any = type(value)
        written = {}
        for name, default in _fields(cls).items():
            each = getattr(value, name)
            if name in _OF_THE_WORKER or each is default or (each == default and not callable(each)):
                continue
            if isinstance(value, Node):
                self._way, self._role = (*way, value.name), name
                self._policy = getattr(value, "undo_policy" if name == "compensation" else "policy", policy)
            if isinstance(each, Body) and isinstance(value, Node):
                self._way = (*self._way, name)
            if isinstance(value, Reminder):
                self._policy = value.policy
            written[name] = self.write(each)
        self._way, self._role, self._policy = way, role, policy
        return written


@cache
def _fields(cls: Any) -> dict[str, Any]:
    """Return the names of a record's fields, each with its default, or with what no value is."""
    nothing = object()
    if is_dataclass(cls):
        return {field.name: nothing if field.default is MISSING else field.default for field in fields(cls)}
    if (names := getattr(cls, "_fields", None)) is not None:
        return {name: getattr(cls, "_field_defaults", {}).get(name, nothing) for name in names}
    return {field.name: nothing if field.default is NODEFAULT else field.default for field in struct_fields(cls)}


def read(written: dict[str, Any]) -> Definition:
    """Return a definition whose functions are `Code`."""
    return Definition(written["name"], written["version"], _read(written["body"]), None, (), written["timeout"])


def _read(value: Any) -> Any:
    match value:
        case [str() as name, dict() as given]:
            return _CLASSES[name](**{field: _read(each) for field, each in given.items()})
        case {"all": list() as values}:
            return tuple(map(_read, values))
        case {"code": [way, role]}:
            return Code(tuple(way), role)
        case {"at": str() as moment}:
            return datetime.fromisoformat(moment)
        case _:
            return value
