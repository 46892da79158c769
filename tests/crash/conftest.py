"""Where the processes that are killed keep their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .places import FilePlace, ServerPlace


@pytest.fixture
def new_place(location: str, request: pytest.FixtureRequest) -> Iterator[Callable[[Path], Any]]:
    """Makes databases, all of them files or all of them on a server; those are given back with the next scenario."""
    if "://" not in location:
        yield FilePlace
        return
    server = request.getfixturevalue("postgres")
    lent: dict[Path, Any] = {}

    def give_back(folders: list[Path]) -> None:
        for folder in folders:
            server.give_back(lent.pop(folder).location)

    def begin(folder: Path) -> Any:
        give_back([other for other in lent if not other.exists()])
        lent[folder] = ServerPlace(server)
        return lent[folder]

    yield begin
    give_back(list(lent))
