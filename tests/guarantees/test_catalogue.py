"""The table of faults in docs/guarantees.md: every row names the tests that show it, or says why there is none."""

from __future__ import annotations

import re
from pathlib import Path

ROWS = 40
TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def rows(checkout: Path) -> list[list[str]]:
    lines = (checkout / "docs/guarantees.md").read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| \d+ \|", line)]


def test_every_fault_of_the_catalogue_has_a_row(checkout: Path) -> None:
    assert [int(row[0]) for row in rows(checkout)] == [*range(1, ROWS + 1)]


def test_every_row_names_tests_that_exist_or_says_why_there_is_none(checkout: Path) -> None:
    for number, _, _, shown in rows(checkout):
        named = TEST.findall(shown)
        assert named or shown.startswith("Not shown by a test: "), f"row {number}"
        for file, test in named:
            source = checkout / "tests" / file
            assert source.exists(), f"row {number}: {file}"
            assert f"def {test}(" in source.read_text(), f"row {number}: {test}"
