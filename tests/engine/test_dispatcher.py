"""The thread that goes on with the core when there is more mail than whoever has brought it can handle."""

from __future__ import annotations

import threading

import pytest

from perdure.actors import clock
from perdure.actors.lanes import ThreadLanes
from tests.patience import PATIENCE


def test_those_who_bring_mail_have_their_turn_between_two_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = ThreadLanes("dispatched", threads=1)
    story: list[str] = []
    over = threading.Event()

    def cycle() -> bool:
        story.append("commit")
        if story.count("commit") == 3:
            over.set()
        return not over.is_set()

    monkeypatch.setattr(clock, "give_way", lambda: story.append("give way"))
    lanes.bind(cycle=cycle, has_mail=lambda: not over.is_set(), ring=lambda: None)

    lanes.wake()

    assert over.wait(timeout=PATIENCE)
    lanes.close()
    assert story == ["commit", "give way", "commit", "give way", "commit"]


def test_mail_that_came_while_whoever_had_the_core_was_interrupted_is_handled_all_the_same() -> None:
    lanes = ThreadLanes("dispatched", threads=1)
    mail = ["a", "b"]
    over = threading.Event()

    def cycle() -> bool:
        mail.pop(0)
        if not mail:
            over.set()
            return False
        raise KeyboardInterrupt  # as the handler may of a signal that is not put off

    lanes.bind(cycle=cycle, has_mail=lambda: bool(mail), ring=lambda: None)

    with pytest.raises(KeyboardInterrupt):
        lanes.core()

    assert over.wait(timeout=PATIENCE)
    lanes.close()
