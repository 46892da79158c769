"""Bare freezegun, made quick: what is frozen stays what freezegun would freeze."""

from __future__ import annotations

import gc
import sys
import time
import weakref
from types import ModuleType
from typing import Any

import pytest
from freezegun import api, freeze_time

from perdure.testing.freezing import quicken

real = time.time


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that has been looked at with nothing to freeze in it."""
    module = ModuleType("late")
    module.first = 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "late", module)
    quicken()
    with freeze_time("2026-01-01"):
        pass
    return module


def test_a_module_that_was_given_a_clock_is_frozen_by_the_next_freeze(late: ModuleType) -> None:
    late.now = real  # type: ignore[attr-defined]
    with freeze_time("2026-01-01"):
        assert late.now is api.fake_time
    assert late.now is real


def test_a_module_that_was_given_a_clock_in_the_place_of_another_name_is_frozen_too(late: ModuleType) -> None:
    del late.first
    late.now = real  # type: ignore[attr-defined]
    with freeze_time("2026-01-01"):
        assert late.now is api.fake_time
    assert late.now is real


def test_another_module_of_the_same_name_is_looked_at_by_itself(
    late: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = ModuleType("late")
    twin.now = real  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "late", twin)
    with freeze_time("2026-01-01"):
        assert twin.now is api.fake_time


def test_a_module_that_was_removed_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("passing")
    gone = weakref.ref(module)
    monkeypatch.setitem(sys.modules, "passing", module)
    quicken()
    with freeze_time("2026-01-01"):
        pass
    monkeypatch.undo()
    del module
    with freeze_time("2026-01-01"):
        pass
    gc.collect()
    assert gone() is None


def test_what_has_no_names_that_can_be_listed_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strange:
        __name__ = "strange"

        def __dir__(self) -> list[str]:
            return []

        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise RuntimeError

    monkeypatch.setitem(sys.modules, "strange", Strange())
    quicken()
    with freeze_time("2026-01-01"):
        assert time.time() == api.fake_time()


def test_to_make_it_quick_twice_is_harmless() -> None:
    quicken()
    once = api._get_cached_module_attributes
    quicken()
    assert api._get_cached_module_attributes is once
