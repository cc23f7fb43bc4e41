"""Panels above one another, time along them all: what changed while the device worked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_retrieval.bench_page.axes import Plot, bare, scale, with_unit
from edge_retrieval.bench_page.svg import SERIES, VARIABLES, to_svg

BINS = 90
"""Of a panel: where more samples are, each stretch is its median and a band from p10 to p90."""


@dataclass(frozen=True)
class Panel:
    """What is drawn over time: name -> (seconds, values in `unit`)."""

    title: str
    unit: str
    found: Mapping[str, tuple[Sequence[float], Sequence[float]]]


def over_time(
    name: str, title: str, panels: Sequence[Panel], shaded: Sequence[tuple[float, float]] = ()
) -> Plot:
    """Draw panels above one another, time along them all; `shaded` are stretches of it."""
    moments = [at for panel in panels for times, _ in panel.found.values() for at in times]
    first, last = min(moments), max(moments)
    size, said = (60.0, "minutes") if last - first > 180 else (1.0, "seconds")

    series = [label for panel in panels if len(panel.found) > 1 for label in panel.found]

    def draw(figure: Any) -> None:
        column = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(column, panels, strict=True):
            _panel(axes, panel, size, series)
            for start, end in shaded:
                axes.axvspan(start / size, end / size, color=SERIES[3], alpha=0.16, lw=0)
        column[-1].set_xlabel(f"{said} since the bench began")
        column[-1].set_xlim(first / size, (last if last > first else first + 1.0) / size)

    legend = tuple(
        ("■", VARIABLES[SERIES[place % len(SERIES)]], label) for place, label in enumerate(series)
    )
    if shaded:
        legend += (("■", f"{VARIABLES[SERIES[3]]}-pale", "slowed down"),)
    return Plot(to_svg(name, title, 30 + 110 * len(panels), draw), said, legend)


def _panel(axes: Any, panel: Panel, size: float, series: Sequence[str]) -> None:
    most = max(max(values) for _, values in panel.found.values())
    factor, said = scale(panel.unit, most)
    low, high = math.inf, -math.inf
    for label, (moments, values) in panel.found.items():
        place = series.index(label) if len(panel.found) > 1 else 0
        at, bands = _binned(np.asarray(moments) / size, np.asarray(values) / factor)
        colour = SERIES[place % len(SERIES)]
        axes.fill_between(at, bands[0], bands[2], color=colour, alpha=0.25, lw=0)
        axes.plot(at, bands[1], color=colour, lw=1.5)
        low, high = min(low, bands[0].min()), max(high, bands[2].max())
    margin = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    bottom = 0.0 if panel.unit in ("s", "Hz", "1") else low - margin
    axes.set_ylim(bottom, high + margin)
    axes.locator_params(axis="y", nbins=4)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    bare(axes, with_unit(panel.title, said))


def _binned(at: Any, values: Any) -> tuple[Any, Any]:
    """Return moments, and (3, moments) p10, median and p90 about each."""
    if len(at) <= BINS:
        return at, np.stack([values, values, values])
    pieces = [piece for piece in np.array_split(np.arange(len(at)), BINS) if len(piece)]
    bands = [np.percentile(values[piece], (10, 50, 90)) for piece in pieces]
    return np.array([at[piece].mean() for piece in pieces]), np.array(bands).T
