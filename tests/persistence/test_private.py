"""Where a database lies that nobody gave a path."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from perdure.persistence import private
from perdure.persistence.store import Store

NAMES = ("TMPDIR", "TEMP", "TMP")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What the system is said to have as a folder in memory, with room to spare; the environment says nothing."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(private, "_SHARED_MEMORY", str(folder))
    monkeypatch.setattr(private, "_ROOM", 0)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return folder


def folder_of_a_private_store() -> Path:
    store = Store(None)
    store.open()
    folder = Path(store.path).parent
    store.close()
    assert not folder.exists()
    return folder.parent


def test_a_private_database_lies_in_memory_where_there_is_room(memory: Path) -> None:
    assert folder_of_a_private_store() == memory


def test_a_memory_without_room_to_spare_is_left_alone(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "_ROOM", 2**80)
    assert folder_of_a_private_store() == Path(tempfile.gettempdir())


def test_a_system_without_such_a_folder_uses_that_for_temporary_files(memory: Path) -> None:
    memory.rmdir()
    assert folder_of_a_private_store() == Path(tempfile.gettempdir())


@pytest.mark.parametrize("name", NAMES)
def test_what_the_environment_says_of_temporary_files_goes_before(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is looked up once otherwise
    assert folder_of_a_private_store() == tmp_path


@pytest.mark.parametrize("end", ["", "store.abandon()"], ids=["left open", "abandoned"])
def test_a_database_that_nobody_has_closed_goes_with_the_process(memory: Path, checkout: Path, end: str) -> None:
    code = f"""
import sys
from perdure.persistence import private
private._SHARED_MEMORY, private._ROOM = sys.argv[1], 0
from perdure.persistence.store import Store
store = Store(None)
store.open()
{end}
print(len(list(__import__("pathlib").Path(sys.argv[1]).iterdir())))
"""
    command = [sys.executable, "-c", code, str(memory)]
    done = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, text=True, check=True)
    assert (done.stdout, list(memory.iterdir())) == ("1\n", [])
