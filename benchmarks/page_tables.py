"""The tables of what a page costs: decoding.py and indexing.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Table = Callable[[list[str], list[list[str]]], str]


def decoding(result: dict[str, Any], table: Table) -> str:
    """Milliseconds a page, likeness of embeddings, and memory."""
    rows = []
    for row in result["rows"]:
        times = (f"{row['median'][name] * 1e3:.1f} ms" for name in ("ours", "by_any", "by_nonzero"))
        speeds = (f"{row['speed'][name]:.1f}x" for name in ("by_any", "by_nonzero"))
        rows.append([f"{row['file']}, {row['pages']}", *times, *speeds])
    head = ["page", "ours", "`any`", "`nonzero`", "faster than `any`", "than `nonzero`"]
    count = result["rows"][0]["count"]
    note = (
        f"CPU, median of {count} pages, each the median of"
        f" {len(result['rows'][0]['cpu_seconds']['ours'][0])} runs in turn; faster: median of the"
        f" pages' ratios. {result['host']['cpu']}."
    )
    alike = [row for row in result["rows"] if "cosine" in row]
    lines = []
    for row in alike:
        for name, values in row["cosine"].items():
            told = (f"{v:.4f}" for v in (np.median(values), np.quantile(values, 0.05), min(values)))
            lines.append([f"{row['pages']}: to {name}", *told])
    cosines = table(["cosine of embeddings", "median", "5 %", "least"], lines)
    peaks = [
        [name, f"{peak['read'] / 1e6:.0f} MB", f"{(peak['read'] - peak['nothing']) / 1e6:.0f} MB"]
        for name, peak in result["peak_memory_of_50_megapixels"].items()
    ]
    memory = table(["a page of 50 megapixels", "peak of the process", "of it for the page"], peaks)
    return "\n\n".join([table(head, rows), note, cosines, memory])


def indexing(result: dict[str, Any], table: Table) -> str:
    """Sheets a second of ours and of fastembed."""
    rows = []
    for row in result["rows"]:
        rounds = row["rounds"]
        speed = np.median([one["sheets"] / one["seconds"] for one in rounds])
        figures = np.median([one["figures"] / one["seconds"] for one in rounds])
        cpu = [one["cpu"] / one["sheets"] for one in rounds if one["cpu"]]
        rows.append(
            [
                row["name"],
                f"{speed:.1f}",
                f"{figures:.1f}" if figures else "",
                f"{np.median(cpu) * 1e3:.1f} ms" if cpu else "",
                f"{np.median([one['peak_memory'] for one in rounds]) / 1e6:.0f} MB",
            ]
        )
    head = ["", "sheets/s", "figures/s", "CPU a sheet", "peak memory of the main process"]
    ours = np.array([one["sheets"] / one["seconds"] for one in result["rows"][0]["rounds"]])
    others = [
        np.array([one["sheets"] / one["seconds"] for one in row["rounds"]])
        for row in result["rows"]
        if not row["ours"]
    ]
    best = max(others, key=lambda speeds: float(np.median(speeds)))
    note = (
        f"{result['rows'][0]['rounds'][0]['sheets']} sheets of {result['source']}, the bundle"
        f" {result['bundle']} at {result['size']} px, {len(ours)} round(s) in turn, medians;"
        f" fastembed {result['versions']['fastembed']}; {result['host']['cpu']},"
        f" {result['cores']} cores. Ours to the fastest fastembed, round by round:"
        f" {np.median(ours / best):.2f}x. Ours cuts every sheet, embeds each figure and commits all"
        " to a register; fastembed squeezes each sheet whole into the square and keeps nothing."
    )
    return table(head, rows) + "\n\n" + note
