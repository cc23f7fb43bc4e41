"""What does one search cost, and what does it find, beside the libraries that do the same?

Question: of 20,000, 100,000 and 1,000,000 made embeddings of 128 dimensions, one query at a time on
one thread: processor and wall time, overlap@10 with exact search, size of the file, peak memory of
the process, seconds to build. Also in a slice of 2 %, its rows together and scattered.

    python benchmarks/search.py WORK --queries 300 --rounds 3

WORK keeps the vectors and the indexes that were built: gone on with when the command is repeated.
Every contestant is built in a process of its own, and measured in one of its own in each round, in
turn, with a third of the queries. Ours reads single vectors as a register does: by their place in
the file, each held against its checksum. Nothing is rescored for the others: their answers are
theirs. Needs the extra `bench`.
Writes benchmarks/results/search.json; `python benchmarks/render.py` makes the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from made_vectors import MadeVectors
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.index import FlatIndex, Index
from edge_retrieval.index.first_pass import PassIndex
from edge_retrieval.index.pass_file import open_pass
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json

RESULTS = Path(__file__).parent / "results"
DIM, K, SLICE, WARM_UP = 128, 10, 0.02, 5
Answer = Callable[[NDArray[np.float32]], NDArray[np.int64]]


class Set(NamedTuple):
    """What is searched."""

    name: str
    size: int
    flat: bool


SETS = (
    Set("20k", 20_000, False),
    Set("100k", 100_000, False),
    Set("1M", 1_000_000, False),
    Set("100k flat", 100_000, True),
)


class FileVectors:
    """Vectors in a file, read by their place and held against checksums, as in a register."""

    dim = DIM

    def __init__(self, folder: Path, *, mapped: bool = True) -> None:
        self.crcs = np.fromfile(folder / "rows.crc", "<u4")
        self._file = os.open(folder / "vectors.f32", os.O_RDONLY)
        self._map = np.memmap(folder / "vectors.f32", "<f4", "r").reshape(-1, DIM)
        self._mapped = mapped

    def __len__(self) -> int:
        return len(self.crcs)

    def take(self, rows: NDArray[np.int64]) -> Embeddings:
        size = DIM * 4
        pieces = [os.pread(self._file, size, row * size) for row in rows.tolist()]
        if [zlib.crc32(piece) for piece in pieces] != self.crcs[rows].tolist():
            raise ValueError("a row has changed")
        return np.frombuffer(b"".join(pieces), "<f4").reshape(-1, DIM)

    def span(self, start: int, stop: int) -> Embeddings:
        if self._mapped:
            return np.asarray(self._map[start:stop])
        data = os.pread(self._file, (stop - start) * DIM * 4, start * DIM * 4)
        return np.frombuffer(data, "<f4").reshape(-1, DIM)


# ------------------------------------------------------------------ the contestants


class Contestant:
    """One way to search: built once into a file, then opened and asked."""

    name = ""
    file = ""
    filters = False
    flat_too = True  # measured on the flat set, too
    note = ""

    def build(self, folder: Path) -> None:
        """Write `file`."""

    def open(self, folder: Path, rows: NDArray[np.int64] | None) -> Answer:
        """Return what answers a query (D,) with its ten nearest rows, of `rows` if they are given.

        What does not depend on the query is done before.
        """
        raise NotImplementedError


class Numpy(Contestant):
    name, file, filters = "numpy float32, mapped", "vectors.f32", True

    def open(self, folder: Path, rows: NDArray[np.int64] | None) -> Answer:
        vectors = np.memmap(folder / "vectors.f32", "<f4", "r").reshape(-1, DIM)
        if rows is not None and rows[-1] - rows[0] == len(rows) - 1:
            vectors, first = vectors[rows[0] : rows[-1] + 1], rows[0]
            rows = None
        else:
            first = 0

        def answer(query: NDArray[np.float32]) -> NDArray[np.int64]:
            scores = (vectors if rows is None else vectors[rows]) @ query
            best = np.argpartition(scores, len(scores) - K)[len(scores) - K :]
            best = best[np.argsort(-scores[best])]
            return best + first if rows is None else rows[best]

        return answer


class Ours(Contestant):
    filters = True

    def index(self, folder: Path) -> Index:
        raise NotImplementedError

    def open(self, folder: Path, rows: NDArray[np.int64] | None) -> Answer:
        index = self.index(folder)
        return lambda query: index.rank(query[None], K, rows=rows)[0][0]


class OursFlat(Ours):
    name, file = "edge-retrieval, all in float32", "vectors.f32"

    def index(self, folder: Path) -> Index:
        return FlatIndex(FileVectors(folder))


class OursPass(Ours):
    name, file = "**edge-retrieval, first pass** (exact)", "pass.u8"

    def build(self, folder: Path) -> None:
        from edge_retrieval.index.building import build_pass

        build_pass(folder / self.file, FileVectors(folder, mapped=False), of="")

    def index(self, folder: Path) -> Index:
        return PassIndex(open_pass(folder / self.file), FileVectors(folder))


class OursGraph(Ours):
    name, file, filters = "**edge-retrieval, graph**", "graph.hnsw", False
    flat_too = False

    def build(self, folder: Path) -> None:
        from edge_retrieval.index.graph import HnswIndex

        HnswIndex.build(FileVectors(folder, mapped=False)).save(folder / self.file)

    def index(self, folder: Path) -> Index:
        from edge_retrieval.index.graph import HnswIndex

        return HnswIndex.load(folder / self.file, FileVectors(folder, mapped=False))


class Faiss(Contestant):
    factory, setting, value = "", "", 0
    flat_too = False

    def build(self, folder: Path) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        vectors = np.fromfile(folder / "vectors.f32", "<f4").reshape(-1, DIM)
        index = faiss.index_factory(DIM, self.factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:: max(1, len(vectors) // 100_000)])
        index.add(vectors)
        faiss.write_index(index, str(folder / self.file))

    def open(self, folder: Path, rows: NDArray[np.int64] | None) -> Answer:
        import faiss

        faiss.omp_set_num_threads(1)
        flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
        index = faiss.read_index(str(folder / self.file), flags)
        if self.setting:
            faiss.ParameterSpace().set_index_parameter(index, self.setting, self.value)
        params = None
        if rows is not None:
            together = rows[-1] - rows[0] == len(rows) - 1
            selector = (
                faiss.IDSelectorRange(int(rows[0]), int(rows[-1]) + 1)
                if together
                else faiss.IDSelectorBatch(rows)
            )
            params = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        return lambda query: index.search(query[None], K, params=params)[1][0]


class FaissFlat(Faiss):
    name, file, factory = "faiss flat SQ8, mapped", "faiss-sq8", "SQ8"
    filters = flat_too = True


class FaissIvf(Faiss):
    name, file = "faiss IVF-SQ8, nprobe 64, mapped", "faiss-ivf"
    setting, value = "nprobe", 64

    def build(self, folder: Path) -> None:
        count = (folder / "vectors.f32").stat().st_size // (DIM * 4)
        self.factory = f"IVF{int(4 * count**0.5)},SQ8"
        super().build(folder)


class FaissHnsw(Faiss):
    name, file, factory = "faiss HNSW16 SQ8, ef 128", "faiss-hnsw", "HNSW16,SQ8"
    setting, value = "efSearch", 128


class Usearch(Contestant):
    name, file = "usearch float16, ef 64, viewed", "usearch"
    flat_too = False

    def build(self, folder: Path) -> None:
        from usearch.index import Index as Made

        vectors = np.memmap(folder / "vectors.f32", "<f4", "r").reshape(-1, DIM)
        index = Made(ndim=DIM, metric="ip", dtype="f16", connectivity=16)
        index.add(np.arange(len(vectors)), vectors, threads=1)
        index.save(str(folder / self.file))

    def open(self, folder: Path, rows: NDArray[np.int64] | None) -> Answer:
        from usearch.index import Index as Made

        index = Made(ndim=DIM, metric="ip", dtype="f16", connectivity=16, expansion_search=64)
        index.view(str(folder / self.file))
        return lambda query: index.search(query, K, threads=1).keys.astype(np.int64)


class Hnswlib(Contestant):
    name, file = "hnswlib M16, ef 64", "hnswlib"
    flat_too = False

    def build(self, folder: Path) -> None:
        import hnswlib

        vectors = np.memmap(folder / "vectors.f32", "<f4", "r").reshape(-1, DIM)
        index = hnswlib.Index(space="ip", dim=DIM)
        index.init_index(len(vectors), M=16, ef_construction=120)
        index.add_items(vectors, num_threads=1)
        index.save_index(str(folder / self.file))

    def open(self, folder: Path, rows: NDArray[np.int64] | None) -> Answer:
        import hnswlib

        index = hnswlib.Index(space="ip", dim=DIM)
        index.load_index(str(folder / self.file))
        index.set_ef(64)
        return lambda query: index.knn_query(query[None], K, num_threads=1)[0][0].astype(np.int64)


CONTESTANTS: dict[str, Contestant] = {
    type(one).__name__: one
    for one in (
        Numpy(), OursFlat(), OursPass(), OursGraph(), FaissFlat(), FaissIvf(), FaissHnsw(),
        Usearch(), Hnswlib(),
    )
}  # fmt: skip


# ------------------------------------------------------------------ what runs in a child


def make(folder: Path, count: int, *, flat: bool, queries: int) -> None:
    """Write vectors, the checksums of rows, queries, slices and the exact answers."""
    made = MadeVectors(count, flat=flat)
    with (folder / "vectors.part").open("wb") as file, (folder / "rows.crc").open("wb") as marks:
        for rows in made.rows():
            file.write(rows.astype("<f4").data)
            marks.write(np.array([zlib.crc32(row) for row in rows], "<u4").data)
    (folder / "vectors.part").replace(folder / "vectors.f32")
    asked = made.queries(queries).astype(np.float32)
    many = int(count * SLICE)
    slices = {
        "all": None,
        "together": np.arange(count // 3, count // 3 + many),
        "scattered": np.sort(np.random.default_rng(0).choice(count, many, replace=False)),
    }
    index = FlatIndex(FileVectors(folder, mapped=False))
    exact = {name: index.search(asked, K, rows=rows)[0] for name, rows in slices.items()}
    kept: dict[str, Any] = {f"exact {name}": found for name, found in exact.items()}
    kept |= {f"rows {name}": rows for name, rows in slices.items() if rows is not None}
    np.savez(folder / "asked.npz", queries=asked, **kept)


def build(folder: Path, one: Contestant) -> dict[str, float]:
    """Build an index; return what it cost."""
    began = time.process_time()
    one.build(folder)
    return {"build_cpu": time.process_time() - began, "bytes": (folder / one.file).stat().st_size}


def ask(folder: Path, one: Contestant, among: str, start: int, stop: int) -> dict[str, Any]:
    """Open an index and ask some of the queries; return every sample."""
    asked = np.load(folder / "asked.npz")
    queries, exact = asked["queries"], asked[f"exact {among}"]
    rows = None if among == "all" else asked[f"rows {among}"]
    began = time.process_time()
    answer = one.open(folder, rows)
    answer(queries[start - 1])
    opened = time.process_time() - began
    for number in range(WARM_UP):
        answer(queries[(start - 2 - number) % len(queries)])
    cpu, wall, overlap = [], [], []
    for query, best in zip(queries[start:stop], exact[start:stop], strict=True):
        c0, w0 = time.process_time(), time.perf_counter()
        found = answer(query)
        w1, c1 = time.perf_counter(), time.process_time()
        cpu.append(round(c1 - c0, 7))
        wall.append(round(w1 - w0, 7))
        overlap.append(len(set(found.tolist()) & set(best.tolist())) / K)
    return {"open_cpu": opened, "peak": peak(), "cpu": cpu, "wall": wall, "overlap": overlap}


def peak() -> int:
    """Return the most memory that this process has held, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # of this program alone; the other counts what started it, too
        [line] = [x for x in status.read_text().splitlines() if x.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def child(*words: object) -> dict[str, Any]:
    """Run one of the above in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--child", *map(str, words)]
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **one})
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def as_child(words: list[str]) -> None:
    """Do what `child` asked for."""
    what, folder, *rest = words
    result: dict[str, Any] = {}
    if what == "make":
        make(Path(folder), int(rest[0]), flat=rest[1] == "True", queries=int(rest[2]))
    elif what == "build":
        result = dict(build(Path(folder), CONTESTANTS[rest[0]]))
    else:
        result = ask(Path(folder), CONTESTANTS[rest[0]], rest[1], int(rest[2]), int(rest[3]))
    print(json.dumps(result))


# ------------------------------------------------------------------ the whole


def main() -> None:
    """Build what is missing, ask every contestant in turn, save every sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("work", type=Path, nargs="?", help="where vectors and indexes are kept")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=[each.name for each in SETS])
    parser.add_argument("--out", type=Path, default=RESULTS / "search.json")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--child", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if args.child:
        as_child(args.child)
        return
    rows = []
    for each in SETS:
        if each.name in args.sets:
            rows += measure(each, args.work / each.name.replace(" ", "-"), args)
    if args.build_only:
        return
    save_json(
        args.out,
        {
            "question": "what one search costs and finds, beside the libraries that do the same",
            "dim": DIM,
            "k": K,
            "slice": SLICE,
            "queries": args.queries,
            "rounds": args.rounds,
            "rows": rows,
            "host": host(),
            "versions": {
                **versions(),
                **{n: version(n) for n in ("faiss-cpu", "usearch", "hnswlib")},
            },
            "created": now(),
        },
    )


