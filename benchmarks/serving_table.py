"""The table of `serving.py`; rendered by `render.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Table = Callable[[list[str], list[list[str]]], str]
NAMES = {"search": "a search", "drawing": "a drawing sent", "picture": "a picture"}


def serving(result: Mapping[str, Any], table: Table) -> str:
    """One line a kind of request; below it errors, memory and what a full queue answered."""
    lines = [
        [
            name,
            f"{own['n']:,}",
            *(f"{own[key] * 1e3:.0f} ms" for key in ("p50", "p95", "p99")),
            f"{own['per_second']:.1f}/s",
        ]
        for kind, name in NAMES.items()
        for own in [result["requests"][kind]]
    ]
    register, memory = result["register"], result["memory"]
    held = [size for _, size in memory["held"]]
    growth = memory["growth_of_last_half"]
    overflow = result["overflow"]
    refused = sum(n for status, n in overflow["statuses"].items() if status.endswith(" 503"))
    errors = len(result["errors"])
    note = (
        f"{result['clients']} clients at once for {result['seconds']:.0f} s on the same"
        f" {result['host']['cores']} cores; {register['figures']:,} figures; {result['k']} designs"
        f" a search with all their pictures' addresses and counts. Errors: {errors}. Memory of the"
        f" server: {held[0] / 1e6:.0f} MB at first, {held[-1] / 1e6:.0f} MB at the end,"
        f" {growth['bytes'] / 1e6:+.1f} MB over the last half ({growth['share']:+.1%}). With one"
        f" worker and room for two more ({overflow['seconds']:.0f} s): {refused:,} requests refused"
        f" with 503, {overflow['refused_without_retry_after']} of them without Retry-After,"
        f" {len(overflow['errors'])} other errors."
    )
    return f"{table(['', 'n', 'p50', 'p95', 'p99', 'rate'], lines)}\n\n{note}"
