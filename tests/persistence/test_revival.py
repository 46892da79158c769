"""Plain data becomes what an annotation asks for, or is refused by place; what fits already is left alone."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, Protocol, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.dsl.errors import SchemaError
from perdure.persistence.codec import decode, encode, register_type, revive


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Line:
    sku: str
    price: Decimal
    qty: int = 1


@dataclasses.dataclass
class Order:
    id: UUID
    lines: list[Line]
    at: datetime | None = None
    colour: Colour = Colour.RED
    parent: Order | None = None

    def __post_init__(self) -> None:
        if len(self.lines) > 9:
            raise ValueError("too many lines")


class Point(NamedTuple):
    x: int
    y: int = 0


class Parcel(msgspec.Struct):
    weight: Annotated[float, msgspec.Meta(gt=0)]
    sent: date


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(gt=0)


class Address(TypedDict):
    street: str
    built: NotRequired[date]


class Speaks(Protocol):
    def speak(self) -> str: ...


register_type(Order)


UserId = NewType("UserId", int)
T = TypeVar("T")
ID = "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        ("2024-02-29T12:00:00Z", datetime, datetime(2024, 2, 29, 12, tzinfo=UTC)),
        ("2024-02-29", date, date(2024, 2, 29)),
        ("12:30", time, time(12, 30)),
        (90, timedelta, timedelta(seconds=90)),
        ("19.90", Decimal, Decimal("19.90")),
        (3, Decimal, Decimal(3)),
        (ID, UUID, UUID(ID)),
        ("AP8=", bytes, b"\x00\xff"),
        ("/a", Path, Path("/a")),
        ("red", Colour, Colour.RED),
        ([1, 2], tuple[int, ...], (1, 2)),
        (["2024-02-29", 1], tuple[date, int], (date(2024, 2, 29), 1)),
        ([1, 2], set[int], {1, 2}),
        ([1, 2], frozenset[int], frozenset({1, 2})),
        ([1], AbstractSet[int], {1}),
        ([1], deque[int], deque([1])),
        (["2024-02-29"], Sequence[date], [date(2024, 2, 29)]),
        ({"2024-02-29": "1.5"}, dict[date, Decimal], {date(2024, 2, 29): Decimal("1.5")}),
        ({"7": "x"}, dict[int, str], {7: "x"}),
        ({"a": "red"}, Mapping[str, Colour], {"a": Colour.RED}),
        ({"a": 1}, OrderedDict[str, int], OrderedDict(a=1)),
        ({"a": 1}, Counter[str], Counter(a=1)),
        ({"sku": "a", "price": "1.5"}, Line, Line("a", Decimal("1.5"))),
        (
            {"id": ID, "lines": [{"sku": "a", "price": "1"}], "parent": {"id": ID, "lines": []}},
            Order,
            Order(UUID(ID), [Line("a", Decimal(1))], parent=Order(UUID(ID), [])),
        ),
        ({"x": 1}, Point, Point(1)),
        ([1, 2], Point, Point(1, 2)),
        ({"weight": 1.5, "sent": "2024-02-29"}, Parcel, Parcel(1.5, date(2024, 2, 29))),
        ({"name": "Ada", "age": 36}, Person, Person(name="Ada", age=36)),
        ([{"name": "Ada", "age": 36}], list[Person], [Person(name="Ada", age=36)]),
        ({"street": "x", "built": "2024-02-29"}, Address, {"street": "x", "built": date(2024, 2, 29)}),
        ("2024-02-29", date | None, date(2024, 2, 29)),
        ("2024-02-29", Optional[date], date(2024, 2, 29)),  # noqa: UP045
        ({"sku": "a", "price": "1"}, Line | Order, Line("a", Decimal(1))),
        ("red", Literal["blue"] | Colour, Colour.RED),
        ("2024-02-29", Annotated[date, "a note"], date(2024, 2, 29)),
        ("red", Literal[Colour.RED], Colour.RED),
    ],
)
def test_plain_data_becomes_what_is_asked_for(value: Any, annotation: Any, expected: Any) -> None:
    found = revive(value, annotation)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1, int),
        (1, float),
        (True, int),
        ("x", str),
        (None, None),
        (None, type(None)),
        (None, int | None),
        ({"a": object}, Any),
        ([1], list),
        ([1, 2], list[int]),
        ([1, "a"], list[Any]),
        ([[1], [2]], list[list[int]]),
        ({"a": 1}, dict[str, int]),
        ((1, 2), tuple[int, int]),
        (Line("a", Decimal(1)), Line),
        ([Line("a", Decimal(1))], list[Line]),
        (Person(name="a", age=1), Person),
        (Parcel(1.0, date(2024, 1, 1)), Parcel),
        (Colour.RED, Colour),
        (datetime(2024, 1, 1, tzinfo=UTC), date),
        (3, UserId),
        (3, T),
        ({"x"}, "Unresolved"),
        ("x", Literal["x", "y"]),
        ({"street": "x"}, Address),
        (3, Speaks),
        ("2024-02-29", str | date),
    ],
)
def test_what_fits_already_is_the_very_same_object(value: Any, annotation: Any) -> None:
    assert revive(value, annotation) is value


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        ("x", int, r"\$: expected int, got str 'x'"),
        (1.0, int, r"\$: expected int, got float 1.0"),
        ("1", int, "expected int"),
        ("yesterday", datetime, "expected datetime, got str 'yesterday'"),
        ("x", Colour, "Colour refused str 'x'"),
        ([1, "a"], list[int], r"\$\[1\]: expected int, got str 'a'"),
        ({"a": [1, None]}, dict[str, list[int]], r"\$\['a'\]\[1\]: expected int, got NoneType"),
        ([1, 1], set[int], "repeated items"),
        ("abc", list[str], "expected list, got str"),
        ("abc", Sequence[str], "expected Sequence, got str"),
        ([1], tuple[int, int], "expected a tuple of 2"),
        ({"sku": "a"}, Line, "Line needs the field 'price'"),
        ({"sku": "a", "price": "1", "quantity": 1}, Line, "Line has no field 'quantity'; known: 'price', 'qty', 'sku'"),
        ({"id": ID, "lines": [{"sku": 1, "price": "1"}]}, Order, r"\$\.lines\[0\]\.sku: expected str, got int 1"),
        ({"id": ID, "lines": [{"sku": "a", "price": 1}] * 10}, Order, "Order refused these fields: too many lines"),
        (3, Order, "expected Order, got int 3"),
        ({"weight": -1.0, "sent": "2024-02-29"}, Parcel, "Parcel refused"),
        ({"name": "Ada", "age": -1}, Person, "greater than 0"),
        ({"strete": "x"}, Address, "no field 'strete'; did you mean 'street'"),
        ({}, Address, "needs the field 'street'"),
        ("x", int | None, "expected int, got str 'x'"),
        ("x", int | date, "got str 'x'"),
        ("z", Literal["x", "y"], "expected 'x' or 'y', got str 'z'"),
        ({"x": 1}, dict[int, int], "expected int, got str 'x'"),
        ({"01": 1}, dict[int, int], "expected int, got str '01'"),
    ],
)
def test_what_does_not_fit_is_refused_by_place(value: Any, annotation: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        revive(value, annotation)


@given(
    st.builds(
        Order,
        st.uuids(),
        st.lists(st.builds(Line, st.text(), st.decimals(allow_nan=False)), max_size=3),
        st.datetimes(),
    )
)
def test_what_lost_its_class_on_the_way_is_revived(order: Order) -> None:
    text = encode(order).replace(__name__, "elsewhere")
    plain = decode(text)
    assert isinstance(plain, dict)
    assert revive(plain, Order) == order
