"""The page on the command line is true: each command on it, run in order, prints what stands below it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from click.testing import Result

Perdure = Callable[..., Result]

MODULE = re.compile(r"`(\w+\.py)`:\n\n```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands_on(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a page, with the lines below it."""
    for block in BLOCK.findall(page.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *output = part.splitlines()
            yield command, output


def test_the_walk_through_goes_as_it_says(run: Perdure, folder: Path, checkout: Path) -> None:
    page = checkout / "docs/command-line.md"
    for name, text in MODULE.findall(page.read_text()):
        (folder / name).write_text(text)
    for command, expected in commands_on(page):
        program, *arguments = shlex.split(command)
        if program == "touch":
            (folder / arguments[0]).touch()
        if program != "perdure":
            continue
        told = re.sub(r" +", " ", run(*arguments).output).splitlines()
        lines = [re.escape(re.sub(r" +", " ", line)).replace("…", ".*") for line in expected]

        assert len(told) == len(lines), f"{command}\n{told}"
        for line, pattern in zip(told, lines, strict=True):
            assert re.fullmatch(pattern, line.strip() if pattern.startswith(".*") else line), (command, line, pattern)
