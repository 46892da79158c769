"""What processes say to each other arrives whole, or not at all."""

from __future__ import annotations

import inspect
import socket
from pathlib import Path

import pytest

from perdure.actors import wire
from perdure.dsl import errors
from perdure.dsl.errors import EngineError, ExecutionFinished, InternalError

ERRORS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, EngineError)]


@pytest.fixture
def ends() -> tuple[wire.Line, wire.Line]:
    """The two ends of a line."""
    one, other = socket.socketpair()
    return wire.Line(one), wire.Line(other)


def test_what_is_said_is_heard(ends: tuple[wire.Line, wire.Line]) -> None:
    speaker, listener = ends
    said: list[wire.Spoken] = [
        wire.Take(1),
        wire.Answer(1, "ünïcode\n"),
        wire.Hello(2, [("order", None), ("order", "2")]),
        wire.Look(),
    ]
    assert listener.hear() == []
    assert speaker.say(*said)
    assert listener.hear() == said
    for end in ends:
        end.hang_up()


def test_a_line_that_comes_in_pieces_is_put_together(ends: tuple[wire.Line, wire.Line]) -> None:
    speaker, listener = ends
    for piece in (b'{"type":"Ta', b'ke","row":7}\n{"type"', b':"Look"}\n'):
        speaker._socket.send(piece)
    assert listener.hear() == [wire.Take(7), wire.Look()]
    for end in ends:
        end.hang_up()


@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n\n", b'{"type":"Teleport"}\n', b"\xff\n"])
def test_nonsense_is_hung_up_on(ends: tuple[wire.Line, wire.Line], nonsense: bytes) -> None:
    speaker, listener = ends
    speaker._socket.send(nonsense)
    assert listener.hear() is None
    for end in ends:
        end.hang_up()


def test_who_does_not_listen_is_hung_up_on_and_never_waited_for(ends: tuple[wire.Line, wire.Line]) -> None:
    speaker, listener = ends
    while speaker.say(wire.Answer(1, "x" * 10_000)):
        pass
    assert not speaker.say(wire.Look())
    listener.hang_up()
    listener.hang_up()


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_arrives_as_what_it_was(kind: type[EngineError]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, "what it said")
    arrived = wire.error_of(wire.failure_of(1, error))
    assert type(arrived) is kind
    assert str(arrived) == "what it said"


def test_an_error_s_fields_arrive_with_it() -> None:
    arrived = wire.error_of(wire.failure_of(1, ExecutionFinished("g", "failed", "take a signal")))
    assert vars(arrived) == {"execution_id": "g", "state": "failed"}


def test_an_error_that_is_not_ours_makes_no_class_of_it() -> None:
    assert type(wire.error_of(wire.Failure(1, "os.system", "boo", {}))) is InternalError


def test_nobody_answers_where_no_engine_listens(path: Path) -> None:
    assert wire.connect(str(path), 1) is None
