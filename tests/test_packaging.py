"""What an installed perdure contains, and what importing it costs."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import perdure

ROOMS = {"perdure", "actors", "dsl", "persistence"}
# What costs more to import than all of perdure; each is loaded by the call that needs it, if by any.
HEAVY = {"asyncio", "click", "freezegun", "pydantic", "rich", "starlette", "unittest"}


@pytest.fixture(scope="module")
def settings(checkout: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(checkout / "setup.cfg")
    return parser


def packages_in(tree: Path) -> set[str]:
    """Name every package below `perdure/`, through the symlinks, as an import would."""
    return {
        ".".join(Path(folder).relative_to(tree).parts)
        for folder, _, files in os.walk(tree / "perdure", followlinks=True)
        if "__init__.py" in files
    }


def test_the_declared_packages_are_those_in_the_tree(checkout: Path, settings: configparser.ConfigParser) -> None:
    declared = settings["options"]["packages"].split()

    assert set(declared) == packages_in(checkout)
    assert len(declared) == len(set(declared))


@pytest.mark.parametrize("room", sorted(ROOMS - {"perdure"}))
def test_a_room_is_reached_by_a_relative_symlink_that_agrees_with_the_mapping(
    checkout: Path, settings: configparser.ConfigParser, room: str
) -> None:
    link = checkout / "perdure" / room

    assert link.is_symlink()
    assert link.readlink() == Path("..", room)
    assert f"perdure.{room} = {room}" in settings["options"]["package_dir"]


def test_no_room_is_a_top_level_module_of_its_own(tmp_path: Path) -> None:
    code = "import importlib.util as u; print([n for n in ('actors', 'dsl', 'persistence') if u.find_spec(n)])"

    # Away from the checkout, whose folder would answer for any of them.
    assert run_python(code, cwd=tmp_path) == "[]\n"


@pytest.mark.skipif(int(version("setuptools").partition(".")[0]) < 77, reason="older than the build backend asks for")
def test_a_wheel_holds_every_module_once_under_perdure_and_nothing_else(checkout: Path, tmp_path: Path) -> None:
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"

    run_python(build, str(tmp_path), cwd=copy_of(checkout, tmp_path / "checkout"))

    [built] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert sorted(name for name in names if name.endswith(".py")) == sorted(modules_in(checkout))
    assert "perdure/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {"perdure"}


def copy_of(checkout: Path, target: Path) -> Path:
    """Copy what a build reads, so that it leaves nothing behind in the checkout."""
    target.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / name, target)
    for room in ROOMS:
        shutil.copytree(checkout / room, target / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def modules_in(checkout: Path) -> set[str]:
    """Name every module file below `perdure/`, through the symlinks, as an import would."""
    return {
        Path(folder, name).relative_to(checkout).as_posix()
        for folder, _, files in os.walk(checkout / "perdure", followlinks=True)
        for name in files
        if name.endswith(".py")
    }


def test_importing_perdure_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; before = set(sys.modules); import perdure; print(*(set(sys.modules) - before))"

    loaded = set(run_python(code, cwd=tmp_path).split())

    assert "perdure" in loaded
    assert not loaded & HEAVY


def test_importing_perdure_loads_no_library_that_defining_a_workflow_does_not_need(tmp_path: Path) -> None:
    code = "import sys; from perdure import Workflow, step; print(*{name.partition('.')[0] for name in sys.modules})"

    assert not set(run_python(code, cwd=tmp_path).split()) & {"peewee", "pykka", "blinker", "sqlite3"}


def test_a_session_of_pytest_that_asks_for_nothing_of_ours_loads_nothing_of_ours(tmp_path: Path) -> None:
    code = "import sys, perdure.pytest_plugin; print(*(name for name in sys.modules if name.startswith('perdure')))"

    assert set(run_python(code, cwd=tmp_path).split()) == {"perdure", "perdure.pytest_plugin"}


def test_every_public_name_has_one_home_and_every_home_a_public_name() -> None:
    names = [name for home in perdure._HOMES.values() for name in home]

    assert sorted(names) == sorted(perdure.__all__)
    assert all(getattr(perdure, name).__module__.startswith("perdure.") for name in names)
    assert set(perdure.__all__) <= set(dir(perdure))


def test_a_name_that_does_not_exist_is_an_attribute_error_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'perdure' has no attribute 'Enigne'"):
        _ = perdure.Enigne  # type: ignore[attr-defined]


def run_python(code: str, *arguments: str, cwd: Path) -> str:
    """Run `code` in a fresh interpreter and return what it printed."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True).stdout
