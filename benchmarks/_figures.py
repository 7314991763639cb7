"""How a benchmark prints: each figure beside its budget, and their ratio."""

from __future__ import annotations

from collections.abc import Sequence


def show(what: str, figure: float, unit: str, budget: float | None = None) -> None:
    """Print one figure in `unit`; with a budget in the same unit, also the ratio and whether it holds."""
    line = f"{what:<58} {figure:>10.2f} {unit:<4}"
    if budget is not None:
        ratio = f" = {figure / budget:.2f}x" if budget else ""
        line += f"  budget {budget:g} {unit}{ratio}  {'holds' if figure <= budget else 'OVER'}"
    print(line.rstrip(), flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of `values` do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(len(ordered) * percent / 100 + 0.5) - 1))]
