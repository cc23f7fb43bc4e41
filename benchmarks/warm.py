"""What does a search cost in a program that holds a register open?

Question: CPU and wall seconds of `search()`, embeddings given: filter, plan, first pass, scores,
grouping by design, the records of ten hits with their checksums; and the peak memory of a process
that does nothing else. Unlike `search.py`, which asks indexes alone.

    python benchmarks/made_register.py big --figures 1000000
    python benchmarks/warm.py big another --queries 200

Writes benchmarks/results/warm.json; `python benchmarks/render.py` makes the table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from made_vectors import MadeVectors

from edge_retrieval.drawing import FigureImage
from edge_retrieval.filters import Filters
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.register import Register
from edge_retrieval.report import save_json
from edge_retrieval.search import Query, search
from edge_retrieval.sources import Box

RESULTS = Path(__file__).parent / "results"
CLASS = "07-03"


def main() -> None:
    """Ask each register in a process of its own; save every sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("registers", type=Path, nargs="+")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--child", action="store_true", help="one register, results to stdout")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measured(args.registers[0], args.queries)))
        return
    rows = []
    for folder in args.registers:
        command = [sys.executable, __file__, "--child", str(folder)]
        told = subprocess.run(
            [*command, "--queries", str(args.queries)],
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        rows.append(json.loads(told.stdout))
        for name, samples in rows[-1]["samples"].items():
            cpu, wall = (np.percentile(samples[key], [50, 99]) * 1e3 for key in ("cpu", "wall"))
            print(f"{rows[-1]['figures']:>9,} {name:20} CPU {cpu.round(2)} wall {wall.round(2)} ms")
    save_json(
        RESULTS / "warm.json",
        {
            "question": "seconds of a search in a register held open, embeddings given",
            "queries": args.queries,
            "rows": rows,
            "host": host(),
            "versions": versions(),
            "created": now(),
        },
    )


def measured(folder: Path, count: int) -> dict[str, Any]:
    """Search a register of `made_register.py` for more views of its designs."""
    for name in ("vectors-0.f32", "designs.sqlite", "pass.u8", "columns.bin"):
        read_through(folder / name)  # into the system's file cache: no disk is measured
    with Register.open(folder) as register:
        made = MadeVectors(len(register.vectors), dim=register.vectors.shape[1])
        asked = made.queries(count)  # more views of the designs that are there
        figure = FigureImage(np.zeros((8, 8), np.uint8), Box(0, 0, 8, 8))
        queries = [Query(str(number), [figure]) for number in range(count)]
        samples = {}
        for name, filters, exact in (
            ("exact", Filters(), True),
            ("exact, one class", Filters(classes=[CLASS]), True),
            ("as planned", Filters(), False),  # last: the graph, once loaded, stays
        ):
            cpu, wall = [], []
            compared = 0
            for query, vector in zip(queries, asked, strict=True):
                begun = time.process_time(), time.perf_counter()
                [result] = search(
                    register, [query], embeddings=[vector[None]], filters=filters, exact=exact
                )
                cpu.append(time.process_time() - begun[0])
                wall.append(time.perf_counter() - begun[1])
                compared = result.compared_figures
                assert len(result.hits) == 10, len(result.hits)
                assert result.exact or not exact
            samples[name] = {"cpu": cpu, "wall": wall, "compared": compared, "peak": peak()}
        return {
            "figures": len(register.vectors),
            "dim": register.vectors.shape[1],
            "samples": samples,
        }


def read_through(path: Path) -> None:
    """Read a file once, if it is there, and keep nothing of it."""
    if path.exists():
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass


def peak() -> int | None:
    """Return the most bytes that this process has held, pages of maps in them; None: unknown."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
