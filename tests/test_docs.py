"""Every code block in the documentation runs, and prints what its page says."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
FENCE = re.compile(r"^```(?P<language>\S+)[^\n]*\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    language: str
    text: str
    line: int
    prints: str
    """The ``text`` block that follows, or nothing."""


def python_blocks(page: Path) -> list[Block]:
    """Read a page's python blocks, each with the ``text`` block that stands right behind it."""
    source = page.read_text()
    fences = list(FENCE.finditer(source))
    followers = [match["text"] if match["language"] == "text" else "" for match in fences[1:]]
    return [
        Block(match["language"], match["text"], source.count("\n", 0, match.start("text")), prints)
        for match, prints in zip(fences, [*followers, ""], strict=True)
        if match["language"] == "python"
    ]


PAGES = sorted(page for page in DOCS.rglob("*.md") if python_blocks(page))


@pytest.fixture
def umask() -> Iterator[None]:
    """Have a page that sets the process's mask for new files set it for itself alone."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(DOCS).as_posix() for page in PAGES])
def test_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType(f"docs_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    for block in python_blocks(page):
        # Blank lines in front make a traceback name the page's own line.
        code = compile("\n" * block.line + block.text, page, "exec", dont_inherit=True)
        exec(code, vars(module))  # noqa: S102 - running the page is the test
        assert capsys.readouterr().out == block.prints, f"{page.name}, the block at line {block.line + 1}"


def test_every_page_can_be_reached_from_the_index() -> None:
    entries = {entry for page in DOCS.rglob("*.md") for entry in toctree(page)}

    assert entries == set(DOCS.rglob("*.md")) - {DOCS / "index.md"}


def toctree(page: Path) -> list[Path]:
    """Read the pages that a page lists in its table of contents."""
    return [
        page.parent / f"{line}.md"
        for match in FENCE.finditer(page.read_text())
        if match["language"] == "{toctree}"
        for line in match["text"].splitlines()
        if line and not line.startswith(":")
    ]
