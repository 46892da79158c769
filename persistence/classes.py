"""Which classes' instances are storable, how they are taken apart, and how they are put together again.

Dataclasses, attrs classes, msgspec structs, pydantic models, named tuples and enums. A text names a class; it is only
ever looked up among the classes that this process has *registered*: named in an annotation of a workflow, standing in
a module of its functions, or given to `register_type`. Nothing is imported because a text says so. What is not
registered is not stored either, since it would come back as plain data after a restart. An instance is rebuilt from
its state the way ``copy`` does it, without its constructor, so neither ``__post_init__`` nor a validator runs on data
that comes from the database.

This file must never know how a value is written as text.
"""

from __future__ import annotations

import dataclasses
import importlib
import reprlib
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar
from weakref import WeakSet

import msgspec

from ..dsl.errors import SchemaError

__all__ = [
    "Shape",
    "annotations_of",
    "build_instance",
    "build_member",
    "home_of",
    "is_known",
    "qualified_name",
    "real_class",
    "register_namespace",
    "register_type",
    "shape_of",
    "shown",
]

T = TypeVar("T")

State = tuple[dict[str, Any], dict[str, Any]]
"""An instance's fields, and the rest of what it holds, which is empty for most."""

_MISSING: Final = object()
_HEAP_TYPE: Final = 1 << 9
_NO_DATA: Final = (object, Generic, Protocol)


class Shape(NamedTuple):
    """How instances of one class are taken apart and put together.

    Attributes:
        cls: The class.
        name: What texts call it.
        take_apart: From an instance to its fields and the rest of its state; raises ValueError where that would lose
            something.
        put_together: From fields and rest to an instance.
    """

    cls: type
    name: str
    take_apart: Callable[[Any], State]
    put_together: Callable[[dict[str, Any], dict[str, Any]], object]


_brief: Final = reprlib.Repr()
_brief.maxstring = _brief.maxother = 60

_shapes: dict[type, Shape] = {}
_no_data: Final[WeakSet[type]] = WeakSet()
"""Classes that cannot be stored: modules are full of them, and tests open engines by the thousand."""

_registered: dict[str, type] = {}


def register_type(annotation: T) -> T:
    """Let texts name this class, or the classes that this annotation is made of, and those of their fields.

    Usable as a decorator. What cannot be stored, or is no class, is passed over.

    Returns:
        What it was given.

    Example:
        >>> @register_type
        ... @dataclasses.dataclass
        ... class Order:
        ...     sku: str
    """
    waiting: list[Any] = [annotation]
    while waiting:
        part = waiting.pop()
        waiting.extend(typing.get_args(part))
        part = typing.get_origin(part) or part
        if not isinstance(part, type):
            continue
        if not issubclass(part, Enum) and shape_of(part) is None:
            continue
        name = qualified_name(part)
        if (former := _registered.get(name)) is not part:
            _registered[name] = part
            if former is not None:
                _shapes.pop(former, None)  # redefined, as classes inside functions are: keep nothing of the former
            waiting.extend(annotations_of(part).values())
    return annotation


def register_namespace(namespace: Mapping[str, object]) -> None:
    """Register every storable class among these names, such as a handler's globals.

    So what the handler may return without an annotation is known after a restart, too.

    Only classes that are data by their kind count: enums, dataclasses, structs, models, named tuples.
    """
    for item in list(namespace.values()):
        if isinstance(item, type) and item not in _no_data:
            register_type(item)
            if shape_of(item) is None and not issubclass(item, Enum):
                _no_data.add(item)


