"""What a user of a library that knows no drawings has to write to search vectors.

    python benchmarks/peer_vectors.py faiss-flat build STORE VECTORS
    python benchmarks/peer_vectors.py faiss-flat ask STORE VECTORS

For peers.py, in an interpreter that has the library; only ours imports this project. VECTORS is a
.npy file, rows of length 1; `ask` asks with its first row, and prints the ten rows as JSON and what
100 more such searches took, each. Nothing is caught: what happens is what the library does.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

K, AGAIN = 10, 100


def main() -> None:
    """Do what the command line says."""
    way, what, store, vectors = sys.argv[1:]
    if what == "build":
        libraries()[way][0](store, vectors)
    else:
        print(json.dumps(asked(way, store, vectors)))


def asked(way: str, store: str, vectors: str) -> dict[str, Any]:
    """Open what was built, ask once, and then again with a clock."""
    import numpy as np

    queries = np.array(np.load(vectors, mmap_mode="r")[:1])  # (1, D)
    answer = libraries()[way][1](store, queries.shape[1])
    rows = [int(row) for row in answer(queries)]
    seconds = []
    for _ in range(AGAIN):
        began = time.perf_counter()
        answer(queries)
        seconds.append(round(time.perf_counter() - began, 7))
    return {"rows": rows, "seconds": seconds}


def libraries() -> dict[str, tuple[Callable[..., None], Callable[..., Any]]]:
    """Return for each library what builds a file and what opens it to be asked."""
    return {
        "edge-retrieval": (no_build, open_register),
        "numpy": (build_numpy, open_numpy),
        "faiss-flat": (lambda *at: build_faiss("Flat", *at), open_faiss),
        "faiss-hnsw": (lambda *at: build_faiss("HNSW16", *at), open_faiss),
        "usearch": (build_usearch, open_usearch),
        "hnswlib": (build_hnswlib, open_hnswlib),
    }


def no_build(store: str, vectors: str) -> None:
    """Do nothing: a register is searched as it was indexed."""


def open_register(store: str, dim: int) -> Any:
    """Open a register of ours, and search it with an embedding."""
    from edge_retrieval.register import Register
    from edge_retrieval.search import Query, search

    register = Register.open(Path(store))

    def answer(query: Any) -> list[int]:
        [result] = search(register, [Query("", ())], None, embeddings=[query], k=K)
        return [hit.figure.row for hit in result.hits]

    return answer


def build_numpy(store: str, vectors: str) -> None:
    """Keep the vectors as they are."""
    Path(store, "index").write_bytes(Path(vectors).read_bytes())


def open_numpy(store: str, dim: int) -> Any:
    """Load the matrix, and multiply it."""
    import numpy as np

    with Path(store, "index").open("rb") as file:
        rows = np.load(file)

    def answer(query: Any) -> Any:
        scores = rows @ query[0]
        best = np.argpartition(-scores, min(K, len(scores) - 1))[:K]
        return best[np.argsort(-scores[best])]

    return answer


def build_faiss(factory: str, store: str, vectors: str) -> None:
    """Build what the factory makes of a word."""
    import faiss
    import numpy as np

    rows = np.load(vectors)
    index = faiss.index_factory(rows.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.add(rows)
    faiss.write_index(index, str(Path(store, "index")))


def open_faiss(store: str, dim: int) -> Any:
    """Read any index of faiss."""
    import faiss

    index = faiss.read_index(str(Path(store, "index")))
    return lambda query: index.search(query, K)[1][0]


def build_usearch(store: str, vectors: str) -> None:
    """Build a graph with the library's own settings."""
    import numpy as np
    from usearch.index import Index

    rows = np.load(vectors)
    index = Index(ndim=rows.shape[1], metric="ip")
    index.add(np.arange(len(rows)), rows)
    index.save(str(Path(store, "index")))


def open_usearch(store: str, dim: int) -> Any:
    """Map the file."""
    from usearch.index import Index

    index = Index(ndim=dim, metric="ip")
    index.view(str(Path(store, "index")))
    return lambda query: index.search(query[0], K).keys


def build_hnswlib(store: str, vectors: str) -> None:
    """Build a graph with the settings of its page."""
    import hnswlib
    import numpy as np

    rows = np.load(vectors)
    index = hnswlib.Index(space="ip", dim=rows.shape[1])
    index.init_index(len(rows), M=16, ef_construction=200)
    index.add_items(rows)
    index.save_index(str(Path(store, "index")))


def open_hnswlib(store: str, dim: int) -> Any:
    """Load the file, and set what it does not hold."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=dim)
    index.load_index(str(Path(store, "index")))
    index.set_ef(50)
    return lambda query: index.knn_query(query, K)[0][0]


if __name__ == "__main__":
    main()
