"""The engines of the plugin's fixtures, on a private database or on a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest


@pytest.fixture
def engine_options(location: str) -> Mapping[str, Any]:
    """Nothing, so that the database is private, as users have it; or one on the server."""
    return {"data_path": location} if "://" in location else {}
