"""A diagram shows every node once, each on a way from the start to the end, whatever the nodes are called."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings

from perdure import Context, Retry, Signal, Workflow
from perdure.dsl.diagram import COLOURS, Mark, arrows, boxes, draw

from .generated import Plan, build, plans

HOSTILE = '"]; n0 --> n0; %%{init}%% `a` <script>alert(1)</script> & \\" #34; |x| {{y}} --> end 注文 🙂'
SVG = "{http://www.w3.org/2000/svg}"


def approve(ctx: Context[Any]) -> str:
    """Ask the manager."""
    return "yes"


def every_kind() -> Workflow[Any, Any]:
    return (
        Workflow("order", version="2", input=dict, timeout=86_400)
        .step("reserve", approve, retry=Retry(attempts=5, on=KeyError), compensate=lambda: None)
        .branch(lambda: "card")
        .path("card", lambda w: w.step("charge", lambda: 1))
        .path("free", lambda w: None)
        .otherwise(lambda w: w.step("bill", lambda: 1))
        .parallel(lambda w: w.step("pack", lambda: 1).do_while(lambda: False, lambda w: w.step("retry", lambda: 1)))
        .for_each(list, "line", lambda: 1)
        .do_until(lambda: True, lambda w: w.map("count", lambda: 1))
        .wait_for(Signal("parcel", int), timeout=timedelta(days=3), on_timeout=lambda w: w.step("lost", lambda: 1))
        .sleep_until("month-end", datetime(2026, 1, 31, tzinfo=UTC))
        .pivot()
        .sub_workflow("invoice")
    )


def test_mermaid_has_a_box_for_each_node_and_an_arrow_for_each_way() -> None:
    assert every_kind().to_mermaid() == (
        """flowchart TD
    n0(["order 2"])
    n1["reserve<br/>can be undone"]
    n2{"branch"}
    n3["charge"]
    n4["bill"]
    n5[/"parallel"\\]
    n6["pack"]
    n7{{"do while"}}
    n8["retry"]
    n9[/"&nbsp;"\\]
    n10{{"line<br/>for each"}}
    n11["line"]
    n12{{"do until"}}
    n13["count<br/>map"]
    n14>"parcel<br/>wait for, at most 3 days"]
    n15["lost"]
    n16["month-end<br/>sleep"]
    n17["pivot"]
    n18[["invoice<br/>sub workflow"]]
    n19(["end"])
    n0 --> n1
    n1 --> n2
    n2 -->|"card"| n3
    n2 -->|"otherwise"| n4
    n3 --> n5
    n2 -->|"free"| n5
    n4 --> n5
    n5 --> n6
    n5 --> n7
    n7 -->|"body"| n8
    n8 -.->|"again"| n7
    n6 --> n9
    n7 --> n9
    n9 --> n10
    n10 -->|"item"| n11
    n11 -.->|"again"| n10
    n10 --> n12
    n12 -->|"body"| n13
    n13 -.->|"again"| n12
    n12 --> n14
    n14 -->|"timeout"| n15
    n14 --> n16
    n15 --> n16
    n16 --> n17
    n17 --> n18
    n18 --> n19
