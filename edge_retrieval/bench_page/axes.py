"""What all plots of a report share: what a plot is, units for an axis, bare axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_retrieval.bench_page.svg import SOFT, TEXT

MARKS = ("o", "D", "^", "s", "v", "P", "X")
GLYPHS = ("●", "◆", "▲", "■", "▼", "✚", "✖")
"""Of points in a plot, and in its legend."""


@dataclass(frozen=True)
class Plot:
    """A figure as an SVG element, the unit of its numbers, and its legend.

    A line of the legend is (sign, variable of its colour, meaning).
    """

    svg: str
    unit: str = ""
    legend: tuple[tuple[str, str, str], ...] = ()


def scale(unit: str, most: float) -> tuple[float, str]:
    """Return what to divide SI values by, and the unit that is then theirs, for an axis."""
    if unit in ("1", "degC", "1/s"):
        return 1.0, {"1": "", "degC": "°C", "1/s": "figures a second"}[unit]
    sizes = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")]
    if unit == "s":
        sizes = sizes[3:]
    if unit == "B":
        sizes = sizes[:4]
    for size, prefix in sizes:
        if most >= 2 * size or (size, prefix) == sizes[-1]:
            return size, f"{prefix}{unit}"
    raise AssertionError(unit)


def bare(axes: Any, title: str = "", *, grid: str = "both") -> None:
    axes.grid(visible=True, which="major", axis=grid)
    axes.minorticks_off()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    if title:
        axes.set_title(title, loc="left", size=TEXT, color=SOFT)


def short(text: str, letters: int) -> str:
    """Cut a long name in the middle: long names differ at their ends."""
    half = letters // 2
    return text if len(text) <= letters else f"{text[: half - 1]}…{text[-half:]}"


def with_unit(title: str, unit: str) -> str:
    """Return "one search, ms"."""
    return f"{title}, {unit}" if unit else title


def digits(value: float) -> str:
    """Return three digits without an exponent."""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"
