"""A graph of hnswlib on disk: written whole or not at all, compared before hnswlib reads it.

Two files: the graph as hnswlib writes it, and beside it NAME.json with what it must agree with.
hnswlib itself checks nothing: from a graph of another dimension it answers nonsense, and a damaged
file can make it write outside its memory. A checksum finds damage, but not malice, since whoever
can change the graph can change the record: so every number in it that hnswlib follows is looked at.
The graph is a cache: whatever is refused here can be built again from the vectors.
"""

from __future__ import annotations

import json
import os
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.errors import LIES, RegisterError
from edge_retrieval.index import UNFINISHED
from edge_retrieval.index.stored import Vectors
from edge_retrieval.provenance import sha256_of

GRAPH_SCHEMA = 2
SETTINGS = ("m", "ef_construction", "ef", "seed", "threads")
READ_AT_ONCE = 16_384  # vectors
CLOSE = 1e-4  # a coordinate made on another machine differs by no more
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


@dataclass(frozen=True)
class Side:
    """What stands beside a graph.

    Attributes:
        count: How many vectors it is over.
        vectors: What names exactly these; given by whoever keeps them.
        directions: ``(D, P)`` float64: what the vectors were multiplied by.
        overlap: Share of the ten nearest that it finds; None: not measured.
        settings: m, ef_construction, ef, seed, threads.
    """

    count: int
    vectors: str
    directions: NDArray[np.float64]
    overlap: float | None
    settings: Mapping[str, int]


def write(path: Path, graph: Any, side: Side) -> None:
    """Write an `hnswlib.Index` to `path`, and what it must agree with to `path`.json.

    Raises:
        RegisterError: The disk is full or the folder cannot be written.
    """
    try:
        with _replacing(path) as part:
            graph.save_index(str(part))
            # hnswlib does not look whether its writes succeeded.
            if part.stat().st_size != graph.index_file_size():
                raise OSError("the disk may be full")
            facts = {
                "schema": GRAPH_SCHEMA,
                "sha256": sha256_of(part),
                "bytes": part.stat().st_size,
                "count": side.count,
                "dim": side.directions.shape[0],
                "vectors": side.vectors,
                "directions": b64encode(side.directions.astype("<f8").tobytes()).decode(),
                "overlap": -1.0 if side.overlap is None else side.overlap,
                **side.settings,
            }
        with _replacing(side_of(path)) as part:
            part.write_text(sealed(facts), "utf-8")
    except (OSError, RuntimeError) as error:
        hint = "check that the folder is writable and the disk has room"
        raise RegisterError(f"{path}: cannot write the graph: {error}", hint=hint) from error


def check(path: Path, vectors: Vectors, *, of: Callable[[int], str]) -> Side:
    """Compare a graph on disk with what was recorded of it and with `vectors`.

    Args:
        path: Where it is.
        vectors: What it, or its beginning, should be over.
        of: Gives what names exactly the first so many vectors.

    Raises:
        RegisterError: The graph is missing, damaged, or of other vectors.
    """
    side = check_file(path)
    if not side.count <= len(vectors):
        raise bad(path, f"the graph is of other vectors: count is {side.count}, not {len(vectors)}")
    given = {
        "dim": (side.directions.shape[0], vectors.dim),
        "vectors": (side.vectors, of(side.count)),
    }
    for name, (found, value) in given.items():
        if found != value:
            raise bad(path, f"the graph is of other vectors: {name} is {found}, not {value}")
    if fault := _fault(path, vectors, side):
        raise bad(path, f"the graph is damaged: {fault}")
    return side


def check_file(path: Path) -> Side:
    """Compare the bytes of a graph on disk with what was recorded of them.

    Raises:
        RegisterError: The graph is missing or damaged.
    """
    facts = _read_side(path)
    try:
        found = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    except OSError as error:
        raise bad(path, f"cannot read the graph: {error.strerror}") from error
    for name, value in found.items():
        if facts[name] != value:
            raise bad(path, f"the graph is damaged: {name} is {value}, not {facts[name]}")
    return Side(
        count=facts["count"],
        vectors=facts["vectors"],
        directions=_directions(path, facts),
        overlap=None if facts["overlap"] < 0 else facts["overlap"],
        settings={name: facts[name] for name in SETTINGS},
    )


