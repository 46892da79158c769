"""Where the examples keep their runs when they crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .albums import Album, FileAlbum, ServerAlbum


@pytest.fixture
def album(location: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Album]:
    """Files, or databases on the server, behind a pooler or not."""
    if "://" not in location:
        yield FileAlbum(tmp_path)
        return
    address = request.getfixturevalue("pooler").url if "pooled=true" in location else str
    album = ServerAlbum(request.getfixturevalue("postgres"), address)
    yield album
    album.give_back()
