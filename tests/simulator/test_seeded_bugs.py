"""The simulator sees what it must: every bug that is put in is found, and nothing is found without it."""

from __future__ import annotations

import itertools

import pytest

from perdure.testing.simulator import History, PromiseBroken

from .seeded_bugs import BUGS

_MOST = 1000
"""Histories that are tried where the one that is known to show a bug does not: the generator has changed."""


def breaks(seed: int) -> bool:
    try:
        History(seed).run()
    except PromiseBroken:
        return True
    return False


@pytest.mark.parametrize("bug", BUGS)
def test_a_seeded_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in, known = BUGS[bug]
    put_in(monkeypatch)
    assert any(map(breaks, itertools.chain([known], range(_MOST)))), f"nobody notices that {bug}"


@pytest.mark.parametrize("seed", sorted({seed for _, seed in BUGS.values()}))
def test_nothing_is_found_where_no_bug_was_put_in(seed: int) -> None:
    assert not breaks(seed)