@lru_cache(maxsize=4096)
def _resolve(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def is_known(cls: type) -> bool:
    """Tell whether texts may name this class, so that its instances come back after a restart, too.

    One that was defined again, as classes inside functions are, takes the place of the former.
    """
    known = _registered.get(qualified_name(cls))
    if known is not None and known is not cls:
        register_type(cls)
    return known is not None


def build_instance(name: str, fields: dict[str, Any], rest: dict[str, Any]) -> object:
    """Put an instance of the class of this name together, or return its fields when no such class is registered.

    Raises:
        SchemaError: The class has changed so that these fields do not make an instance of it.
    """
    cls = _registered.get(name)
    shape = shape_of(cls) if cls else None
    return shape.put_together(fields, rest) if shape else fields


def build_member(name: str, value: object) -> object:
    """Return the member with this value of the enum of this name, or the value when no such enum is registered.

    Raises:
        SchemaError: The enum no longer has the value.
    """
    cls = _registered.get(name)
    if cls is None or not issubclass(cls, Enum):
        return value
    try:
        return cls(value)
    except ValueError as error:
        raise SchemaError(f"a stored {cls.__qualname__} has a value that the enum no longer has: {error}") from error


def qualified_name(cls: type) -> str:
    """Return the name of a class as texts spell it, such as ``shop.orders:Order.Line``."""
    return f"{home_of(cls)}:{cls.__qualname__}"


def home_of(cls: type) -> str:
    """Return the module of a class; that of the program itself has another name in its worker processes."""
    return "__main__" if cls.__module__ == "__mp_main__" else cls.__module__


def shown(value: object) -> str:
    """Return a value as a message shows it: short, however large it is, and even if its own ``repr`` raises."""
    return _brief.repr(value)


def real_class(cls: type[T]) -> type[T]:
    """Return the class of the standard library behind one that freezegun may have put in its place."""
    return next(base for base in cls.__mro__ if not base.__module__.startswith("freezegun"))


def annotations_of(cls: type) -> dict[str, Any]:
    """Return the types of a class's fields; none where they cannot be resolved."""
    try:
        return _resolve(cls)
    except (NameError, TypeError, AttributeError):  # names that exist for type checkers only
        return {}


def shape_of(cls: type) -> Shape | None:
    """Return how instances of a class are taken apart, or None when they are not storable."""
    try:
        return _shapes[cls]
    except KeyError:
        shape = _make_shape(cls)
        if shape is not None:
            _shapes[cls] = shape
        return shape


def _make_shape(cls: type) -> Shape | None:
    if issubclass(cls, msgspec.Struct):
        return _struct(cls)
    if issubclass(cls, tuple):
        return _named_tuple(cls) if hasattr(cls, "_fields") and hasattr(cls, "_field_defaults") else None
    if hasattr(cls, "__pydantic_fields__") and hasattr(cls, "__pydantic_fields_set__"):
        return _model(cls)
    if any(not base.__flags__ & _HEAP_TYPE for base in cls.__mro__ if base not in _NO_DATA):
        return None  # data of a built-in base, such as dict or Exception, is in no field
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls)
    if hasattr(cls, "__attrs_attrs__"):
        return _attrs(cls)
    return None


def _lacking(cls: type, field: str) -> SchemaError:
    return SchemaError(
        f"a stored {cls.__qualname__} lacks the field {field!r}, which has no default:"
        " give the field one, or finish the runs that hold such values first"
    )


def _state_of(value: object) -> dict[str, Any]:
    """Return all attributes an instance holds: those of its fields and any that were set beside them."""
    state: Any = object.__getstate__(value)
    if isinstance(state, tuple):  # slots, beside the dictionary or instead of it
        return {**(state[0] or {}), **state[1]}
    return state or {}


def _restore(cls: type, state: dict[str, Any]) -> object:
    instance: object = object.__new__(cls)
    slots = {slot for base in cls.__mro__ for slot in _slots_of(base)}
    for name in slots & state.keys():
        object.__setattr__(instance, name, state.pop(name))
    if state:
        _set_beside(instance, state)
    return instance


def _set_beside(instance: object, state: dict[str, Any]) -> None:
    try:
        # Past any property or __setattr__: what a text names must never lead into code.
        vars(instance).update(state)
    except TypeError:
        raise SchemaError(
            f"a stored {type(instance).__qualname__} has fields that the class no longer has: {', '.join(state)}"
        ) from None


def _slots_of(base: type) -> tuple[str, ...]:
    slots = base.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _dataclass(cls: type) -> Shape:
    fields = dataclasses.fields(cls)

    def put_together(state: dict[str, Any], rest: dict[str, Any]) -> object:
        for field in fields:
            if field.name not in state:
                if field.default_factory is not dataclasses.MISSING:
                    state[field.name] = field.default_factory()
                elif field.default is not dataclasses.MISSING:
                    state[field.name] = field.default
                elif field.init:
                    raise _lacking(cls, field.name)
        return _restore(cls, state)

    return Shape(cls, qualified_name(cls), lambda value: (_state_of(value), {}), put_together)


