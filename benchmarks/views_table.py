"""The tables of `views.py`; rendered by `render.py`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

Table = Callable[[list[str], list[list[str]]], str]


def views(result: Mapping[str, Any], table: Table) -> str:
    """One line a way to put the views together: design-level mAP in each gallery."""
    galleries = result["galleries"]
    names = [row["way"] for row in next(iter(galleries.values()))["rows"]]
    lines = []
    for place, name in enumerate(names):
        own = [gallery["rows"][place] for gallery in galleries.values()]
        cells = [_interval(row[key], digits) for row in own for key, digits in KEYS]
        lines.append([f"**{name}**" if name.startswith("ours") else name, *cells])
    head = ["", *(f"{name}: {word}" for name in galleries for word in ("mAP", "times one view"))]
    sizes = " and ".join(f"{gallery['designs']:,} designs" for gallery in galleries.values())
    asked = next(iter(galleries.values()))["asked"]
    note = (
        f"{asked} patents of the test part of uspto-multiview, half of the figures searching for"
        f" the other half, {result['splits']} random halves each, among {sizes}; one design is"
        " right. In brackets: 95 % of resamples of patents."
    )
    return f"{table(head, lines)}\n\n{note}"


KEYS = (("map", 3), ("ratio", 2))


def _interval(told: list[float], digits: int) -> str:
    value, low, high = told
    if value == low == high:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def views_cost(result: Mapping[str, Any], table: Table) -> str:
    """Milliseconds by figures and views."""
    rows = result["cost"]
    many = sorted({row["views"] for row in rows})
    lines = []
    for figures in sorted({row["figures"] for row in rows}):
        medians = [
            statistics.median(row["cpu"])
            for views in many
            for row in rows
            if (row["figures"], row["views"]) == (figures, views)
        ]
        lines.append([f"{figures:,}", *(f"{median * 1e3:.1f} ms" for median in medians)])
    head = ["figures", *(f"{views} view{'s' * (views > 1)}" for views in many)]
    samples = len(rows[0]["cpu"])
    note = (
        f"Ten designs found exactly through the first pass; processor time on one thread, medians"
        f" of {samples} in turn; made vectors; {result['host']['cpu']}."
    )
    return f"{table(head, lines)}\n\n{note}"


def votes(result: Mapping[str, Any]) -> str:
    """What the vote on the class was worth, in a sentence."""
    asked = result["votes"]["asked"]
    right = sum(one["class_right"] for one in asked)
    clear = [one for one in asked if one["clear"]]
    among = f"{sum(one['right'] for one in clear)} of them right" if clear else "none of them"
    return (
        f"The vote of the ten nearest, for {len(asked)} test patents among 103 others of"
        f" {result['votes']['classes']} classes: the class told was right for {right}"
        f" ({right / len(asked):.0%}); {len(clear)} votes were clear"
        + (f", {among}." if clear else ".")
    )
