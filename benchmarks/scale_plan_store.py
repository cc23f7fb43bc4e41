"""What does a figure take in Milvus, on the disk and in memory, beside what the register takes?

    python benchmarks/scale_plan_store.py --figures 5000 20000
    python benchmarks/scale_plan_store.py --figures 20000 80000 --data path/to/its/data \\
        --store milvus:http://localhost:19530 --process 1234

Made figures are pushed, as many as are named one after the other, each time into a collection of
its own; the difference between two sizes is what figures take, whatever the store takes by itself.
Without `--store` it is a file of milvus-lite. Writes the key `store` of
benchmarks/results/scale_plan.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from made_register import make_register
from made_vectors import MadeVectors
from scale_plan_constants import MEASURED, put

from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.provenance import host, now
from edge_retrieval.register import Register
from edge_retrieval.store import open_store, push, read_address

SETTLE = 20.0  # seconds in which a server writes what it has taken, and lets go of it


def held(process: int | None) -> int | None:
    """Return the bytes that a process and those that it started hold; None: none is named."""
    import psutil

    if process is None:
        return None
    first = psutil.Process(process)
    return sum(one.memory_info().rss for one in (first, *first.children(recursive=True)))


def stored(place: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)


def pushed(figures: int, args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Push so many made figures; return what the store takes before and after."""
    bundle = Bundle.open(default_bundle_path())
    vectors = np.concatenate(list(MadeVectors(figures, dim=bundle.dim).rows()))
    make_register(work / f"made-{figures}", vectors, bundle)
    file = work / f"made-{figures}.db"
    address = read_address(args.store or f"milvus:{file}", f"plan_{figures}")
    place = args.data or file
    before = {"disk": stored(place) if place.exists() else 0, "memory": held(args.process)}
    with Register.open(work / f"made-{figures}") as register:
        began = time.perf_counter()
        push(register, address)
        seconds = time.perf_counter() - began
        with open_store(address, register) as store:
            server = store.collection.server
        time.sleep(SETTLE if args.store else 0)
        after = {"disk": stored(place), "memory": held(args.process)}
    print(server, figures, before, after, f"{seconds:.0f} s", file=sys.stderr, flush=True)
    return {"server": server, "figures": figures, "before": before, "after": after,
            "push_seconds": seconds}  # fmt: skip


def main() -> None:
    """Push each size, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--figures", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--store", help="address of a Milvus; else a file of milvus-lite")
    parser.add_argument("--data", type=Path, help="the folder in which it keeps its data")
    parser.add_argument("--process", type=int, help="the number of its process")
    parser.add_argument("-o", "--out", type=Path, default=MEASURED)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        rows = [pushed(figures, args, Path(work)) for figures in args.figures]
    kept = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    others = [r for r in kept.get("store", []) if r["server"] != rows[0]["server"]]
    about = {"host": host(), "created": now()}
    put(args.out, {"store": [*others, *({**row, **about} for row in rows)]})


if __name__ == "__main__":
    main()
