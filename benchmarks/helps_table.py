"""The table of `what_helps.py`; rendered by `render.py`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Table = Callable[[list[str], list[list[str]]], str]
MEASURES = ("patent mAP", "hit_rate@5", "subclass mAP")


def what_helps(result: Mapping[str, Any], table: Table) -> str:
    """One line a contestant: means over its seeds, on both parts; of patent mAP the range too."""
    names = list(dict.fromkeys(row["name"] for row in result["rows"]))
    lines = []
    for name in names:
        own = [row for row in result["rows"] if row["name"] == name]
        cells = [
            _told([row[part][measure] for row in own], ranged=measure == MEASURES[0])
            for part in ("validation", "test")
            for measure in MEASURES
        ]
        lines.append([name, ", ".join(str(row["seed"]) for row in own), *cells])
    head = ["", "seeds", *(f"{part}: {m}" for part in ("validation", "test") for m in MEASURES)]
    network = result.get("network", "mobilenetv4_conv_small")
    note = (
        f"{network} at {result['size']} px, {result['steps']} steps of {result['batch']};"
        f" galleries of {result['rows'][0]['validation']['gallery']} and"
        f" {result['rows'][0]['test']['gallery']} figures; {result['convention']}."
    )
    return f"{table(head, lines)}\n\n{note}"


def _told(values: Sequence[float], *, ranged: bool) -> str:
    mean = f"{statistics.mean(values):.3f}"
    if not ranged or len(values) < 2:
        return mean
    return f"{mean} ({min(values):.3f} to {max(values):.3f})"