def _directions(path: Path, facts: dict[str, Any]) -> NDArray[np.float64]:
    """Return (D, P), or refuse what cannot be it."""
    with suppress(ValueError):
        numbers = np.frombuffer(b64decode(facts["directions"], validate=True), "<f8")
        directions = numbers.reshape(facts["dim"], -1)
        if directions.shape[1] and np.isfinite(directions).all():
            return directions
    raise bad(side_of(path), "its directions make no sense")


def sealed(facts: Mapping[str, Any]) -> str:
    """Return what stands in the file beside a graph, with a checksum of itself."""
    told = {name: value for name, value in facts.items() if name != "check"}
    check = zlib.crc32(json.dumps(told, sort_keys=True).encode())
    return json.dumps({**told, "check": check}, indent=1, sort_keys=True) + "\n"


def side_of(path: Path) -> Path:
    """Return where the record beside a graph lies."""
    return path.with_name(path.name + ".json")


def bad(path: Path, why: str) -> RegisterError:
    """Say that a graph cannot be used."""
    return RegisterError(f"{path}: {why}", hint="delete it: it is built again from the vectors")


def _read_side(path: Path) -> dict[str, Any]:
    """Read what a graph must agree with; every value present and of the right type."""
    try:
        text = side_of(path).read_text("utf-8")
        side = json.loads(text)
    except (OSError, *LIES) as error:
        raise bad(side_of(path), f"cannot be read: {error}") from error
    types: dict[str, type] = {"schema": int, "sha256": str, "vectors": str, "directions": str}
    types["overlap"] = float
    types |= dict.fromkeys(("bytes", "dim", "count", *SETTINGS), int)
    if not isinstance(side, dict) or any(type(side.get(k)) is not t for k, t in types.items()):
        raise bad(side_of(path), "does not describe a graph")
    if side["schema"] != GRAPH_SCHEMA:
        raise bad(side_of(path), f"schema {side['schema']} is not {GRAPH_SCHEMA}")
    if not (2 <= side["m"] <= LARGEST and 1 <= side["ef"] <= LARGEST):
        raise bad(side_of(path), f"m {side['m']} or ef {side['ef']} makes no sense")
    if text != sealed(side):
        raise bad(side_of(path), "has changed since it was written")
    return side


def _fault(path: Path, vectors: Vectors, side: Side) -> str | None:
    """Return what in the file would lead hnswlib astray; None if nothing.

    The form, as hnswlib 0.8 writes it (hnswalg.h, saveIndex): a header; for each vector its links
    at level 0, the vector and its label; for each vector the bytes of its upper links, and these.
    """
    count, dim, m = side.count, side.directions.shape[1], side.settings["m"]
    element = np.dtype(
        [("n", "<u4"), ("links", "<u4", 2 * m), ("vector", "<f4", dim), ("label", "<u8")]
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
    end = HEADER.itemsize + count * element.itemsize
    if (path.stat().st_size - end) % 4:
        return "its length"
    with path.open("rb") as file:  # not mapped: what is mapped counts as memory of the process
        file.seek(HEADER.itemsize)
        fault = _fault_at_the_bottom(file, element, vectors, side)
    return fault or _fault_above(np.fromfile(path, "<u4", offset=end), header, count, m)


def _fault_at_the_bottom(
    file: BinaryIO, element: np.dtype[np.void], vectors: Vectors, side: Side
) -> str | None:
    """Look at level 0: links lead to vectors, each vector is there once and is the one given."""
    count = side.count
    seen = np.zeros(count, bool)
    for start in range(0, count, READ_AT_ONCE):
        piece = np.fromfile(file, element, count=min(READ_AT_ONCE, count - start))
        if not _lead_within(piece["n"], piece["links"], count):
            return "a link leads nowhere"
        labels = piece["label"].astype(np.int64)
        if (piece["label"] >= count).any():
            return "a label stands for no vector"
        seen[labels] = True
        one_after_another = labels[0] + np.arange(len(labels))
        if np.array_equal(labels, one_after_another):
            given = vectors.span(int(labels[0]), int(labels[-1]) + 1)
        else:  # several threads built it
            given = vectors.take(labels)
        if not (np.abs(piece["vector"] - given @ side.directions) <= CLOSE).all():
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
    part = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
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
