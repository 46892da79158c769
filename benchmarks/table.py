"""Tables of medians, ratios and targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .catalogue import CASES, Case, Figure, Target

__all__ = ["print_tables", "ratios", "targets", "targets_beside"]

Medians = Mapping[str, Mapping[str, Mapping[str, float]]]


def figure_text(value: float | None) -> str:
    """Return a number in three significant digits, or a hyphen."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ratios(found: Medians, cases: Sequence[Case] = CASES) -> list[list[str]]:
    """Return a row for each figure: what perdure has, what each other has, and how many times better perdure is."""
    others = _others(found)
    rows = [["case", "figure", "unit", "perdure", *others]]
    for case in cases:
        results = found.get(case.name, {})
        for name, figure in case.figures.items():
            own = results.get("perdure", {}).get(name)
            if not any(name in figures for figures in results.values()):
                continue
            cells = [_beside(own, results.get(other, {}).get(name), figure) for other in others]
            rows.append([case.name, name, figure.unit, figure_text(own), *cells])
    return rows


def _others(found: Medians) -> list[str]:
    seen: dict[str, None] = {}
    for results in found.values():
        seen.update(dict.fromkeys(name for name in results if name != "perdure"))
    return list(seen)


def _beside(own: float | None, other: float | None, figure: Figure) -> str:
    if other is None:
        return "-"
    if not own or not other:
        return figure_text(other)
    better = own / other if figure.higher else other / own
    return f"{figure_text(other)} ({figure_text(better)} x)"


def targets(found: Medians, cases: Sequence[Case] = CASES) -> list[list[str]]:
    """Return a row for each target: what was found, what it must be and should be, and whether it is."""
    rows = [["case", "figure", "found", "must", "want", ""]]
    for case in cases:
        results = found.get(case.name, {})
        for name, figure in case.figures.items():
            for target in figure.targets:
                value = _held_against(results, name, target)
                if value is not None:
                    rows.append(_target_row(case, name, figure, target, value))
    return rows


def targets_beside(found: Medians, pinned: Medians) -> list[list[str]]:
    """Return the same with what was found on one processor beside it, and a verdict on each."""
    others = {(case, figure, must): (value, verdict) for case, figure, value, must, _, verdict in targets(pinned)[1:]}
    rows = [["case", "figure", "found", "on one processor", "must", "want", "", "on one processor"]]
    for case, figure, value, must, want, verdict in targets(found)[1:]:
        other, other_verdict = others.get((case, figure, must), ("-", "-"))
        rows.append([case, figure, value, other, must, want, verdict, other_verdict])
    return rows


def _held_against(results: Mapping[str, Mapping[str, float]], name: str, target: Target) -> float | None:
    own = results.get("perdure", {}).get(name)
    if own is None or target.ratio_to is None:
        return own
    other = results.get(target.ratio_to, {}).get(name)
    return None if not other else own / other


def _target_row(case: Case, name: str, figure: Figure, target: Target, value: float) -> list[str]:
    unit = figure.unit if target.ratio_to is None else f"x {target.ratio_to}"
    sign = "≥" if figure.higher else "≤"

    def reaches(bound: float) -> bool:
        return value >= bound if figure.higher else value <= bound

    verdict = "wanted" if reaches(target.want) else "met" if reaches(target.must) else "NOT MET"
    must, want = (f"{sign} {figure_text(bound)}" for bound in (target.must, target.want))
    return [case.name, name, f"{figure_text(value)} {unit}", must, want, verdict]


def print_tables(found: Medians, cases: Sequence[Case]) -> None:
    """Print both tables."""
    for title, rows in (
        ("Figures; in parentheses how many times better perdure is", ratios(found, cases)),
        ("Targets", targets(found, cases)),
    ):
        if len(rows) > 1:
            print(f"\n{title}\n")
            print(_aligned(rows))


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])
