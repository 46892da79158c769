"""What can be told of a user's function without calling it: what it looks up, what it may answer, whether it acts.

Read from the compiled code, since the source of a lambda in the middle of a chain cannot be had. What is not plain is
left open: a function that is written in another way gives no answer, never a wrong one.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from enum import StrEnum
from types import CodeType, FunctionType
from typing import Any, Final, Literal, NamedTuple

from .description import function_of
from .signals import Signal
from .steps import Step

__all__ = ["Lookup", "Sort", "acts", "answers", "lookups"]

_SILENT: Final = frozenset({"CACHE", "EXTENDED_ARG", "NOP", "PRECALL", "RESUME", "COPY_FREE_VARS", "PUSH_NULL"})
_GUARDS: Final = frozenset({"KeyError", "LookupError", "Exception"})
_JUMPS: Final = frozenset(dis.opname[code] for code in dis.hasjrel)
_PURE: Final = frozenset({"builtins", "dataclasses", "datetime", "decimal", "fractions", "uuid"})
"""Modules whose classes do nothing outside when they are called."""

_VIEWS: Final = ("steps", "signals")
_HARMLESS: Final = frozenset(
    {"abs", "all", "any", "divmod", "format", "isinstance", "len", "max", "min", "repr", "round", "sorted", "sum"}
)


class Sort(StrEnum):
    """What is looked up."""

    STEP = "step"
    SIGNAL = "signal"


class Lookup(NamedTuple):
    """A look-up in the context that raises `KeyError` when there is nothing."""

    sort: Sort
    name: str


def lookups(function: Callable[..., Any]) -> list[Lookup]:
    """Return what a function certainly asks its context for, each once, but for what it tests before."""
    plain = _plain(function)
    if plain is None or not (context := _context_of(plain, function)):
        return []
    codes = list(_codes(plain.__code__))
    if any(_GUARDS & set(code.co_names) for code in codes):
        return []
    found: dict[Lookup, None] = {}
    tested: set[Lookup] = set()
    for code in codes:
        instructions = _instructions(code)
        for index in range(2, len(instructions)):
            found.update(dict.fromkeys(_asked(instructions[: index + 1], context, plain)))
            tested.update(_tested(instructions[: index + 1], context))
    return [lookup for lookup in found if lookup not in tested]


def answers(function: Callable[..., Any]) -> frozenset[Any] | None:
    """Return every value a function can return, if they are all written down in it; None if they are not."""
    plain = _plain(function)
    if plain is None:
        return None
    try:
        promised = typing.get_type_hints(plain).get("return")
    except Exception:  # noqa: BLE001 - annotations may name anything
        promised = None
    if typing.get_origin(promised) is Literal:
        return frozenset(typing.get_args(promised))
    instructions = _instructions(plain.__code__)
    found = set()
    for index, instruction in enumerate(instructions):
        if instruction.opname == "RETURN_CONST":
            found.add(instruction.argval)
        elif instruction.opname == "RETURN_VALUE":
            values = _constants_before(instructions, index)
            if values is None:
                return None
            found |= values
    return frozenset(found) or None


def _constants_before(instructions: list[dis.Instruction], index: int) -> set[Any] | None:
    """Return what can lie on the stack before an instruction, if all of it is written down."""
    target = instructions[index].offset
    ends = [index - 1]
    for other, instruction in enumerate(instructions):
        if instruction.opname in _JUMPS and instruction.argval == target:
            if instruction.opname != "JUMP_FORWARD":
                return None
            ends.append(other - 1)
    before = [instructions[end] for end in ends if instructions[end].opname != "JUMP_FORWARD"]
    if any(instruction.opname != "LOAD_CONST" for instruction in before):
        return None
    return {instruction.argval for instruction in before}


def acts(function: Callable[..., Any]) -> bool:
    """Tell whether a function calls anything that may have an effect outside; False when it cannot be read."""
    plain = _plain(function)
    if plain is None:
        return False
    codes = list(_codes(plain.__code__))
    names = {item.argval for code in codes for item in _instructions(code) if item.opname == "LOAD_GLOBAL"}
    calls = any(item.opname.startswith("CALL") for code in codes for item in _instructions(code))
    strangers = {name for name in names if not _is_harmless(name, plain)}
    return calls and bool(strangers or plain.__code__.co_freevars or inspect.ismethod(function))


def _is_harmless(name: str, function: FunctionType) -> bool:
    if name not in function.__globals__ and name in _HARMLESS:
        return True
    value = function.__globals__.get(name, getattr(builtins, name, None))
    if isinstance(value, type):
        return value.__module__ in _PURE or issubclass(value, BaseException) or is_dataclass(value)
    return isinstance(value, (Step, Signal, str, int, float, tuple, frozenset))


def _plain(function: Any) -> FunctionType | None:
    found = function_of(function)
    return found if isinstance(found, FunctionType) else None


def _context_of(plain: FunctionType, function: Any) -> str:
    """Return what the function calls its context, or nothing if it takes none."""
    first = 1 if inspect.ismethod(function) else 0
    code = plain.__code__
    return code.co_varnames[first] if code.co_argcount > first else ""


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function and of all that is written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _instructions(code: CodeType) -> list[dis.Instruction]:
    return [instruction for instruction in dis.get_instructions(code) if instruction.opname not in _SILENT]


def _asked(past: list[dis.Instruction], context: str, function: FunctionType) -> Iterator[Lookup]:
    """Yield the look-up that the last instruction is: ``ctx.steps["name"]``, or ``ctx[step]``."""
    if not _is_subscript(past[-1]):
        return
    key = past[-2]
    if key.opname == "LOAD_CONST" and isinstance(key.argval, str) and len(past) > 3 and _is_view(past[-4:-2], context):  # noqa: PLR2004
        yield Lookup(Sort.STEP if past[-3].argval == _VIEWS[0] else Sort.SIGNAL, key.argval)
    elif _is_context(past[-3], context):
        match _value_of(key, function):
            case Step(name=name):
                yield Lookup(Sort.STEP, name)
            case Signal(name=name):
                yield Lookup(Sort.SIGNAL, name)


def _tested(past: list[dis.Instruction], context: str) -> Iterator[Lookup]:
    """Yield the look-up that the last instruction tests for: ``"name" in ctx.steps``."""
    key = past[-4] if len(past) > 3 else None  # noqa: PLR2004
    if past[-1].opname != "CONTAINS_OP" or key is None or not isinstance(key.argval, str):
        return
    if _is_view(past[-3:-1], context):
        yield Lookup(Sort.STEP if past[-2].argval == _VIEWS[0] else Sort.SIGNAL, key.argval)


def _is_subscript(instruction: dis.Instruction) -> bool:
    return instruction.opname == "BINARY_SUBSCR" or (
        instruction.opname == "BINARY_OP" and instruction.argrepr.startswith("[")
    )


def _is_view(pair: list[dis.Instruction], context: str) -> bool:
    return _is_context(pair[0], context) and pair[1].opname == "LOAD_ATTR" and pair[1].argval in _VIEWS


def _is_context(instruction: dis.Instruction, context: str) -> bool:
    return instruction.opname.startswith(("LOAD_FAST", "LOAD_DEREF")) and instruction.argval == context


def _value_of(instruction: dis.Instruction, function: FunctionType) -> Any:
    name = instruction.argval
    if instruction.opname == "LOAD_GLOBAL":
        return function.__globals__.get(name)
    if instruction.opname == "LOAD_DEREF" and name in function.__code__.co_freevars:
        cell = (function.__closure__ or ())[function.__code__.co_freevars.index(name)]
        try:
            return cell.cell_contents
        except ValueError:  # not assigned yet
            return None
    return None
