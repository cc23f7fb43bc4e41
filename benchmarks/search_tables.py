"""The tables of benchmarks/results/search.json: what one search costs, beside other libraries."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Table = Callable[[list[str], list[list[str]]], str]
HEAD = [
    "", "p50, CPU", "p99, CPU", "p50, wall", "overlap@10", "file", "peak memory", "open, CPU",
    "build, CPU",
]  # fmt: skip


def search(result: Mapping[str, Any], table: Table) -> str:
    """All contestants on every set, with no filter."""
    parts = []
    for name in dict.fromkeys(row["set"] for row in result["rows"]):
        rows = [row for row in result["rows"] if (row["set"], row["among"]) == (name, "all")]
        parts += [f"**{title(name)}**", table(HEAD, [cells(row) for row in rows])]
    return "\n\n".join([*parts, note(result)])


def search_million(result: Mapping[str, Any], table: Table) -> str:
    """All contestants on the largest set, with no filter."""
    rows = [row for row in result["rows"] if row["set"] == "1M" and row["among"] == "all"]
    return table(HEAD, [cells(row) for row in rows]) + "\n\n" + note(result)


def search_filtered(result: Mapping[str, Any], table: Table) -> str:
    """A slice of 2 %, its rows together and scattered."""
    slices = {
        (row["set"], row["name"], row["among"]): row
        for row in result["rows"]
        if row["among"] != "all"
    }
    rows = []
    for name, contestant in dict.fromkeys(key[:2] for key in slices):
        line = [f"{contestant}, {title(name)}"]
        for among in ("together", "scattered"):
            row = slices[name, contestant, among]
            p50, p99 = (f"{ms(row['cpu'], percent)} ms" for percent in (50, 99))
            line += [p50, p99, f"{statistics.fmean(row['overlap']):.3f}"]
        rows.append(line)
    head = ["", "together: p50", "p99", "overlap@10", "scattered: p50", "p99", "overlap@10"]
    share = f"{result['slice']:.0%}"
    return table(head, rows) + f"\n\nAmong {share} of the figures; CPU. As above."


def cells(row: Mapping[str, Any]) -> list[str]:
    """One contestant as a line."""
    return [
        row["name"],
        f"{ms(row['cpu'], 50)} ms",
        f"{ms(row['cpu'], 99)} ms",
        f"{ms(row['wall'], 50)} ms",
        f"{statistics.fmean(row['overlap']):.3f}",
        f"{row['bytes'] / 1e6:,.1f} MB",
        f"{statistics.median(row['peak']) / 1e6:,.0f} MB",
        f"{statistics.median(row['open_cpu']) * 1e3:,.0f} ms",
        f"{row['build_cpu']:,.1f} s" if row["build_cpu"] >= 0.05 else "",
    ]


def ms(samples: list[float], percent: float) -> str:
    """Return a percentile in milliseconds."""
    return f"{np.percentile(samples, percent) * 1e3:.2f}"


def title(name: str) -> str:
    """Say a set's name in full."""
    count, _, flat = name.partition(" ")
    words = {"20k": "20,000", "100k": "100,000", "1M": "1,000,000"}
    return words[count] + (" with variance in all directions alike" if flat else "")


def note(result: Mapping[str, Any]) -> str:
    """Say what was done."""
    used = ", ".join(f"{n} {result['versions'][n]}" for n in ("faiss-cpu", "usearch", "hnswlib"))
    return (
        f"Indexes alone, nothing of designs; {result['dim']} dimensions; {result['queries']}"
        " queries one by one on one thread, in"
        f" {result['rounds']} rounds in turn, a process each; open: load, check, answer the first"
        " query; peak memory of the process, Python and pages of the map in it. Others' answers as"
        f" they come, nothing rescored. {used}; {result['host']['cpu']}."
    )
