"""A graph of hnswlib on disk: written whole or not at all, compared before hnswlib reads it.

Two files: the graph as hnswlib writes it, and beside it NAME.json with what it must agree with.
hnswlib itself checks nothing: from a graph of another dimension it answers nonsense, and a damaged
file can make it write outside its memory. The graph is a cache: whatever is refused here can be
built again from the vectors.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import RegisterError
from edge_retrieval.provenance import sha256_of

GRAPH_SCHEMA = 1
SETTINGS = ("m", "ef_construction", "ef", "seed", "threads")
HASHED_AT_ONCE = 65_536  # vectors


def write(path: Path, graph: Any, vectors: Embeddings, settings: Mapping[str, int]) -> None:
    """Write an `hnswlib.Index` over `vectors` to `path`, and `path`.json beside it.

    Raises:
        RegisterError: The disk is full or the folder cannot be written.
    """
    try:
        with _replacing(path) as part:
            graph.save_index(str(part))
            # hnswlib does not look whether its writes succeeded.
            if part.stat().st_size != graph.index_file_size():
                raise OSError("the disk may be full")
            side = {
                "schema": GRAPH_SCHEMA,
                "sha256": sha256_of(part),
                "bytes": part.stat().st_size,
                "dim": vectors.shape[1],
                "count": len(vectors),
                "vectors": fingerprint(vectors),
                **settings,
            }
        with _replacing(side_of(path)) as part:
            part.write_text(json.dumps(side, indent=1, sort_keys=True) + "\n", "utf-8")
    except (OSError, RuntimeError) as error:
        hint = "check that the folder is writable and the disk has room"
        raise RegisterError(f"{path}: cannot write the graph: {error}", hint=hint) from error


def check(path: Path, vectors: Embeddings) -> dict[str, int]:
    """Compare a graph on disk with what was recorded of it and with `vectors`.

    Returns:
        The settings it was built with: m, ef_construction, ef, seed, threads.

    Raises:
        RegisterError: The graph is missing, damaged, or of other vectors.
    """
    side = _read_side(path)
    try:
        found = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    except OSError as error:
        raise bad(path, f"cannot read the graph: {error.strerror}") from error
    for name, value in found.items():
        if side[name] != value:
            raise bad(path, f"the graph is damaged: {name} is {value}, not {side[name]}")
    given = {"dim": vectors.shape[1], "count": len(vectors), "vectors": fingerprint(vectors)}
    for name, value in given.items():
        if side[name] != value:
            raise bad(path, f"the graph is of other vectors: {name} is {side[name]}, not {value}")
    return {name: side[name] for name in SETTINGS}


def fingerprint(vectors: Embeddings) -> str:
    """Return the hex SHA-256 of the vectors, row after row, little-endian; read in chunks."""
    digest = hashlib.sha256(json.dumps(vectors.shape).encode())
    for start in range(0, len(vectors), HASHED_AT_ONCE):
        digest.update(np.ascontiguousarray(vectors[start : start + HASHED_AT_ONCE], "<f4").data)
    return digest.hexdigest()


def side_of(path: Path) -> Path:
    """Return where the record beside a graph lies."""
    return path.with_name(path.name + ".json")


def bad(path: Path, why: str) -> RegisterError:
    """Say that a graph cannot be used."""
    return RegisterError(f"{path}: {why}", hint="delete it: it is built again from the vectors")


def _read_side(path: Path) -> dict[str, Any]:
    """Read what a graph must agree with; every value present and of the right type."""
    try:
        side = json.loads(side_of(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise bad(side_of(path), f"cannot be read: {error}") from error
    types: dict[str, type] = {"schema": int, "sha256": str, "vectors": str}
    types |= dict.fromkeys(("bytes", "dim", "count", *SETTINGS), int)
    if not isinstance(side, dict) or any(type(side.get(k)) is not t for k, t in types.items()):
        raise bad(side_of(path), "does not describe a graph")
    if side["schema"] != GRAPH_SCHEMA:
        raise bad(side_of(path), f"schema {side['schema']} is not {GRAPH_SCHEMA}")
    return side


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a sibling to write to, and put it in the place of `path` at the end, or remove it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if os.name != "nt":  # Windows cannot open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
