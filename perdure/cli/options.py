"""What several commands are told in the same way: which database, which run, how long, in which form to answer."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from .. import arguments
from ..dsl.errors import EngineError
from ..looking import look_at

__all__ = [
    "DATABASE",
    "DURATION",
    "JSON_VALUE",
    "TAG",
    "as_json",
    "database",
    "run_id",
]

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:  # the oldest click that will do has no parameters there
    _Type = click.ParamType

DATABASE: Final = "perdure.db"
_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


class _Duration(_Type):
    """A time such as ``30d``, ``12h``, ``45m`` or ``10s``; only 0 needs no unit."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = _DURATION.fullmatch(str(value))
        if match is None or match[2] not in _UNITS or (match[2] == "" and float(match[1])):
            self.fail(f"{value!r} is no duration with its unit; write for example 30d, 12h, 45m or 10s", param, ctx)
        try:
            return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
        except OverflowError:
            self.fail(f"{value!r} is too long", param, ctx)


class _JsonValue(_Type):
    """A value in JSON; ``@file`` reads it from a file, ``-`` from standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(_text_of(value))
        except OSError as error:
            self.fail(f"cannot read {value[1:]!r}: {error.strerror}", param, ctx)
        except ValueError as error:
            self.fail(f"this is no JSON: {error}; a text needs its quotes, as in '\"yes\"'", param, ctx)


def _text_of(value: str) -> str:
    if value == "-":
        return sys.stdin.read()
    return Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value


class _Tag(_Type):
    """A tag as ``name=value``; a value that is no JSON is a text."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is no tag; write name=value", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


class _RunId(_Type):
    """The id of a run; completed by the shell from the newest runs of the database."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            with look_at(arguments.locate_shared(ctx.params.get("database") or DATABASE)) as runs:
                found = runs.list_executions(limit=1000)
                return [
                    CompletionItem(run.id, help=f"{run.workflow_name}, {run.state}")
                    for run in found
                    if run.id.startswith(incomplete)
                ]
        except EngineError:
            return []


DURATION: Final = _Duration()
JSON_VALUE: Final = _JsonValue()
TAG: Final = _Tag()

as_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
run_id = click.argument("run_id", metavar="RUN", type=_RunId())


def _located(ctx: click.Context, param: click.Parameter, value: str) -> str:
    return arguments.locate_shared(value)


def database(command: AnyFunction) -> AnyFunction:
    """Add the option that says which database."""
    return click.option(
        "-d",
        "--database",
        metavar="PATH",
        default=DATABASE,
        show_default=True,
        envvar="PERDURE_DATABASE",
        show_envvar=True,
        callback=_located,
        type=click.Path(),
        help="The database.",
    )(command)
