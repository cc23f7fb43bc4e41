"""The table of `what_helps.py`; rendered by `render.py`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

Table = Callable[[list[str], list[list[str]]], str]
MEASURES = ("patent mAP", "hit_rate@5", "subclass mAP")


def what_helps(result: Mapping[str, Any], table: Table) -> str:
    """One line a contestant: means over its seeds, on both parts."""
    names = list(dict.fromkeys(row["name"] for row in result["rows"]))
    lines = []
    for name in names:
        own = [row for row in result["rows"] if row["name"] == name]
        cells = [
            f"{statistics.mean(row[part][measure] for row in own):.3f}"
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