def _attrs(cls: type) -> Shape:
    attrs: Any = importlib.import_module("attrs")

    def take_apart(value: object) -> State:
        state = _state_of(value)
        # A hash of strings is of use in one process only; attrs computes it again from None.
        return {name: None if name == "_attrs_cached_hash" else item for name, item in state.items()}, {}

    def put_together(state: dict[str, Any], rest: dict[str, Any]) -> object:
        for field in attrs.fields(cls):
            if field.name not in state:
                default = field.default
                if default is attrs.NOTHING or (isinstance(default, attrs.Factory) and default.takes_self):
                    if field.init:
                        raise _lacking(cls, field.name)
                else:
                    state[field.name] = default.factory() if isinstance(default, attrs.Factory) else default
        return _restore(cls, state)

    return Shape(cls, qualified_name(cls), take_apart, put_together)


def _struct(cls: type[msgspec.Struct]) -> Shape:
    # Not by `msgspec.structs.fields`, which resolves annotations: some have names that exist for type checkers only.
    defaults = dict(zip(reversed(cls.__struct_fields__), reversed(cls.__struct_defaults__), strict=False))
    names = frozenset(cls.__struct_fields__)
    required = {name for name in names if defaults.get(name, msgspec.NODEFAULT) is msgspec.NODEFAULT}

    def put_together(state: dict[str, Any], rest: dict[str, Any]) -> object:
        if lacking := required - state.keys():
            raise _lacking(cls, min(lacking))
        fields = {name: state.pop(name) for name in names & state.keys()}
        # A struct can be made by its constructor only, so a __post_init__ runs; the fields are then set to what was
        # stored.
        instance = cls(**fields)
        for name, item in fields.items():
            msgspec.structs.force_setattr(instance, name, item)
        if state:
            _set_beside(instance, state)
        return instance

    return Shape(cls, qualified_name(cls), lambda value: (_state_of(value), {}), put_together)


def _named_tuple(cls: Any) -> Shape:
    names: tuple[str, ...] = cls._fields

    def take_apart(value: tuple[Any, ...]) -> State:
        if getattr(value, "__dict__", None) or len(value) != len(names):
            raise ValueError("is a named tuple that holds more than its fields")
        return dict(zip(names, tuple(value), strict=True)), {}

    def put_together(state: dict[str, Any], rest: dict[str, Any]) -> object:
        for name in names:
            if name not in state and name not in cls._field_defaults:
                raise _lacking(cls, name)
        known = {**cls._field_defaults, **state}
        return tuple.__new__(cls, [known.pop(name) for name in names])

    return Shape(cls, qualified_name(cls), take_apart, put_together)


def _model(cls: Any) -> Shape:
    # pydantic is an option: nothing of it is imported here.

    def take_apart(value: Any) -> State:
        state = value.__getstate__()
        fields, given = state["__dict__"], state["__pydantic_fields_set__"]
        rest: dict[str, Any] = {}
        if given != fields.keys():
            rest["given"] = sorted(given)
        if state["__pydantic_extra__"]:
            rest["extra"] = state["__pydantic_extra__"]
        if state["__pydantic_private__"]:
            rest["private"] = state["__pydantic_private__"]
        return fields, rest

    def put_together(state: dict[str, Any], rest: dict[str, Any]) -> object:
        given = set(rest.get("given", state))
        for name, field in cls.__pydantic_fields__.items():
            if name not in state:
                if field.is_required():
                    raise _lacking(cls, name)
                state[name] = field.get_default(call_default_factory=True, validated_data=state)
        instance = cls.__new__(cls)
        object.__setattr__(instance, "__dict__", state)
        object.__setattr__(instance, "__pydantic_fields_set__", given)
        extra: dict[str, Any] | None = {} if cls.model_config.get("extra") == "allow" else None
        object.__setattr__(instance, "__pydantic_extra__", rest.get("extra", extra))
        private: dict[str, Any] | None = {} if cls.__private_attributes__ else None
        object.__setattr__(instance, "__pydantic_private__", rest.get("private", private))
        return instance

    return Shape(cls, qualified_name(cls), take_apart, put_together)
