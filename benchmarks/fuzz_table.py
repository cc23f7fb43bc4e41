"""What a hundred thousand spoilt files did to the readers, as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

GROUPS = {
    "drawings: TIFF, PNG, JPEG, WebP, BMP, GIF, PDF": (
        "tiff", "png", "jpeg", "webp", "bmp", "gif", "pdf",
    ),
    "sources: ZIP, tar, tar.gz, folders, USPTO XML, DeepPatent2, CSV, Parquet": (
        "zip", "tar", "tar.gz", "folder", "uspto", "deeppatent2", "table", "parquet",
    ),
    "bundles: manifest, calibration, golden drawings, network": (
        "bundle.json", "calibration", "golden.npz", "model.onnx",
    ),
    "registers: each file": (
        "register.json", "head.json", "designs.sqlite", "columns.bin", "vectors-0.f32",
        "pictures-0.bin", "pass.u8", "graph.hnsw", "graph.hnsw.json",
    ),
    "records, watches, reports, splits, recipes": (
        "record", "watch.json", "report", "split", "recipe",
    ),
}  # fmt: skip
FOUND = ("crash", "hang", "memory", "exception")
Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def fuzz(result: dict[str, Any], table: Table) -> str:
    """Count what became of the inputs, a row for each group of readers."""
    rows = []
    for what, kinds in GROUPS.items():
        counts = [result["readers"][kind] for kind in kinds if kind in result["readers"]]

        def count(*names: str, of: list[dict[str, float]] = counts) -> int:
            return int(sum(one.get(name, 0) for one in of for name in names))

        slowest = max(one["slowest_s"] for one in counts)
        rows.append(
            [
                what,
                f"{count('read', 'refused', 'guarded', *FOUND):,}",
                f"{count('read'):,}",
                f"{count('refused', 'guarded'):,}",
                *(f"{count(name):,}" for name in FOUND),
                f"{slowest:.1f} s",
            ]
        )
    missing = set(result["readers"]) - {kind for kinds in GROUPS.values() for kind in kinds}
    assert not missing, missing
    names = [
        "inputs",
        "read",
        "refused with a hint",
        "crashes",
        "over 5 s",
        "over 1 GB",
        "tracebacks",
    ]
    text = table(["readers", *names, "slowest"], rows)
    peak = result["peak_rss_bytes"] / 1e6
    return f"{text}\n\nSeed {result['seed']}; most memory of a process: {peak:.0f} MB."
