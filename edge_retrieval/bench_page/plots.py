"""The kinds of plots of a report, each a figure as SVG and what its colours stand for.

They know nothing of reports: names, numbers in SI units, and the unit. What a plot shows is in the
caption that its card gives it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_retrieval.bench_page.axes import (
    GLYPHS,
    MARKS,
    Plot,
    bare,
    digits,
    scale,
    short,
    with_unit,
)
from edge_retrieval.bench_page.svg import (
    GROUND,
    INK,
    SERIES,
    SOFT,
    TEXT,
    VARIABLES,
    WIDTH,
    to_svg,
)

Points = Mapping[str, Sequence[tuple[float, float]]]
"""Name of a line -> its points."""

DOTS = 150
"""At most so many samples of one contestant are drawn, evenly taken; percentiles are of all."""
NAME = 50
"""Letters of a name that fit above a bar."""


def strips(name: str, title: str, rows: Mapping[str, Sequence[float]], unit: str) -> Plot:
    """Draw every sample of each row as a dot, with its median, p90 and p99."""
    most = max(_reach(samples) for samples in rows.values())
    size, said = scale(unit, most)
    edge = most / size * 1.06 or 1.0

    def draw(figure: Any) -> None:
        axes = _rows(figure, len(rows))
        axes.set_xlim(0, edge)
        axes.set_xlabel(said)
        for place, (label, samples) in enumerate(rows.items()):
            values = np.asarray(samples) / size
            shown = values[:: math.ceil(len(values) / DOTS)]
            lift = (np.arange(len(shown)) * 0.618034) % 1.0  # even, and the same each time
            axes.plot(
                np.minimum(shown, edge), place + 0.34 + 0.36 * lift, "o", ms=3.0, mew=0,
                color=SERIES[0], alpha=0.45,
            )  # fmt: skip
            marks = [float(np.percentile(values, percent)) for percent in (50, 90, 99)]
            for at, width, reach in zip(marks, (2.6, 1.6, 0.9), (0.0, 0.05, 0.05), strict=True):
                if at > edge:
                    continue
                axes.plot(
                    [at, at], [place + 0.26 + reach, place + 0.78 - reach],
                    color=INK, lw=width, solid_capstyle="butt",
                )  # fmt: skip
            p50, p90, p99 = (digits(mark) for mark in marks)
            _above(axes, place, label, f"{p50} · {p90} · {p99} {said}")

    return Plot(to_svg(name, title, 44 + 54 * len(rows), draw), said)


def _reach(samples: Sequence[float]) -> float:
    """Return how far an axis must reach: to p99, unless that is one outlier that hides the rest."""
    p90, p99 = np.percentile(samples, (90, 99))
    return float(min(p99, 2.5 * p90))


def stacks(name: str, title: str, rows: Mapping[str, Mapping[str, float]], unit: str) -> Plot:
    """Draw each row as a bar of its parts; their sum stands at its end."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    colours = {part: SERIES[place % len(SERIES)] for place, part in enumerate(parts)}
    most = max(sum(row.values()) for row in rows.values()) or 1.0
    size, said = scale(unit, most)

    def draw(figure: Any) -> None:
        axes = _rows(figure, len(rows))
        axes.set_xlim(0, most / size * 1.02)
        axes.set_xlabel(said)
        for place, (label, row) in enumerate(rows.items()):
            left = 0.0
            for part, value in row.items():
                width = value / size
                axes.barh(
                    place + 0.5, width, 0.44, left=left, color=colours[part],
                    edgecolor=GROUND, linewidth=0.8,
                )  # fmt: skip
                text = digits(width)
                if width / (most / size) * WIDTH > 7.5 * len(text) + 4:
                    axes.text(
                        left + width / 2, place + 0.5, text, ha="center", va="center_baseline",
                        color=GROUND, size=TEXT,
                    )  # fmt: skip
                left += width
            _above(axes, place, label, f"{digits(left)} {said}")

    legend = tuple(("■", VARIABLES[colours[part]], part) for part in parts)
    svg = to_svg(name, title, 44 + 46 * len(rows), draw)
    return Plot(svg, said, legend if len(parts) > 1 else ())


