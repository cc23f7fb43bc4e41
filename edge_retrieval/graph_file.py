"""A graph of hnswlib on disk: written whole or not at all, compared before hnswlib reads it.

Two files: the graph as hnswlib writes it, and beside it NAME.json with what it must agree with.
hnswlib itself checks nothing: from a graph of another dimension it answers nonsense, and a damaged
file can make it write outside its memory. A checksum finds damage, but not malice, since whoever
can change the graph can change the record: so every number in it that hnswlib follows is looked at.
The graph is a cache: whatever is refused here can be built again from the vectors.
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
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import RegisterError
from edge_retrieval.provenance import sha256_of

GRAPH_SCHEMA = 1
SETTINGS = ("m", "ef_construction", "ef", "seed", "threads")
READ_AT_ONCE = 65_536  # vectors
LARGEST = 10_000  # m or ef: hnswlib's own bound of m, and far above any sensible ef
HEADER = np.dtype(
    [
        ("layout", "<u8", 6),  # offset, places, vectors, bytes of each, offsets of label and vector
        ("top", "<i4"),  # the highest level
        ("entry", "<u4"),  # the vector where each search begins
        ("m", "<u8", 3),  # links of a vector above level 0, at level 0, and asked for
        ("mult", "<f8"),
        ("ef_construction", "<u8"),
    ]
)


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
    if fault := _fault(path, vectors, side["m"]):
        raise bad(path, f"the graph is damaged: {fault}")
    return {name: side[name] for name in SETTINGS}


def fingerprint(vectors: Embeddings) -> str:
    """Return the hex SHA-256 of the vectors, row after row, little-endian; read in chunks."""
    digest = hashlib.sha256(json.dumps(vectors.shape).encode())
    for start in range(0, len(vectors), READ_AT_ONCE):
        digest.update(np.ascontiguousarray(vectors[start : start + READ_AT_ONCE], "<f4").data)
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
    if not (2 <= side["m"] <= LARGEST and 1 <= side["ef"] <= LARGEST):
        raise bad(side_of(path), f"m {side['m']} or ef {side['ef']} makes no sense")
    return side


def _fault(path: Path, vectors: Embeddings, m: int) -> str | None:
    """Return what in the file would lead hnswlib astray; None if nothing.

    The form, as hnswlib 0.8 writes it (hnswalg.h, saveIndex): a header; for each vector its links
    at level 0, the vector and its label; for each vector the bytes of its upper links, and these.
    """
    count, dim = vectors.shape
    element = np.dtype(
        [("n", "<u4"), ("links", "<u4", 2 * m), ("vector", "<u4", dim), ("label", "<u8")]
    )
    if path.stat().st_size < HEADER.itemsize + count * element.itemsize:
        return "too short"
    header = np.fromfile(path, HEADER, count=1)[0]
    links = 4 + 8 * m
    expected = (0, max(1, count), count, element.itemsize, links + 4 * dim, links)
    if header["layout"].tolist() != list(expected) or header["m"].tolist() != [m, 2 * m, m]:
        return "its header is of another graph"
    if count == 0:
        empty = header["top"] == -1 and path.stat().st_size == HEADER.itemsize
        return None if empty else "it should be empty"
    elements = np.memmap(path, element, "r", offset=HEADER.itemsize, shape=(count,))
    end = HEADER.itemsize + elements.nbytes
    if (path.stat().st_size - end) % 4:
        return "its length"
    return _fault_at_the_bottom(elements, vectors, m) or _fault_above(
        np.fromfile(path, "<u4", offset=end), header, count, m
    )


def _fault_at_the_bottom(elements: NDArray[np.void], vectors: Embeddings, m: int) -> str | None:
    """Look at level 0: links lead to vectors, each vector is there once and is the one given."""
    count = len(vectors)
    seen = np.zeros(count, bool)
    for start in range(0, count, READ_AT_ONCE):
        piece = elements[start : start + READ_AT_ONCE]
        if not _lead_within(piece["n"], piece["links"], count):
            return "a link leads nowhere"
        labels = piece["label"]
        if (labels >= count).any():
            return "a label stands for no vector"
        seen[labels] = True
        given = np.ascontiguousarray(vectors[labels], "<f4").view("<u4")
        if not np.array_equal(piece["vector"], given):
            return "a vector is not the one given"
    return None if seen.all() else "a vector is missing"


def _fault_above(words: NDArray[np.uint32], header: np.void, count: int, m: int) -> str | None:
    """Look at the upper levels: links lead to vectors that reach that level, too."""
    block = 1 + m  # words of a vector's links at one level: how many, and m places
    filled = np.flatnonzero(words)
    levels, starts = np.zeros(count, np.int64), np.zeros(count, np.int64)
    place = number = 0  # of the vector whose links come next; most have none, a zero word each
    while number < count:
        after = np.searchsorted(filled, place)
        skipped = int(filled[after] if after < len(filled) else len(words)) - place
        if number + skipped >= count:
            place += count - number
            break
        number, place = number + skipped, place + skipped
        if place >= len(words) or words[place] % (4 * block):
            return "its upper levels"
        levels[number], starts[number] = int(words[place]) // (4 * block), place + 1
        place += 1 + int(levels[number]) * block
        number += 1
    if place != len(words):
        return "its length"
    top = int(levels.max())
    if header["top"] != top or header["entry"] >= count or levels[header["entry"]] != top:
        return "its entry point"
    for level in range(1, top + 1):
        reaching = np.flatnonzero(levels >= level)
        places = starts[reaching, None] + (level - 1) * block + np.arange(block)
        links = words[places]  # (reaching, 1 + m)
        if not _lead_within(links[:, 0], links[:, 1:], count, levels >= level):
            return f"a link at level {level} leads nowhere"
    return None


def _lead_within(
    n: NDArray[np.uint32],
    links: NDArray[np.uint32],
    count: int,
    reached: NDArray[np.bool_] | None = None,
) -> bool:
    """Tell whether the first `n` links of each row lead to vectors, and to `reached` ones."""
    if (n > links.shape[1]).any():
        return False
    followed = links[np.arange(links.shape[1]) < n[:, None]]
    if (followed >= count).any():
        return False
    return reached is None or bool(reached[followed].all())


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
