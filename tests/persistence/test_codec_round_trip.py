"""What is stored comes back exactly: the same value, of the same type, all the way down."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from freezegun import freeze_time
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.persistence.classes import register_namespace
from perdure.persistence.codec import decode, encode, register_type, split


class Colour(enum.Enum):
    RED = "red"
    DEEP = ("a", 1)


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.StrEnum):
    FAST = "fast"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: Any = None


@dataclasses.dataclass
class Order:
    sku: str
    extra: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    qty: int
    price: Any


class Parcel(msgspec.Struct, frozen=True):
    weight: float
    tags: Any = None


class Person(pydantic.BaseModel):
    name: str
    age: Any = None
    _seen: int = pydantic.PrivateAttr(default=0)


register_namespace(globals())  # as for a workflow whose functions stand here


def same(one: Any, other: Any) -> bool:  # noqa: C901  # one line for each kind of value
    """Tell whether two values are the same in type, order and content, which ``==`` does not."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, Decimal):
        return str(one) == str(other)
    if isinstance(one, datetime | time):
        zones = type(one.tzinfo) is type(other.tzinfo) and str(one.tzinfo) == str(other.tzinfo)
        return zones and one.fold == other.fold and one.isoformat() == other.isoformat()
    if isinstance(one, deque) and one.maxlen != other.maxlen:
        return False
    if isinstance(one, defaultdict) and one.default_factory is not other.default_factory:
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(k1, k2) and same(v1, v2) for (k1, v1), (k2, v2) in zip(one.items(), other.items(), strict=True)
        )
    if isinstance(one, list | tuple | deque):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        return len(one) == len(other) and all(any(same(item, found) for found in other) for item in one)
    if dataclasses.is_dataclass(one) or isinstance(one, msgspec.Struct):
        names = (
            [field.name for field in dataclasses.fields(one)]
            if dataclasses.is_dataclass(one)
            else one.__struct_fields__
        )
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, pydantic.BaseModel):
        return same(one.__getstate__(), other.__getstate__())
    return bool(one == other)


zones = st.sampled_from(
    [
        None,
        UTC,
        timezone(timedelta(hours=5, minutes=45)),
        timezone(-timedelta(seconds=1, microseconds=7)),
        timezone(timedelta(0), "Zulu"),
        timezone(timedelta(hours=1), ""),
        ZoneInfo("UTC"),
        ZoneInfo("Europe/Berlin"),
        ZoneInfo("America/Argentina/Buenos_Aires"),
    ]
)
texts = st.text(st.characters(exclude_categories=()), max_size=8)  # lone surrogates and NUL among them
look_alikes = st.sampled_from(["$", "$map", "$tuple", "$object", "$datetime", "$$map", "$unknown", '{"$'])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.sampled_from([2**63, 2**64, -(2**63) - 1, 2**2001]),
    st.floats(),
    texts,
    look_alikes,
    st.binary(max_size=8),
    st.binary(max_size=8).map(bytearray),
    st.decimals(),
    st.sampled_from(
        [Decimal("sNaN"), Decimal("-sNaN42"), Decimal("NaN7"), Decimal("-0"), Decimal("0E+9"), Decimal("-Infinity")]
    ),
    st.uuids(),
    st.dates(),
    st.builds(
        lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
        st.datetimes(),
        zones,
        st.sampled_from([0, 1]),
    ),
    st.builds(
        lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.times(), zones, st.sampled_from([0, 1])
    ),
    st.timedeltas(),
    st.sampled_from([*Colour, *Level, *Mode, *Rights, Rights.READ | Rights.WRITE, Rights(0)]),
    st.sampled_from([Path("/a/b c"), Path(), PurePosixPath("x/\udce4"), PureWindowsPath("C:/x")]),
)
hashable = st.recursive(
    scalars.filter(lambda item: not isinstance(item, bytearray | float | Decimal)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3), st.builds(Line, st.integers(), inner)
    ),
    max_leaves=4,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(texts, look_alikes), inner, max_size=4),
        st.dictionaries(look_alikes, inner, min_size=1, max_size=1),
        st.dictionaries(hashable, inner, max_size=4),
        st.sets(hashable, max_size=4),
        st.frozensets(hashable, max_size=4),
        st.dictionaries(hashable, inner, max_size=3).map(OrderedDict),
        st.builds(deque, st.lists(inner, max_size=3), st.sampled_from([None, 3, 9])),
        st.lists(hashable, max_size=4).map(Counter),
        st.dictionaries(texts, inner, max_size=3).map(lambda items: defaultdict(list, items)),
        st.builds(Order, texts, inner),
        st.builds(Line, st.integers(), inner),
        st.builds(Parcel, st.floats(), inner),
        st.builds(Point, st.integers(), inner),
        st.builds(lambda name, inner: Person(name=name, age=inner), st.text(max_size=4), inner),
    ),
    max_leaves=12,
)


@settings(max_examples=400)
@given(values)
def test_every_storable_value_comes_back_the_same(value: Any) -> None:
    assert same(decode(encode(value)), value)


