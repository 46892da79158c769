"""The tables of events and errors say what the classes say."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

from perdure import errors, events
from perdure.dsl.legality import LEGAL_VERBS, Verb
from perdure.dsl.states import LEGAL, State
from perdure.otel import names
from perdure.testing import POINTS

COMMON = {field.name for field in dataclasses.fields(events.Event)}


def test_the_events_page_lists_every_event_with_its_own_fields(checkout: Path) -> None:
    rows = [line for line in (checkout / "docs/events.md").read_text().splitlines() if line.startswith("| `")]

    assert rows == [event_row(event) for event in events.EVENT_TYPES.values()]


def event_row(event: type[events.Event]) -> str:
    own = [f"`{field.name}`" for field in dataclasses.fields(event) if field.name not in COMMON]
    return f"| `{event.type}` | `{event.__name__}` | {', '.join(own)} | {summary(event)} |"


def test_the_concepts_page_draws_the_table_of_states(checkout: Path) -> None:
    cells = [
        line.split("|") for line in (checkout / "docs/concepts.md").read_text().splitlines() if line.startswith("| `")
    ]
    drawn = {row[1].strip(" `"): row[3].replace("`", "").strip() for row in cells if row[1].strip(" `") in set(State)}

    assert drawn == {state: ", ".join(sorted(LEGAL[state])) for state in State}


def test_the_errors_page_lists_every_error_under_its_parent(checkout: Path) -> None:
    rows = [line for line in (checkout / "docs/errors.md").read_text().splitlines() if line.startswith("| `")]

    assert rows == [error_row(error) for error in family(errors.EngineError)]


def test_the_page_on_crash_testing_lists_every_crash_point(checkout: Path) -> None:
    rows = [line for line in (checkout / "docs/crash-testing.md").read_text().splitlines() if line.startswith("| `")]

    assert rows == [f"| `{point}` | {meaning} |" for point, meaning in POINTS.items()]


def test_the_page_on_telemetry_lists_every_span_attribute_and_metric(checkout: Path) -> None:
    rows = [line for line in (checkout / "docs/telemetry.md").read_text().splitlines() if line.startswith("| `")]

    assert rows == [
        *(f"| `{name}` | {kind} | {meaning} |" for name, (kind, meaning) in names.SPANS.items()),
        *(f"| `{name}` | {where} | {meaning} |" for name, (where, meaning) in names.ATTRIBUTES.items()),
        *(f"| `{name}` | {one.instrument} | `{one.unit}` | {one.meaning} |" for name, one in names.METRICS.items()),
    ]


def family(error: type[Exception]) -> Iterator[type[Exception]]:
    """Yield an error and all those below it, in order of definition."""
    yield error
    for below in vars(importlib.import_module(error.__module__)).values():
        if inspect.isclass(below) and issubclass(below, Exception) and below.__bases__[0] is error:
            yield from family(below)


def error_row(error: type[Exception]) -> str:
    parent = "" if error is errors.EngineError else f"`{error.__bases__[0].__name__}`"
    return f"| `{error.__name__}` | {parent} | {summary(error)} |"


def summary(documented: type) -> str:
    """Return the first sentence of a docstring, in Markdown."""
    return " ".join(inspect.cleandoc(documented.__doc__ or "").partition("\n\n")[0].split()).replace("``", "`")


def test_the_steering_page_draws_the_table_that_the_engine_obeys(checkout: Path) -> None:
    assert legality_table() in (checkout / "docs/steering.md").read_text()


def legality_table() -> str:
    head = ["| standing | " + " | ".join(f"`{verb}`" for verb in Verb) + " |", "|---|" + ":-:|" * len(Verb)]
    rows = [
        f"| `{standing}` | " + " | ".join("✓" if verb in verbs else " " for verb in Verb) + " |"
        for standing, verbs in LEGAL_VERBS.items()
    ]
    return "\n".join([*head, *rows])
