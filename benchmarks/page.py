"""Writes the tables and plots of docs/performance.md from a results file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .catalogue import CASES
from .plots import bars, lines
from .profiling import table
from .running import CHECKOUT
from .table import Medians, markdown, ratios, targets, targets_beside

__all__ = ["write_page"]

_PAGE = CHECKOUT / "docs" / "performance.md"
_PLOTS = CHECKOUT / "docs" / "_static"


def write_page(document: Mapping[str, Any], beside: Mapping[str, Any] | None = None) -> None:
    """Replace what stands between the page's markers, and the plots.

    Args:
        document: What a run of the suite has found.
        beside: What one has found on one processor; the targets are held against both.
    """
    found: Medians = document["medians"]
    pinned: Medians | None = beside and beside["medians"]
    text = _PAGE.read_text()
    for name, content in {
        "machine": _machine(document["machine"]),
        "targets": markdown(targets(found) if pinned is None else targets_beside(found, pinned)),
        "figures": markdown(ratios(found)),
        "profile": markdown(table(1, 48, durability="normal", seconds=3)),
    }.items():
        marked = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = marked.sub(lambda match, content=content: f"{match[1]}\n{content}\n\n{match[2]}", text)  # type: ignore[misc]
    _PAGE.write_text(text)
    _PLOTS.mkdir(exist_ok=True)
    for name, plot in _plots(found).items():
        (_PLOTS / name).write_text(plot)
    print(f"written to {_PAGE} and {_PLOTS}")


def _machine(machine: Mapping[str, Any]) -> str:
    peers = ", ".join(f"{peer} {version}" for peer, version in machine["versions"].items())
    where = f"{machine['cores']} cores of {machine['processor']}, {machine['memory']}, {machine['system']}"
    what = f"{machine['python']}, SQLite {machine['sqlite']}, commit `{machine['commit']}`"
    return f"Measured on {machine['date']}: {where}; {what}.\nBeside it: {peers or 'no peers'}."


def _plots(found: Medians) -> dict[str, str]:
    plots = {}
    for case, figure, title, subtitle in (
        ("throughput-50-full", "runs", "Runs of three steps a second, 48 in flight", "durability full; logarithmic"),
        ("one-at-a-time", "runs", "Runs of three steps a second, one at a time", "durability normal; logarithmic"),
        (
            "latency-1-normal",
            "p50",
            "Milliseconds from start to result, one step",
            "p50, normal; logarithmic; less is better",
        ),
    ):
        values = {name: figures[figure] for name, figures in found.get(case, {}).items() if figure in figures}
        if len(values) > 1:
            plots[f"{case}.svg"] = bars(title, subtitle, values)
    for name, title, subtitle, series in (
        ("flat", "Microseconds a step, by the length of the workflow", "normal, alone", _flat(found)),
        ("stored", "Microseconds a call, by the number of stored runs", "normal, alone", _stored(found)),
    ):
        if series:
            plots[f"{name}.svg"] = lines(title, subtitle, series)
    return plots


def _flat(found: Medians) -> dict[str, list[tuple[float, float]]]:
    return {
        kind: [(float(size), cost) for size, cost in found[f"flat-{kind}"]["perdure"].items() if size.isdigit()]
        for kind in ("steps", "turns")
        if f"flat-{kind}" in found
    }


def _stored(found: Medians) -> dict[str, list[tuple[float, float]]]:
    series: dict[str, list[tuple[float, float]]] = {}
    for case in (case for case in CASES if case.workload == "age" and case.name in found):
        for call, cost in found[case.name]["perdure"].items():
            if call != "archive":
                series.setdefault(call, []).append((float(case.options["stored"]), cost))
    return series