def lines(
    name: str, title: str, panels: Mapping[str, Points], *, x: str, y: str, unit: str
) -> Plot:
    """Draw lines through points whose x are steps: 1, 2, 4 threads.

    Args:
        name: See `to_svg`.
        title: See `to_svg`.
        panels: What a panel shows -> its lines; x as it is, y in `unit`.
        x: Says what x is.
        y: Says what y is.
        unit: Of y.
    """
    every = [point for found in panels.values() for line in found.values() for point in line]
    ticks = sorted({at for at, _ in every})
    size, said = scale(unit, max(value for _, value in every))
    names = list(dict.fromkeys(label for found in panels.values() for label in found))
    down, across = math.ceil(len(panels) / 2), min(2, len(panels))

    def draw(figure: Any) -> None:
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (label, found) in zip(grid, panels.items(), strict=False):
            for series, points in found.items():
                steps = [(ticks.index(at), value / size) for at, value in points]
                _line(axes, names.index(series), steps)
            bare(axes, short(label, 48 // across))
            axes.title.set_color(INK)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        grid[0].set_xticks(range(len(ticks)), [f"{tick:g}" for tick in ticks])
        grid[0].set_xlim(-0.2, len(ticks) - 0.8)
        grid[0].set_ylim(0, max(value for _, value in every) / size * 1.06 or 1.0)
        grid[0].locator_params(axis="y", nbins=6)
        figure.supxlabel(x, size=TEXT, color=SOFT)
        figure.suptitle(with_unit(y, said), x=0, ha="left", size=TEXT, color=SOFT)

    return Plot(
        to_svg(name, title, 50 + (200 if across == 1 else 150) * down, draw), said, _legend(names)
    )


def growth(name: str, title: str, found: Points, *, x: str, y: str, unit: str) -> Plot:
    """Draw lines through points, both axes logarithmic, ticks with their units; all above 0."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for place, points in enumerate(found.values()):
            _line(axes, place, points)
        axes.loglog()
        for axis, said in (
            (axes.xaxis, _count),
            (axes.yaxis, lambda value: _short(value, unit)),
        ):
            _log_ticks(axis, said)
        axes.set_xlabel(x)
        bare(axes, y)

    most = max(value for points in found.values() for _, value in points)
    return Plot(to_svg(name, title, 250, draw), scale(unit, most)[1], _legend(list(found)))


def _line(axes: Any, place: int, points: Sequence[tuple[float, float]]) -> None:
    """Draw the line of that place among all, in the colour and with the mark of its legend."""
    xs, ys = zip(*sorted(points), strict=True)
    axes.plot(
        xs, ys, marker=MARKS[place % len(MARKS)], ms=5.5, lw=1.5, mec=GROUND, mew=0.5,
        color=SERIES[place % len(SERIES)],
    )  # fmt: skip


def _legend(names: Sequence[str]) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (GLYPHS[place % len(GLYPHS)], VARIABLES[SERIES[place % len(SERIES)]], label)
        for place, label in enumerate(names)
        if label
    )


def _rows(figure: Any, count: int) -> Any:
    """Return axes for rows from above, 1 high, with room for a name above each."""
    axes = figure.subplots()
    axes.set_ylim(count - 0.1, -0.25)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=6)
    bare(axes, grid="x")
    return axes


def _above(axes: Any, place: int, label: str, told: str) -> None:
    across = axes.get_yaxis_transform()
    axes.text(
        0,
        place + 0.16,
        short(label, NAME - len(told)),
        transform=across,
        color=INK,
        weight="bold",
        size=TEXT,
    )
    axes.text(1, place + 0.16, told, transform=across, color=SOFT, ha="right", size=TEXT)


def _log_ticks(axis: Any, said: Any) -> None:
    from matplotlib.ticker import LogLocator

    low, high = axis.get_view_interval()
    between = (1.0, 3.0) if high / low < 300 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=between))
    axis.set_major_formatter(lambda value, _: said(value))


def _count(value: float) -> str:
    """Return 10000 as "10k"."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _short(value: float, unit: str) -> str:
    size, said = scale(unit, value * 2)
    return f"{value / size:g} {said}"
