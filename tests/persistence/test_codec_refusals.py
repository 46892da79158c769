"""What would come back as something else is refused, with its place and its type; what a text names is never run."""

from __future__ import annotations

import dataclasses
import enum
import subprocess
import sys
import threading
from collections import OrderedDict, UserDict, defaultdict
from datetime import datetime, timedelta, tzinfo
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from perdure.dsl.errors import NotStorable, SchemaError, StoreCorrupt
from perdure.persistence.classes import register_namespace
from perdure.persistence.codec import decode, encode, register_type, split


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Sequence(list[int]):
    pass


class Mapping(dict[str, int]):
    pass


class Pair(tuple[int, int]):
    __slots__ = ()


class Plain:
    pass


class Zone(tzinfo):
    def tzname(self, moment: datetime | None) -> str:
        return "Zone"

    def dst(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(0)


class Moment(datetime):
    pass


@dataclasses.dataclass
class DictWithFields(dict[str, int]):
    name: str = ""


class Odd(enum.Enum):
    NAN = float("nan")
    FUNCTION = object()


@register_type
@dataclasses.dataclass
class Holder:
    lock: Any


class Unhelpful:
    def __repr__(self) -> str:
        raise RuntimeError("no name for you")


cycle: list[Any] = []
cycle.append({"again": cycle})
deep: list[Any] = []
for _ in range(10_000):
    deep = [deep]


@pytest.mark.parametrize(
    ("value", "path", "type_name"),
    [
        (object(), "$", "builtins.object"),
        ({"lines": [1, {"price": Fraction(1, 3)}]}, "$.lines[1].price", "fractions.Fraction"),
        ((x for x in [1]), "$", "builtins.generator"),
        ([threading.Lock()], "$[0]", "_thread.lock"),
        (Holder(threading.Lock()), "$.lock", "_thread.lock"),
        (Text("a"), "$", f"{__name__}.Text"),
        ({Text("a"): 1}, "$.a", f"{__name__}.Text"),
        (Whole(1), "$", f"{__name__}.Whole"),
        ({"n": Whole(1)}, "$.n", f"{__name__}.Whole"),
        (Sequence(), "$", f"{__name__}.Sequence"),
        (Mapping(), "$", f"{__name__}.Mapping"),
        (Pair((1, 2)), "$", f"{__name__}.Pair"),
        (UserDict(), "$", "collections.UserDict"),
        (DictWithFields(), "$", f"{__name__}.DictWithFields"),
        (defaultdict(lambda: 1), "$", "collections.defaultdict"),
        (OrderedDict(a=print), "$.a", "builtins.builtin_function_or_method"),
        ({("a", print): 1}, "$[('a', <built-in function print>)][1]", "builtins.builtin_function_or_method"),
        (Plain(), "$", f"{__name__}.Plain"),
        (SimpleNamespace(a=1), "$", "types.SimpleNamespace"),
        (Plain, "$", "builtins.type"),
        (range(3), "$", "builtins.range"),
        (memoryview(b""), "$", "builtins.memoryview"),
        (1j, "$", "builtins.complex"),
        (ValueError("x"), "$", "builtins.ValueError"),
        (Moment(2024, 1, 1), "$", f"{__name__}.Moment"),
        (datetime(2024, 1, 1, tzinfo=Zone()), "$", "datetime.datetime"),
        (Odd.NAN, "$", f"{__name__}.Odd"),
        (Odd.FUNCTION, "$.value", "builtins.object"),
        ([1, Unhelpful()], "$[1]", f"{__name__}.Unhelpful"),
        (sys.version_info, "$", "sys.version_info"),
    ],
    ids=lambda item: item if isinstance(item, str) else type(item).__name__,
)
def test_what_cannot_come_back_exactly_is_refused_by_place_and_type(value: Any, path: str, type_name: str) -> None:
    with pytest.raises(NotStorable) as refusal:
        encode(value)
    assert refusal.value.path == path
    assert refusal.value.type_name == type_name
    assert path in str(refusal.value)


@pytest.mark.parametrize("value", [cycle, deep, [[]] * 2 and {"a": deep}], ids=["cycle", "depth", "depth in a dict"])
def test_cycles_and_bottomless_values_are_refused(value: Any) -> None:
    with pytest.raises(NotStorable, match="deeper than 100 levels, or contains itself"):
        encode(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nul",
        "1e999",
        '{"$unknown":1}',
        '{"$datetime":"yesterday"}',
        '{"$datetime":["2024-01-01T00:00:00","../../etc/passwd",0]}',
        '{"$datetime":["2024-01-01T00:00:00","Nowhere/Land",0]}',
        '{"$datetime":["2024-01-01T00:00:00","Europe",0]}',
        '{"$datetime":["2024-01-01T00:00:00","\\u0000",0]}',
        '{"$datetime":{}}',
        '{"$tuple":5}',
        '{"$map":[[1]]}',
        '{"$int":"x"}',
        '{"$bytes":1}',
        '{"$decimal":"one"}',
        '{"$object":[]}',
        '{"$object":[["unhashable"],{}]}',
        '{"$path":["os.system","ls"]}',
        '{"$defaultdict":["eval",[]]}',
        '{"$float":[]}',
        "[" * 100_000,
    ],
)
def test_text_that_is_not_ours_is_called_corrupt(text: str) -> None:
    with pytest.raises(StoreCorrupt):
        decode(text)


