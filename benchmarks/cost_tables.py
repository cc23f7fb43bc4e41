"""The tables of `cold_start.py` and `warm.py`; rendered by `render.py`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Table = Callable[[list[str], list[list[str]]], str]
OURS = "edge-ret search --json"


def cold_start(result: Mapping[str, Any], table: Table) -> str:
    """One search as a process, beside a bare script and rclip, and by how much."""
    parts = []
    for row in result["rows"]:
        samples = row["samples"]
        ours = {key: middle(samples[OURS], key) for key in ("cpu", "wall", "peak")}
        lines = []
        for name, runs in samples.items():
            theirs = {key: middle(runs, key) for key in ours}
            times = {key: ours[key] / theirs[key] for key in ours}
            lines.append(
                [
                    f"**{name}**" if name == OURS else name,
                    f"{theirs['cpu'] * 1e3:.0f} ms",
                    f"{theirs['wall'] * 1e3:.0f} ms",
                    f"{theirs['peak'] / 1e6:.0f} MB",
                    "" if name == OURS else share(times["cpu"]),
                    "" if name == OURS else share(times["peak"]),
                ]
            )
        head = ["", "CPU", "wall", "peak memory", "ours takes, CPU", "ours takes, memory"]
        title = f"**{result['figures']:,} figures, {row['dim']} numbers each**"
        parts.append(f"{title}\n\n{table(head, lines)}")
    host = result["host"]
    note = (
        f"Medians of {result['rounds']} rounds in turn, a process each, file cache warm;"
        f" rclip {result['rclip']}; {host['cpu']}, {host['cores']} cores."
    )
    return "\n\n".join([*parts, note])


def warm(result: Mapping[str, Any], table: Table) -> str:
    """Searches in a register held open."""
    lines = []
    for row in result["rows"]:
        for name, samples in row["samples"].items():
            figures = f"{samples['compared']:,} of {row['figures']:,}"
            times = [
                f"{statistics.quantiles(samples[key], n=100, method='inclusive')[at] * 1e3:.2f} ms"
                for key, at in (("cpu", 49), ("cpu", 98), ("wall", 49), ("wall", 98))
            ]
            lines.append([name, figures, *times, f"{samples['peak'] / 1e6:.0f} MB"])
    head = ["", "figures compared", "p50, CPU", "p99, CPU", "p50, wall", "p99, wall", "peak memory"]
    host = result["host"]
    note = (
        f"{result['queries']} queries one by one, one thread, the first with its checksums;"
        " files cached;"
        f" {result['rows'][0]['dim']} dimensions; peak of the process so far. As planned: from"
        f" 400,000 figures on, through the graph once scanning has cost as much as loading it;"
        f" {host['cpu']}."
    )
    return f"{table(head, lines)}\n\n{note}"


def middle(runs: Sequence[Mapping[str, float]], key: str) -> float:
    """Return the median of one measure."""
    return statistics.median(run[key] for run in runs)


def share(times: float) -> str:
    """Say 1.12 as "1.12x", 0.125 as "1/8.0"."""
    return f"{times:.2f}x" if times > 0.5 else f"1/{1 / times:.1f}"
