"""In a notebook a workflow, and a run, are shown as drawings; asked of IPython's own display machinery."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from perdure import Engine, Workflow
from tests.patience import PATIENCE

formatters = pytest.importorskip("IPython.core.formatters")

SVG = "{http://www.w3.org/2000/svg}svg"


def displayed(value: Any) -> dict[str, str]:
    """Return what a notebook is given to show of a value, by type."""
    shown, _ = formatters.DisplayFormatter().format(value)
    return dict(shown)


def test_a_workflow_at_the_end_of_a_cell_is_drawn() -> None:
    shown = displayed(Workflow("order").step("<reserve>", lambda: 1).wait_for("approval"))

    assert ET.fromstring(shown["image/svg+xml"]).tag == SVG  # noqa: S314 - it is ours
    assert "&lt;reserve&gt;" in shown["text/html"]


def test_a_workflow_without_nodes_is_shown_as_text() -> None:
    assert displayed(Workflow("order")).keys() == {"text/plain"}


def test_a_run_is_drawn_with_what_it_has_done() -> None:
    order = Workflow("order").step("reserve", lambda: 1, compensate=lambda: None).step("fail", lambda: 1 / 0, retry=1)
    with Engine(None, order) as engine:
        shown = displayed(engine.start(order).wait(timeout=PATIENCE))

    assert ET.fromstring(shown["image/svg+xml"]).tag == SVG  # noqa: S314 - it is ours
    assert "perdure-undone" in shown["text/html"]


def test_a_run_whose_workflow_is_not_known_is_shown_as_text(tmp_path: Any) -> None:
    order = Workflow("order").step("reserve", lambda: 1)
    with Engine(tmp_path / "runs.db", order) as engine:
        engine.start(order, id="o-1").wait(timeout=PATIENCE)
    with Engine(tmp_path / "runs.db") as engine:
        shown = displayed(engine.get_execution("o-1"))

    assert shown.keys() == {"text/plain"}
    assert "o-1" in shown["text/plain"]
