"""The table of what stores find, and how long they take: benchmarks/store.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def store(result: dict[str, Any], table: Callable[[list[str], list[list[str]]], str]) -> str:
    """Overlap with the exact answer and time of one search, by filter."""
    results = result["results"]
    names = list(results["register"]["searches"])
    figures = [results["register"]["searches"][name]["figures"] for name in names]
    head = [
        "",
        "to fill",
        *(f"{name}, {many:,}" for name, many in zip(names, figures, strict=True)),
    ]
    rows = []
    for where, told in results.items():
        filling = f"{told['push_seconds']:.0f} s" if "push_seconds" in told else ""
        if where.startswith("named"):
            where = told["server"]
        cells = [
            f"{one['overlap@10']:.4f}, {1e3 * one['p50']:.0f} / {1e3 * one['p99']:.0f} ms"
            for one in (told["searches"][name] for name in names)
        ]
        rows.append([where, filling, *cells])
    versions = result["versions"]
    note = (
        f"{result['figures']:,} made figures of {result['designs']:,} designs, {result['dim']} "
        f"numbers each; {result['queries']} searches of one view for {result['k']} designs. Of "
        "each: overlap@10 with the exact answer, and the p50 / p99 of its time. "
        f"pymilvus {versions['pymilvus']}, milvus-lite {versions['milvus-lite']}; "
        f"{result['host']['cpu']}, {result['host']['cores']} cores, which others use, too."
    )
    return table(head, rows) + "\n\n" + note
