"""What does one shard of ten million figures cost? Measured, so that the plan need not guess it.

    python benchmarks/scale_plan_large.py WORK --count 10000000

Makes vectors as `benchmarks/search.py` does, builds the first pass and the graph over them, each in
a process of its own on one thread, and asks both the same queries. WORK keeps what was built: the
same command goes on. It takes 5 GB of disk for each ten million figures, half of that in memory
while the graph is built, and about an hour. The pass is exact, so the graph is held against it.
Writes the key `large` of benchmarks/results/scale_plan.json; the other keys stay.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import search
from made_vectors import MadeVectors
from scale_plan_constants import MEASURED, put

from edge_retrieval.index.pass_file import open_pass
from edge_retrieval.provenance import host, now, versions

WAYS = {"pass": "OursPass", "graph": "OursGraph"}
FIRST = 10  # queries before it warm up


def make(folder: Path, count: int, queries: int) -> None:
    """Write the vectors, a checksum of each, and the queries."""
    made = MadeVectors(count)
    with (folder / "vectors.part").open("wb") as file, (folder / "rows.crc").open("wb") as marks:
        for rows in made.rows():
            file.write(rows.astype("<f4").data)
            marks.write(np.array([zlib.crc32(row) for row in rows], "<u4").data)
    np.save(folder / "queries.npy", made.queries(queries).astype(np.float32))
    (folder / "vectors.part").replace(folder / "vectors.f32")


def answer(folder: Path) -> None:
    """Write the exact answers, found through the first pass."""
    queries = np.load(folder / "queries.npy")
    index = search.OursPass().index(folder)
    found = index.search(queries, search.K)[0]
    np.savez(folder / "asked.npz", queries=queries, **{"exact all": found})


def measure(folder: Path, name: str, queries: int) -> dict[str, Any]:
    """Build a way to search, unless it is there, and ask it every query."""
    told = folder / f"{name}.json"
    if not told.exists():
        print(f"building {name}", file=sys.stderr, flush=True)
        told.write_text(json.dumps(search.child("build", folder, name)))
    if not (folder / "asked.npz").exists():
        answer(folder)
    asked = search.child("ask", folder, name, "all", FIRST, queries)
    more = {}
    if name == WAYS["pass"]:  # rows that a search for ten designs scores, as the pass itself says
        more["compared"] = open_pass(folder / search.OursPass.file).compared
    return {**json.loads(told.read_text()), **asked, **more}


def main() -> None:
    """Make what is missing, measure, save after each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("work", type=Path, help="where vectors and indexes are kept")
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--queries", type=int, default=210)
    parser.add_argument("--only", choices=WAYS, help="one of the two")
    parser.add_argument("-o", "--out", type=Path, default=MEASURED)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    folder = args.work.resolve()
    if not (folder / "vectors.f32").exists():
        make(folder, args.count, args.queries)
    kept = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    large: dict[str, Any] = kept.get("large", {})
    if large.get("count") != args.count:
        large = {"count": args.count, "dim": search.DIM, "queries": args.queries - FIRST}
    for way, name in WAYS.items():
        if args.only in (None, way):
            large[way] = measure(folder, name, args.queries)
            about = {"host": host(), "versions": versions(), "created": now()}
            put(args.out, {"large": large | about})


if __name__ == "__main__":
    main()