"""
    )


def test_the_data_of_a_workflow_is_json_and_holds_every_option_but_no_code() -> None:
    described = every_kind().to_dict()

    assert json.loads(json.dumps(described)) == described
    assert (described["name"], described["version"], described["input"], described["timeout"]) == (
        "order",
        "2",
        "dict",
        86_400.0,
    )
    reserve, branch, *_, gate, sleep, _, child = described["nodes"]
    assert reserve["caption"] == "Ask the manager."
    assert reserve["undone"] is True
    assert reserve["options"]["policy"]["retry"] == {
        "attempts": 5,
        "initial": 0.5,
        "factor": 2.0,
        "maximum": 30.0,
        "jitter": 0.5,
        "on": "KeyError",
    }
    assert reserve["options"]["handler"].endswith("approve")
    assert (branch["inside"], [body["label"] for body in branch["bodies"]]) == ("one", ["card", "free", "otherwise"])
    assert (gate["waits_for"], gate["options"]) == (
        ["parcel"],
        {"demand": {"signals": [{"name": "parcel", "payload": "int"}], "count": 1}, "timeout": 259_200.0},
    )
    assert sleep["options"] == {"until": "2026-01-31T00:00:00+00:00"}
    assert child["starts"] == ["invoice"]


def test_data_never_holds_the_address_of_an_object() -> None:
    class Courier:
        def __call__(self) -> None: ...

    assert "0x" not in json.dumps(Workflow("w").step("carry", Courier()).to_dict())


def test_drawing_an_unfinished_workflow_leaves_it_unfinished() -> None:
    flow = Workflow("w").step("a", lambda: 1)
    first = flow.to_mermaid()

    flow.step("b", lambda: 2)

    assert "b" not in first
    assert '["b"]' in flow.to_mermaid()


def test_an_empty_workflow_shows_nothing_in_a_notebook() -> None:
    assert Workflow("w")._repr_html_() is None
    assert Workflow("w")._repr_svg_() is None


def test_a_workflow_shows_itself_in_a_notebook() -> None:
    flow = every_kind()

    assert flow._repr_svg_() == flow._repr_html_() == flow.to_svg()


# ---- names that want to be more than names


@pytest.fixture
def hostile() -> Workflow[Any, Any]:
    return (
        Workflow(HOSTILE)
        .step(HOSTILE, lambda: 1)
        .branch(lambda: "", name=f"{HOSTILE} 2")
        .path(HOSTILE, lambda w: w.step(f"{HOSTILE} 3", lambda: 1))
        .wait_for(HOSTILE)
    )


def test_no_name_can_leave_its_label_in_mermaid(hostile: Workflow[Any, Any]) -> None:
    lines = hostile.to_mermaid().splitlines()
    label = r'"(?:[\w .,\-]|#\d+;|<br/>)*"'
    box = rf"    n\d+[(\[{{>/]+{label}[)\]}}\\]+"
    arrow = rf"    n\d+ -\.?->(\|{label}\|)? n\d+|    n\d+ -->(\|{label}\|)? n\d+"

    assert lines[0] == "flowchart TD"
    assert [line for line in lines[1:] if not re.fullmatch(f"{box}|{arrow}", line)] == []


def test_no_name_can_leave_its_label_in_dot(hostile: Workflow[Any, Any]) -> None:
    string = r'"(?:[^"\\]|\\["\\n])*"'

    bare = re.sub(string, "", hostile.to_dot())

    assert re.fullmatch(r"[\w\s{}\[\]=,;>-]*", bare)
    assert "script" not in bare


def test_no_name_can_leave_its_text_in_svg(hostile: Workflow[Any, Any]) -> None:
    drawing = ET.fromstring(hostile.to_svg())  # noqa: S314 - it is ours

    assert {element.tag.removeprefix(SVG) for element in drawing.iter()} <= {
        "svg",
        "title",
        "g",
        "rect",
        "polygon",
        "path",
        "text",
    }
    assert HOSTILE in [box.get("data-node") for box in drawing.iter(f"{SVG}g")]
    assert not [name for element in drawing.iter() for name in element.attrib if name.startswith("on")]


# ---- whatever the graph


def reached(start: int, ways: dict[int, set[int]]) -> set[int]:
    seen, open_ = {start}, [start]
    while open_:
        for target in ways[open_.pop()] - seen:
            seen.add(target)
            open_.append(target)
    return seen


@settings(max_examples=30, deadline=None)
@given(plans)
def test_every_box_lies_on_a_way_from_the_start_to_the_end(plan: tuple[Plan, ...]) -> None:
    flow = build(plan)
    figure = draw(flow.definition())
    all_boxes = list(boxes(figure.series))
    onwards: dict[int, set[int]] = defaultdict(set)
    backwards: dict[int, set[int]] = defaultdict(set)
    for arrow in arrows(figure.series):
        onwards[arrow.source.number].add(arrow.target.number)
        backwards[arrow.target.number].add(arrow.source.number)

    numbers = {box.number for box in all_boxes}
    assert [box.number for box in all_boxes] == sorted(numbers)
    assert [box.name for box in all_boxes if box.name] == [node.name for node in flow.definition().body.every()]
    assert reached(0, onwards) == reached(max(numbers), backwards) == numbers


@settings(max_examples=30, deadline=None)
@given(plans)
def test_the_drawing_is_well_formed_and_no_box_covers_another(plan: tuple[Plan, ...]) -> None:
    flow = build(plan)
    drawing = ET.fromstring(flow.to_svg())  # noqa: S314 - it is ours
    rectangles = list(map(extent, drawing.iter(f"{SVG}g")))
    width, height = float(drawing.get("width", 0)), float(drawing.get("height", 0))

    assert len(rectangles) == len(list(boxes(draw(flow.definition()).series)))
    for index, (left, top, right, bottom) in enumerate(rectangles):
        assert left >= 0
        assert top >= 0
        assert right <= width
        assert bottom <= height
        for other in rectangles[index + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def extent(box: ET.Element) -> tuple[float, float, float, float]:
    """Return the edges of a box: left, top, right, bottom."""
    outline = box[1]
    if outline.tag == f"{SVG}rect":
        left, top, width, height = (float(outline.attrib[name]) for name in ("x", "y", "width", "height"))
        return left, top, left + width, top + height
    corners = [tuple(map(float, corner.split(","))) for corner in outline.attrib["points"].split()]
    across, down = zip(*corners, strict=True)
    return min(across), min(down), max(across), max(down)


def test_each_mark_has_colours_that_can_be_read() -> None:
    assert set(COLOURS) == set(Mark)
    assert all(contrast(colours.fill, colours.ink) > 3.5 for colours in COLOURS.values())


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    def linear(part: str) -> float:
        share = int(part, 16) / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(colour[begin : begin + 2]) for begin in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
