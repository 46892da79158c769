"""What every test may ask for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# An installed perdure has brought its plugin itself by now; one that is only a checkout has not.
pytest_plugins = () if "perdure.testing.plugin" in sys.modules else ("perdure.testing.plugin",)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The checkout's root."""
    return Path(__file__).resolve().parent.parent
