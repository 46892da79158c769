"""Workflows by the names of a module and of something in it, such as ``flows:order``.

The only place where the command line imports what a user wrote; nothing that reads a database leads here.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

from ..dsl.errors import UsageError, did_you_mean
from ..dsl.workflow import Workflow

__all__ = ["load_all", "load_one"]


def load_one(target: str) -> tuple[Workflow[Any, Any], list[Workflow[Any, Any]]]:
    """Return the workflow of ``module:name``, and all of its module; the name may be left out if there is only one.

    Raises:
        UsageError: there is no such module or workflow, or the module cannot be imported.
    """
    module, _, name = target.partition(":")
    found = _workflows_of(module)
    if not name:
        if len(found) > 1:
            raise UsageError(f"there are several workflows in {module!r}: say which, {_examples(module, found)}")
        name = next(iter(found))
    workflow = found.get(name) or next((one for one in found.values() if one.name == name), None)
    if workflow is None:
        raise UsageError(f"there is no workflow {name!r} in {module!r}{did_you_mean(name, found)}")
    return workflow, list(found.values())


def load_all(target: str) -> list[Workflow[Any, Any]]:
    """Return the workflow of ``module:name``, or all of ``module``.

    Raises:
        UsageError: as for `load_one`.
    """
    module, colon, _ = target.partition(":")
    return [load_one(target)[0]] if colon else list(_workflows_of(module).values())


def _examples(module: str, names: dict[str, Any]) -> str:
    return ", ".join(f"{module}:{name}" for name in names)


def _workflows_of(name: str) -> dict[str, Workflow[Any, Any]]:
    module = _import(name)
    found = {label: value for label, value in vars(module).items() if isinstance(value, Workflow)}
    if not found:
        raise UsageError(f"there is no workflow in {name!r}: a workflow must stand in the module under a name")
    return found


def _import(name: str) -> Any:
    stem = name.removesuffix(".py").replace("/", ".")
    if not stem or not all(part.isidentifier() for part in stem.split(".")):
        raise UsageError(f"{name!r} is no module: write the module and the workflow, as in flows:order")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(stem)
    except ModuleNotFoundError as error:
        if error.name is not None and (stem == error.name or stem.startswith(f"{error.name}.")):
            raise UsageError(f"there is no module {stem!r} in {folder!r}, nor one that is installed") from None
        raise UsageError(f"{stem!r} cannot be imported: {_told(error)}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"{stem!r} cannot be imported: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """Return an error on one line, with the last line of the user's code that led to it."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
