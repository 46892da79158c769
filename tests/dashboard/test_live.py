"""The stream of changes, by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from perdure import Engine, Workflow
from perdure.dashboard import live
from perdure.persistence.kind import Changes
from perdure.persistence.places import changes_at


class Noted:
    """Notes on which threads the database is asked."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    @contextmanager
    def changes_at(self, path: str) -> Iterator[Noted]:
        with changes_at(path) as self._changes:
            yield self

    _changes: Changes

    def wait(self, timeout: float) -> bool:
        self.threads.append(threading.get_ident())
        return self._changes.wait(timeout)


async def heard(stream: AsyncIterator[str], word: str) -> None:
    """Listen until a word is said."""
    async for said in stream:
        if word in said:
            return
    raise AssertionError(word)


@pytest.mark.on_every_store
def test_a_change_is_told_of_and_the_database_is_never_asked_on_the_event_loops_thread(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Noted()
    monkeypatch.setattr(live, "changes_at", noted.changes_at)

    async def listen(engine: Engine) -> None:
        async def nothing() -> Any:
            await asyncio.Event().wait()

        stream = live.changes(engine.path, Request({"type": "http", "app": Starlette()}, nothing))
        await heard(stream, "hello")
        await asyncio.to_thread(engine.start, "w")
        await heard(stream, "change")
        await stream.aclose()  # type: ignore[attr-defined]

    with Engine(location, Workflow("w").wait_for("go"), durability="normal") as engine:
        asyncio.run(listen(engine))
    assert noted.threads
    assert threading.get_ident() not in noted.threads
