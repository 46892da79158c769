"""The page on the HTTP API names every route, every verb, and what they are asked with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine
from perdure.dashboard import create_app
from perdure.dashboard.desk import Desk
from perdure.dsl.legality import Verb
from perdure.errors import EngineError

from .shop import orders

Told = Callable[[str], dict[str, set[str]]]


class Asked(dict[str, Any]):
    """What a request brings; knows what of it was looked for."""

    def __init__(self, **brought: Any) -> None:
        super().__init__(brought)
        self.looked_for: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.looked_for.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.looked_for.add(str(name))
        return super().__contains__(name)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with Engine(None, orders) as engine:
        yield Desk(engine, redact=None, read_only=False)


@pytest.fixture
def told(checkout: Path) -> Told:
    """What the page's tables say, by the heading of their first column: names, and what each is asked with."""
    _, *tables = (checkout / "docs/http-api.md").read_text().split("\n| ")

    def of(heading: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        inside = False
        for row in tables:
            first, second, *_ = (cell.strip() for cell in row.split("|"))
            if first in ("path", "verb", "status"):
                inside = first == heading
            elif inside:
                found[first.strip("`")] = set(second.replace("`", "").split(", ")) if second else set()
        return found

    return of


def test_the_page_on_the_api_names_every_route(told: Told) -> None:
    with Engine(None) as engine:
        routes: list[Any] = create_app(engine).routes
    served = {f"{method} {route.path}" for route in routes for method in route.methods - {"HEAD"}}

    assert set(told("path")) == {path for path in served if not path.startswith("GET /static/")}


def test_the_page_on_the_api_names_what_runs_are_found_by(told: Told, desk: Desk) -> None:
    desk.runs(asked := Asked())

    assert told("path")["GET /api/runs"] == asked.looked_for


def test_the_page_on_the_api_names_every_verb_and_what_it_takes(told: Told, desk: Desk) -> None:
    verbs = told("verb")
    assert verbs.keys() > set(Verb)
    with pytest.raises(EngineError, match="there is no verb 'dance'"):
        desk.act(Asked(verb="dance", id="nobody"))
    for verb, takes in verbs.items():
        asked = Asked(
            verb=verb, id="nobody", name="nobody", workflow="nobody", step="nothing", event="none", how="skip"
        )
        with pytest.raises(EngineError) as refused:
            desk.act(asked)

        assert "there is no verb" not in str(refused.value)
        assert asked.looked_for - {"verb", "id"} == takes - {"id"}, verb
