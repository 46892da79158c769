"""The command line: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .catalogue import CASES, Case
from .peers.install import PEERS, install, is_installed
from .running import Measurement, machine, measure, medians, pin
from .table import print_tables

_RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"


def main() -> int:
    """Do what the arguments say; return the exit code."""
    arguments = _parser().parse_args()
    match arguments.command:
        case "install":
            for peer in arguments.peers:
                install(peer)
        case "page":
            from .page import write_page

            beside = arguments.beside and json.loads(arguments.beside.read_text())
            write_page(json.loads(arguments.results.read_text()), beside)
        case "profile":
            from .profiling import profile

            profile(arguments.durability, arguments.in_flight, arguments.seconds)
        case _:
            return _run(arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.description = "Measure perdure beside bare sqlite3 and whatever peers are installed."
    parser.set_defaults(command=None)
    parser.add_argument("--quick", action="store_true", help="one short round, under a minute: rough figures")
    parser.add_argument("--rounds", type=int, help="how many rounds the medians are of (3; with --quick 1)")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="cases whose name contains this; may be repeated"
    )
    parser.add_argument("--long", action="store_true", help="also the cases that take minutes")
    parser.add_argument("--no-peers", action="store_true", help="perdure and bare sqlite3 only")
    parser.add_argument("--json", type=Path, default=_RESULTS, metavar="FILE", help="where the results go")
    parser.add_argument("--add", action="store_true", help="add to the results, do not replace them")
    parser.add_argument("--list", action="store_true", help="name the cases, measure nothing")
    parser.add_argument("--pinned", action="store_true", help="keep everything on one processor")
    commands = parser.add_subparsers(dest="command")
    installing = commands.add_parser("install", help="install peers, each into an environment of its own")
    installing.add_argument("peers", nargs="+", choices=list(PEERS))
    page = commands.add_parser("page", help="write tables and plots into docs/performance.md")
    page.add_argument("results", nargs="?", default=_RESULTS, type=Path, help="a results file")
    page.add_argument("--beside", type=Path, metavar="FILE", help="one of a run with --pinned, shown beside it")
    profiling = commands.add_parser("profile", help="show where the time of a step goes")
    profiling.add_argument("--durability", default="normal", choices=["full", "normal"])
    profiling.add_argument("--in-flight", type=int, default=48)
    profiling.add_argument("--seconds", type=float, default=2.0)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    cases = _chosen(arguments)
    if arguments.list or not cases:
        print("\n".join(case.name for case in (cases or CASES)))
        return 0 if arguments.list else 2
    contenders = list(_contenders(cases, with_peers=not (arguments.no_peers or arguments.quick)))
    found = _earlier(arguments.json) if arguments.add else []
    before = len(found)
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    if arguments.pinned:
        pin()
    for one in measure(cases, rounds=rounds, quick=arguments.quick, contenders=contenders):
        found.append(one)
        figures = "  ".join(f"{name} {value:.4g}" for name, value in one.figures.items())
        print(f"{one.case:24} {one.contender:10} {figures or 'FAILED: ' + one.error}", flush=True)
    everybody = list(dict.fromkeys(one.contender for one in found))
    results = {
        "machine": machine(everybody),
        "medians": medians(found),
        "measurements": [one._asdict() for one in found],
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=1))
    print_tables(results["medians"], cases)  # type: ignore[arg-type]
    print(f"\nwritten to {arguments.json}")
    return 1 if any(one.error for one in found[before:]) else 0


def _contenders(cases: Sequence[Case], *, with_peers: bool) -> Iterator[str]:
    yield "perdure"
    yield "raw"
    for peer in PEERS if with_peers else ():
        if is_installed(peer):
            yield peer
        elif any(peer in case.contenders for case in cases):
            print(f"{peer} is left out: it is not installed (python -m benchmarks install {peer})")


def _earlier(file: Path) -> list[Measurement]:
    return [Measurement(**one) for one in json.loads(file.read_text())["measurements"]] if file.exists() else []


def _chosen(arguments: argparse.Namespace) -> list[Case]:
    if arguments.only:
        return [case for case in CASES if any(_is_meant(name, case) for name in arguments.only)]
    return [
        case for case in CASES if (arguments.long or not case.long) and (not arguments.quick or case.quick is not None)
    ]


def _is_meant(name: str, case: Case) -> bool:
    return name == case.name if any(name == other.name for other in CASES) else name in case.name


if __name__ == "__main__":
    sys.exit(main())
