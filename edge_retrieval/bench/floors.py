"""Floors that a report must hold, for continuous integration: `recall=0.9,p90_ms=20`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from edge_retrieval.bench import headline
from edge_retrieval.errors import ConfigError
from edge_retrieval.report import Report


class Floor(NamedTuple):
    """What a floor is held against.

    Attributes:
        value: Takes the number from a report, in SI units.
        unit: SI units in the floor's own: 1e-3 of milliseconds.
        at_least: Whether the number must not be below the floor; else it must not be above.
        needs: What to do where it was not measured.
    """

    value: Callable[[Report], float | None]
    unit: float
    at_least: bool
    needs: str


_DATA = "measure quality, too: --data DESIGNS"
_PART = "measure it, too: --only {}"
_QUALITY = {
    name: Floor(headline.quality(name), 1.0, True, _DATA)
    for name in ("mAP", "hit_rate@1", "hit_rate@5", "recall@10")
}
FLOORS: Mapping[str, Floor] = {
    **_QUALITY,
    "recall": _QUALITY["recall@10"],
    "p50_ms": Floor(headline.total(50), 1e-3, False, _PART.format("latency")),
    "p90_ms": Floor(headline.total(90), 1e-3, False, _PART.format("latency")),
    "p99_ms": Floor(headline.total(99), 1e-3, False, _PART.format("latency")),
    "cold_start_ms": Floor(
        headline.median("cold_start", what="search"), 1e-3, False, _PART.format("cold_start")
    ),
    "peak_mb": Floor(headline.peak, 1e6, False, _PART.format("memory")),
    "throughput": Floor(headline.throughput, 1.0, True, _PART.format("throughput")),
    "joules": Floor(headline.joules, 1.0, False, "measure where the system counts energy"),
}
"""By name. Of latency, throughput, energy and quality it is the first contestant's: what a search
uses here. `recall` is recall@10."""


class Miss(NamedTuple):
    """A floor that a report does not hold: what is wrong, and what to do."""

    text: str
    hint: str


def floors_of(text: str) -> dict[str, float]:
    """Read `recall=0.9,p90_ms=20`.

    Raises:
        ConfigError: No such floor, one that is given twice, or no number.
    """
    floors: dict[str, float] = {}
    for part in text.split(","):
        name, equals, told = (piece.strip() for piece in part.partition("="))
        if name not in FLOORS:
            near = difflib.get_close_matches(name, FLOORS, n=1, cutoff=0.4)
            raise ConfigError(
                f"no floor is called {name!r}",
                hint=f"did you mean {near[0]}?" if near else f"choose from {', '.join(FLOORS)}",
            )
        try:
            number = float(told)
        except ValueError:
            number = math.nan
        if not equals or not math.isfinite(number) or number < 0:
            raise ConfigError(
                f"floor {name}: {told or 'nothing'} is no number", hint=f"write it as {name}=20"
            )
        if name in floors:
            raise ConfigError(f"floor {name} is given twice", hint="give it once")
        floors[name] = number
    return floors


def misses(report: Report, floors: Mapping[str, float]) -> list[Miss]:
    """Return the floors that a report does not hold, those that were not measured among them."""
    found = []
    for name, limit in floors.items():
        floor = FLOORS[name]
        value = floor.value(report)
        if value is None:
            found.append(Miss(f"floor {name}={limit:g}: it was not measured", floor.needs))
            continue
        value /= floor.unit
        if (value < limit) if floor.at_least else (value > limit):
            side = "below" if floor.at_least else "above"
            hint = "see what changed: edge-ret bench compare BEFORE.json AFTER.json"
            found.append(Miss(f"floor {name}={limit:g}: {value:.4g} is {side} it", hint))
    return found
