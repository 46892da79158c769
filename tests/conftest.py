"""What every test may ask for."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

# An installed perdure brings its plugin itself; one that is only a checkout does not.
_INSTALLED = any(point.value == "perdure.testing.plugin" for point in entry_points(group="pytest11"))
pytest_plugins = () if _INSTALLED else ("perdure.testing.plugin",)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The checkout's root."""
    return Path(__file__).resolve().parent.parent
