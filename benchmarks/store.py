"""What does a store find of the nearest designs, and how long does it take beside the register?

Question: overlap@10 with the exact answer, without a filter, within a class, and after a date, and
the time of one search (one view, ten designs), in the register itself, in milvus-lite in this
process, in milvus-lite as a server of its own, and in any Milvus that is named.

    python benchmarks/store.py
    python benchmarks/store.py --figures 100000 --store milvus:http://localhost:19530

Vectors are made, as like a trained encoder's as `bench.made` can make them; a design's class and
date have nothing to do with its vectors, which is the hard case for a graph. Filters go to the
store here even where `edge-ret search` would answer them from the register. A collection of the
name `benchmark` is made, or brought up to date. Writes benchmarks/results/store.json with every
sample.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from made_register import make_register
from made_vectors import VIEWS, MadeVectors

from edge_retrieval.arrays import Embeddings
from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.filters import Chosen, Filters
from edge_retrieval.index import Index
from edge_retrieval.index.views import nearest_groups
from edge_retrieval.plan import RegisterVectors
from edge_retrieval.plan import plan as local_plan
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.register import Register
from edge_retrieval.report import save_json
from edge_retrieval.store import FoundInStore, open_store, push, read_address

RESULTS = Path(__file__).parent / "results"
K, WARM = 10, 3
COLLECTION = "benchmark"
FILTERS = {
    "no filter": Filters(),
    "one class of 30": Filters(classes=["07"]),
    "one subclass of 150": Filters(classes=["07-02"]),
    "from 2018 on": Filters(after="2018"),
}


@contextlib.contextmanager
def lite_server(folder: Path) -> Iterator[str]:
    """Run milvus-lite as a process of its own; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = (
        "from milvus_lite.adapter.grpc.server import run_server;"
        f"run_server({str(folder)!r}, host='127.0.0.1', port={port})"
    )
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield f"milvus:http://127.0.0.1:{port}"
        finally:
            process.terminate()


def asked(
    index: Index, register: Register, queries: Embeddings, chosen: Chosen
) -> tuple[list[set[int]], list[float]]:
    """Search with each query alone; return the designs found, and the seconds of each."""
    columns, vectors = register.columns, RegisterVectors(register)
    found, seconds = [], []
    for query in queries:
        started = time.perf_counter()
        best = nearest_groups(
            index, query[None], K, groups=columns.design_of, vectors=vectors, rows=chosen.rows,
            without=columns.dead_rows if chosen.rows is None else None,
        )  # fmt: skip
        seconds.append(time.perf_counter() - started)
        found.append({one.group for one in best})
    return found, seconds


def told(
    found: Sequence[set[int]], true: Sequence[set[int]], seconds: Sequence[float], **more: Any
) -> dict[str, Any]:
    """Return what a table shows of some searches, and all samples."""
    shares = [len(one & other) / len(other) for one, other in zip(found, true, strict=True)]
    return {
        "overlap@10": float(np.mean(shares)),
        "p50": float(np.percentile(seconds, 50)),
        "p99": float(np.percentile(seconds, 99)),
        "seconds": [round(one, 6) for one in seconds],
        **more,
    }


def measure(
    register: Register, queries: Embeddings, store: FoundInStore | None
) -> dict[str, dict[str, Any]]:
    """Search under each filter, in a store or in the register itself."""
    results = {}
    for name, filters in FILTERS.items():
        chosen = filters.choose(register.columns, where=register.folder)
        local = local_plan(register, chosen, exact=True)
        asked(local.searcher, register, queries[:WARM], chosen)
        true, seconds = asked(local.searcher, register, queries, chosen)
        more: dict[str, Any] = {"figures": chosen.figures}
        found = true
        if store is not None:
            index = store.always(register, chosen, filters).searcher
            asked(index, register, queries[:WARM], chosen)
            before = index.too_few  # type: ignore[attr-defined]  # a StoreIndex
            found, seconds = asked(index, register, queries, chosen)
            more["too_few"] = index.too_few - before  # type: ignore[attr-defined]
        results[name] = told(found, true, seconds, **more)
        say(f"  {name}: {results[name] | {'seconds': '...'}}")
    return results


def filled(register: Register, address: str, queries: Embeddings) -> dict[str, Any]:
    """Fill a store, and search in it."""
    where = read_address(address, COLLECTION)
    started = time.perf_counter()
    pushed = push(register, where)
    seconds = time.perf_counter() - started
    say(f"{address}: {pushed} in {seconds:.1f} s")
    with open_store(where, register) as store:
        results = measure(register, queries, store)
        server = store.collection.server
    return {"server": server, "push_seconds": seconds, "pushed": pushed.added, "searches": results}


def say(text: str) -> None:
    """Write a line of progress."""
    print(text, file=sys.stderr)


def main() -> None:
    """Make a register, fill the stores, search, write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--figures", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--store", action="append", default=[], help="also this one; repeatable")
    parser.add_argument("--out", type=Path, default=RESULTS / "store.json")
    args = parser.parse_args()
    bundle = Bundle.open(default_bundle_path())
    made = MadeVectors(args.figures, dim=bundle.dim)
    queries = made.queries(args.queries)
    stores: dict[str, Callable[[], dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        make_register(Path(folder) / "made", np.concatenate(list(made.rows())), bundle)
        register = stack.enter_context(Register.open(Path(folder) / "made"))
        say("the register itself")
        results: dict[str, Any] = {"register": {"searches": measure(register, queries, None)}}
        own = stack.enter_context(lite_server(Path(folder) / "served"))
        stores["milvus-lite, in this process"] = lambda: filled(
            register, f"milvus:{folder}/made.db", queries
        )
        stores["milvus-lite, a server of its own"] = lambda: filled(register, own, queries)
        for address in args.store:
            stores[f"named {len(stores) - 1}"] = lambda at=address: filled(register, at, queries)  # type: ignore[misc]
        for name, run in stores.items():
            results[name] = run()
    save_json(
        args.out,
        {
            "question": "overlap@10 and time of a search in a store, beside the register's own",
            "figures": args.figures,
            "designs": -(-args.figures // VIEWS),
            "dim": bundle.dim,
            "queries": args.queries,
            "k": K,
            "made": now(),
            "host": host(),
            "versions": {**versions(), **_stores()},
            "results": results,
        },
    )


def _stores() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("pymilvus", "milvus-lite")}


if __name__ == "__main__":
    main()
