"""The libraries that search vectors and know no drawings: their part of peers.py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from peer_runs import CannotRunError, Command, Run, last_line, run

from edge_retrieval.register import Register
from edge_retrieval.register.files import vectors_name

SCRIPT = Path(__file__).parent / "peer_vectors.py"


class Library(NamedTuple):
    """One of them: `way` is its name in peer_vectors.py, `file` what a search reads."""

    name: str
    packages: tuple[str, ...]
    python: str
    way: str
    file: str = "index"


def libraries(ours: str, peers: str) -> list[Library]:
    """Return all; ours reads the register that was indexed, and tells designs."""
    return [
        Library("edge-retrieval", ("edge-retrieval",), ours, "edge-retrieval", vectors_name(0)),
        Library("numpy", ("numpy",), peers, "numpy"),
        Library("faiss Flat", ("faiss-cpu",), peers, "faiss-flat"),
        Library("faiss HNSW16", ("faiss-cpu",), peers, "faiss-hnsw"),
        Library("usearch", ("usearch",), peers, "usearch"),
        Library("hnswlib", ("hnswlib",), peers, "hnswlib"),
    ]


def save_vectors(register: Path, path: Path) -> int:
    """Write the vectors of a register for all libraries; return how many."""
    with Register.open(register) as opened:
        vectors = np.array(opened.vectors, np.float32)  # (N, D)
    np.save(path, vectors)
    return len(vectors)


def build(one: Library, register: Path, vectors: Path, store: Path, *, limit: float) -> None:
    """Make what a library searches in; ours is a copy of the register.

    Raises:
        CannotRunError: It fails.
    """
    shutil.rmtree(store, ignore_errors=True)
    if one.way == "edge-retrieval":
        shutil.copytree(register, store)
        return
    store.mkdir(parents=True)
    done = run(_command(one, "build", store, vectors), store, limit=limit)
    if done.code:
        raise CannotRunError(f"build ends with {done.code}: {last_line(done.stderr)}")


def measure_search(
    one: Library, vectors: Path, store: Path, *, searches: int, limit: float
) -> dict[str, Any]:
    """Search in as many processes; return what each cost, and each search in them.

    Raises:
        CannotRunError: It fails.
    """
    samples, seconds = [], []
    for _ in range(searches):
        done = run(_command(one, "ask", store, vectors), store, limit=limit)
        if done.code:
            raise CannotRunError(f"search ends with {done.code}: {last_line(done.stderr)}")
        samples.append(done.sample)
        seconds += json.loads(done.stdout)["seconds"]
    return {"search": samples, "seconds": seconds}


def try_flipped(one: Library, vectors: Path, store: Path, *, limit: float) -> dict[str, Any]:
    """Ask before and after one bit of the file was flipped; the file is mended again."""
    before = run(_command(one, "ask", store, vectors), store, limit=limit)
    path = store / one.file
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) * 6 // 10] ^= 0x40
    path.write_bytes(flipped)
    try:
        after = run(_command(one, "ask", store, vectors), store, limit=limit)
    finally:
        path.write_bytes(whole)
    return {
        "verdict": judge_flipped(before, after),
        "code": after.code,
        "said": last_line(after.stderr),
    }


def judge_flipped(before: Run, after: Run) -> str:
    """Say in a few words what a library did with a flipped bit."""
    if after.code < 0:
        return "crashed"
    if after.code:
        return "refused"
    rows: list[Mapping[str, Any]] = [json.loads(done.stdout)["rows"] for done in (before, after)]
    return (
        "answered as before, in silence" if rows[0] == rows[1] else "answered otherwise, in silence"
    )


def _command(one: Library, what: str, store: Path, vectors: Path) -> Command:
    home = {"EDGE_RET_CACHE": str(store / "cache")}
    return Command(
        [one.python, str(SCRIPT), one.way, what, str(store), str(vectors)], home=home
    )  # fmt: skip
