"""The command line explains itself, also where it cannot run."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules[{module!r}] = None; from perdure.cli import main; sys.exit(main())"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["click", "rich"])
def test_without_the_extra_one_line_says_what_to_install(module: str) -> None:
    ran = run("-c", WITHOUT.format(module=module))

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == 'the perdure command needs an extra: pip install "perdure[cli]"\n'


def test_a_missing_module_that_the_extra_does_not_bring_is_a_fault_of_the_installation() -> None:
    ran = run("-c", WITHOUT.format(module="peewee"))

    assert ran.returncode == 1
    assert "ModuleNotFoundError" in ran.stderr
    assert "needs an extra" not in ran.stderr


def test_help_lists_the_demo_and_says_what_it_does() -> None:
    listed = run("-m", "perdure.cli", "--help")
    explained = run("-m", "perdure.cli", "demo", "--help")

    assert (listed.returncode, explained.returncode) == (0, 0)
    assert "Usage: perdure [OPTIONS] COMMAND" in listed.stdout
    assert "demo Watch four orders, one of them killed in mid-run." in " ".join(listed.stdout.split())
    assert "leaves nothing behind" in " ".join(explained.stdout.split())


def test_a_misspelt_command_is_refused_by_name() -> None:
    ran = run("-m", "perdure.cli", "deom")

    assert ran.returncode == 2
    assert "No such command 'deom'" in ran.stderr