@pytest.mark.parametrize("text", ['{"a":1}', "1", '"[]"', '{"$set":[1]}', "null"])
def test_only_lists_and_tuples_can_be_split(text: str) -> None:
    with pytest.raises(SchemaError, match="list or tuple"):
        split(text)


def test_reading_a_value_never_imports_or_calls_what_it_names() -> None:
    code = """
import sys
from perdure.persistence.codec import decode
before = set(sys.modules)
assert decode('{"$object":["antigravity:Gravity",{"x":{"$tuple":[1]}}]}') == {"x": (1,)}
assert decode('{"$enum":["this:Zen","a"]}') == "a"
assert decode('{"$object":["os:system",{"command":"exit 3"}]}') == {"command": "exit 3"}
assert decode('{"$set":[{"$object":["a:B",{}]}]}') == [{}]
assert decode('{"$map":[[{"$object":["a:B",{}]},1]]}') == [[{}, 1]]
assert decode('{"$ordered":[[{"$object":["a:B",{}]},1]]}') == [[{}, 1]]
assert set(sys.modules) == before, set(sys.modules) - before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@dataclasses.dataclass
class Item:
    price: int


@dataclasses.dataclass
class Cart:
    items: list[Item]
    owner: Item | None = None


class Size(enum.Enum):
    SMALL = "s"


class Guarded:
    """Would run code if a stored text could reach its property."""

    touched = False


@dataclasses.dataclass
class WithProperty:
    name: str

    @property
    def trap(self) -> str:
        return "untouched"

    @trap.setter
    def trap(self, value: str) -> None:
        Guarded.touched = True


def test_an_annotation_registers_the_classes_of_the_fields_too() -> None:
    text = f'{{"$object":["{__name__}:Item",{{"price":3}}]}}'
    register_type(dict[str, Cart | None])
    assert decode(text) == Item(3)


def test_a_namespace_registers_the_data_classes_in_it() -> None:
    register_namespace({"Size": Size, "print": print, "Plain": Plain, "x": 3})
    assert decode(f'{{"$enum":["{__name__}:Size","s"]}}') is Size.SMALL
    assert decode(f'{{"$object":["{__name__}:Plain",{{}}]}}') == {}


def test_stored_fields_never_reach_a_property() -> None:
    register_type(WithProperty)
    decode(f'{{"$object":["{__name__}:WithProperty",{{"name":"a","trap":"b"}}]}}')
    assert not Guarded.touched


def test_a_field_that_was_added_later_takes_its_default() -> None:
    register_type(Cart)
    assert decode(f'{{"$object":["{__name__}:Cart",{{"items":[]}}]}}') == Cart([], None)


def test_a_field_that_was_added_without_a_default_is_named() -> None:
    register_type(Cart)
    with pytest.raises(SchemaError, match="lacks the field 'items'"):
        decode(f'{{"$object":["{__name__}:Cart",{{}}]}}')


def test_an_enum_value_that_was_removed_is_named() -> None:
    register_type(Size)
    with pytest.raises(SchemaError, match="Size has a value that the enum no longer has"):
        decode(f'{{"$enum":["{__name__}:Size","xl"]}}')


def test_a_class_that_was_defined_again_takes_the_place_of_the_former() -> None:
    def define() -> type:
        @dataclasses.dataclass
        class Local:
            x: int

        return Local

    first, second = define(), define()
    register_type(first)
    assert type(decode(encode(second(2)))) is second


def test_an_instance_that_would_come_back_as_plain_data_after_a_restart_is_refused() -> None:
    @dataclasses.dataclass
    class Loose:
        x: int

    class Grade(enum.Enum):
        A = "a"

    for value in ([Loose(1)], [Grade.A]):
        with pytest.raises(NotStorable, match=r"at \$\[0\].*register_type") as refusal:
            encode(value)
        assert refusal.value.type_name == f"{__name__}.{type(value[0]).__qualname__}"
        register_type(type(value[0]))
        assert decode(encode(value)) == value