@settings(max_examples=100)
@given(values)
def test_what_came_back_is_stored_as_the_same_text(value: Any) -> None:
    text = encode(value)
    assert encode(decode(text)) == text


json_like = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts, look_alikes
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(look_alikes, texts), inner, max_size=2)
    ),
    max_leaves=10,
)


@settings(max_examples=300)
@given(json_like)
def test_data_that_looks_like_a_tag_is_data(value: Any) -> None:
    assert same(decode(encode(value)), value)


@given(st.lists(values, max_size=4))
def test_a_split_list_gives_each_element_as_it_would_be_stored_alone(items: list[Any]) -> None:
    assert split(encode(items)) == [encode(item) for item in items]
    assert split(encode(tuple(items))) == [encode(item) for item in items]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ({"a": [1, 2.0, True]}, '{"a":[1,2.0,true]}'),
        ((1, "a"), '{"$tuple":[1,"a"]}'),
        ({1: "a", "1": "b"}, '{"$map":[[1,"a"],["1","b"]]}'),
        ({"$tuple": []}, '{"$map":[["$tuple",[]]]}'),
        ({"$a": 1, "b": 2}, '{"$a":1,"b":2}'),
        (Decimal("19.90"), '{"$decimal":"19.90"}'),
        (math.inf, '{"$float":"inf"}'),
        (b"\x00\xff", '{"$bytes":"AP8="}'),
        ({3, 1, 2}, '{"$set":[1,2,3]}'),
        (date(2024, 2, 29), '{"$date":"2024-02-29"}'),
        (datetime(2024, 2, 29, 12, tzinfo=UTC), '{"$datetime":"2024-02-29T12:00:00+00:00"}'),
        (
            datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
            '{"$datetime":["2024-10-27T02:30:00","Europe/Berlin",1]}',
        ),
        (timedelta(days=-1, seconds=5), '{"$timedelta":[-1,5,0]}'),
        (UUID(int=1), '{"$uuid":"00000000-0000-0000-0000-000000000001"}'),
    ],
)
def test_the_stored_text_can_be_read_by_people(value: Any, text: str) -> None:
    assert encode(value) == text
    assert same(decode(text), value)


@pytest.mark.parametrize("value", [[10**5000], [-(7**9999)], [{"n": 2**20000}]])
def test_integers_of_any_size_come_back(value: Any) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"a": x}, lambda x: [x], lambda x: {"a": [{"b": x}]}])
def test_numbers_that_json_does_not_know_are_never_null(number: float, wrap: Callable[[float], Any]) -> None:
    assert same(decode(encode(wrap(number))), wrap(number))


def test_order_and_type_of_keys_are_kept() -> None:
    value = {"b": 1, "a": 2, 3: "x", None: "y", (1, 2): "z", 1.5: 0}
    assert same(decode(encode(value)), value)


def test_an_instance_keeps_what_was_set_beside_its_fields() -> None:
    order = Order("A-1")
    order.note = "set later"  # type: ignore[attr-defined]
    person = Person(name="Ada")
    person._seen = 3
    back: Any = decode(encode([order, person]))
    order_back, person_back = back
    assert order_back.note == "set later"
    assert person_back == person
    assert person_back._seen == 3
    assert person_back.model_fields_set == {"name"}


def test_an_instance_is_rebuilt_without_running_its_constructor() -> None:
    order = Picky("A-1")
    calls = Picky.calls
    assert decode(encode(order)) == order
    assert Picky.calls == calls


@register_type
@dataclasses.dataclass
class Picky:
    sku: str
    calls = 0

    def __post_init__(self) -> None:
        Picky.calls += 1


def test_times_that_were_read_from_a_frozen_clock_are_stored_as_times() -> None:
    with freeze_time("2024-02-29 12:00"):
        moment, day = datetime.now(UTC), date.today()  # noqa: DTZ011
        assert type(moment).__module__.startswith("freezegun")
        back: Any = decode(encode([moment, day]))
    moment_back, day_back = back
    assert moment_back == datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert day_back == date(2024, 2, 29)
    assert (type(moment_back), type(day_back)) == (datetime, date)


def test_values_nested_as_deep_as_is_allowed_come_back() -> None:
    value: Any = "bottom"
    for _ in range(100):
        value = [value]
    assert decode(encode(value)) == value
    wrapped: Any = (1,)
    for _ in range(99):
        wrapped = {("k",): wrapped}
    assert decode(encode(wrapped)) == wrapped


class Memo(msgspec.Struct):
    """As a module has it whose imports for annotations stand under ``TYPE_CHECKING``."""

    text: OnlyForCheckers  # type: ignore[name-defined]  # noqa: F821
    lines: OnlyForCheckers = 1  # type: ignore[name-defined]  # noqa: F821


def test_a_struct_whose_annotations_only_type_checkers_can_resolve_comes_back() -> None:
    memo = register_type(Memo)("hello")
    assert decode(encode(memo)) == memo