def measure(each: Set, folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all contestants on one set."""
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    if not (folder / "asked.npz").exists():
        child("make", folder, each.size, each.flat, 1000)
    contestants = {n: c for n, c in CONTESTANTS.items() if c.flat_too or not each.flat}
    rows = {}
    for name, one in contestants.items():
        told = folder / f"{name}.json"
        if not told.exists():
            print(f"{each.name}: building {one.name}", file=sys.stderr, flush=True)
            told.write_text(json.dumps(child("build", folder, name)))
        for among in ("all", "together", "scattered") if one.filters else ("all",):
            rows[name, among] = {
                "set": each.name, "count": each.size, "name": one.name, "among": among,
                **json.loads(told.read_text()),
                "open_cpu": [], "peak": [], "cpu": [], "wall": [], "overlap": [],
            }  # fmt: skip
    if args.build_only:
        return []
    step = args.queries // args.rounds
    for number in range(args.rounds):
        order = list(rows.items())[:: 1 if number % 2 else -1]
        for (name, among), row in order:
            found = child("ask", folder, name, among, 10 + number * step, 10 + (number + 1) * step)
            for key in ("cpu", "wall", "overlap"):
                row[key] += found[key]
            row["open_cpu"].append(found["open_cpu"])
            row["peak"].append(found["peak"])
    for row in rows.values():
        p50, p99 = np.percentile(row["cpu"], [50, 99]) * 1e3
        overlap, megabytes = np.mean(row["overlap"]), max(row["peak"]) / 1e6
        print(
            f"{row['set']:9} {row['among']:9} {row['name']:40} CPU p50 {p50:7.2f} p99 {p99:7.2f} ms"
            f" overlap {overlap:.3f} peak {megabytes:4.0f} MB file {row['bytes'] / 1e6:.1f} MB"
            f" build {row['build_cpu']:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    return list(rows.values())


if __name__ == "__main__":
    main()
