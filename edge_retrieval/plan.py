"""How a register is searched: with which index, chosen by what each way costs.

Three ways lead to the same scores. All vectors are compared in float32 where they are few; the
first pass, a cache of a few bytes a row, rules most of them out where they are many, and the answer
is still exact; the graph, nearly exact, is loaded once the scans of a session have cost as much as
loading it. A filter leaves rows, and these alone are looked at, exactly.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakKeyDictionary, proxy

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import MissingExtraError, RegisterError
from edge_retrieval.filters import Chosen, Filters
from edge_retrieval.index import GRAPH, PASS, FlatIndex, Index
from edge_retrieval.register import Register

if TYPE_CHECKING:
    from edge_retrieval.index.first_pass import PassIndex

PASS_FROM = 8_000
"""Figures from which a first pass pays: its file is opened and checked in the time in which 4 MB
of vectors are; from here on the vectors cost more."""

GRAPH_FROM = 400_000
"""Figures from which a graph pays: the exact search of a million through the first pass takes about
8 ms of one core; the graph takes a quarter of a millisecond, but 2 minutes to build, and a second
and 250 MB to load."""

BYTE_SCANNED, BYTE_LOADED = 0.3e-9, 5e-9
"""Seconds to scan a byte of the pass, and to check and load one of the graph."""

SWEPT_FROM, SWEPT_AT_ONCE = 200_000, 16_384
"""Vectors from which a comparison of all lets go of what it has read: it would stay in memory."""

READ_ONE_BY_ONE = 4_096
"""Above so many rows at once, the memory map is read instead."""


class Step(NamedTuple):
    """One step of a plan: what is read, how much of it, and why so."""

    what: str
    rows: int
    bytes: int
    why: str


class Plan(NamedTuple):
    """How a search is answered.

    Attributes:
        searcher: What answers it.
        exact: Whether every figure that the filters leave is compared, or ruled out by a bound.
        overlap: Share of the ten nearest that an approximate index finds, measured on this
            register when it was made; None: exact, or not measured.
        steps: What is done, in order.
        store: The store that finds the candidates; "": none does.
    """

    searcher: Index
    exact: bool
    overlap: float | None
    steps: tuple[Step, ...]
    store: str = ""


class Planner(Protocol):
    """Chooses how to search, in the place of `plan`: a store that holds the register's vectors."""

    def plan(
        self,
        register: Register,
        chosen: Chosen,
        filters: Filters,
        *,
        figures: int = 1,
        exact: bool = False,
    ) -> Plan:
        """See `plan`; `chosen` is what `filters` leave."""
        ...


class RegisterVectors:
    """The vectors of a register: each held against its checksum before it counts.

    Args:
        register: Whose vectors.
        sweeping: Let go of what has been read: a map that is read whole stays in memory else.
    """

    def __init__(self, register: Register, *, sweeping: bool = False) -> None:
        self._register = register
        self._sweeping = sweeping

    def __len__(self) -> int:
        return len(self._register.vectors)

    @property
    def dim(self) -> int:
        return self._register.bundle.dim

    def take(self, rows: NDArray[np.int64]) -> Embeddings:
        """See `index.Vectors.take`."""
        if len(rows) <= READ_ONE_BY_ONE or self._sweeping:
            return self._register.read_rows(rows)
        self._register.check_batches_of(int(rows.min()), int(rows.max()) + 1)
        return np.asarray(self._register.vectors[rows])

    def span(self, start: int, stop: int) -> Embeddings:
        """See `index.Vectors.span`."""
        self._register.check_batches_of(start, stop)
        found = self._register.vectors[start:stop]
        if not self._sweeping:
            return np.asarray(found)
        copied = np.array(found)
        import mmap

        mapped = getattr(self._register.vectors, "_mmap", None)
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        return copied


class _Opened:
    """What one session has opened for one snapshot of a register."""

    def __init__(self, register: Register) -> None:
        self.state = register.generation, register.epoch
        # Weakly: what is opened for a register must not keep it alive.
        self.vectors = RegisterVectors(proxy(register))
        self.flat = FlatIndex(self.vectors)
        self.first = open_first(register, self.vectors)
        self.graph: Index | None = None
        self.graph_failed = False
        self.scanned = 0.0  # seconds spent on scans that a graph would have saved


_opened: WeakKeyDictionary[Register, _Opened] = WeakKeyDictionary()


def plan(register: Register, chosen: Chosen, *, figures: int = 1, exact: bool = False) -> Plan:
    """Choose how to search.

    Args:
        register: Where.
        chosen: What the filters leave.
        figures: How many drawings are searched with now.
        exact: Whether nothing approximate will do.

    Raises:
        RegisterError: The columns of the register are damaged.
    """
    opened = _opened.get(register)
    if opened is None or opened.state != (register.generation, register.epoch):
        opened = _opened[register] = _Opened(register)
    rows = register.figures_count if chosen.rows is None else len(chosen.rows)
    size = register.bundle.dim * 4
    if opened.first is None:
        why = (
            f"fewer than {PASS_FROM:,} figures: nothing is faster"
            if len(register.vectors) < PASS_FROM
            else "no first pass over these vectors; adding to the register makes one"
        )
        return Plan(opened.flat, True, None, (Step("compare in float32", rows, rows * size, why),))
    width = opened.first.first.coding.width
    if chosen.rows is None and not exact and len(register.vectors) >= GRAPH_FROM:
        opened.scanned += figures * rows * width * BYTE_SCANNED
        graph = _graph(register, opened)
        if graph is not None:
            return _through_graph(graph, rows, size)
    covered = len(opened.first.first)
    many = rows
    if chosen.rows is not None:
        many = int(np.searchsorted(chosen.rows, covered))
    elif rows:
        many = min(rows, covered)
    why = f"{width} bytes of a figure rule out most: the answer is exact all the same"
    steps = [Step("scan the first pass", many, many * width, why)]
    if rows > many:
        why = "added after the first pass was made"
        steps.append(Step("compare in float32", rows - many, (rows - many) * size, why))
    left = max(1, round(opened.first.first.compared))
    why = "about so many may still be among the best ten"
    steps.append(Step("read and score in float64", left, left * size, why))
    return Plan(opened.first, True, None, tuple(steps))


def _through_graph(graph: Index, rows: int, size: int) -> Plan:
    settings = graph.settings  # type: ignore[attr-defined]
    overlap: float | None = graph.overlap  # type: ignore[attr-defined]
    ef = settings["ef"]
    steps = (
        Step(
            "follow the graph", rows, 0, "this session has scanned for as long as loading it took"
        ),
        Step("read and score in float64", ef, ef * size, "the candidates that it leads to"),
    )
    return Plan(graph, False, overlap, steps)


def _graph(register: Register, opened: _Opened) -> Index | None:
    """Return the graph, once the session's scans have cost as much as loading it."""
    path = register.folder / GRAPH
    if opened.graph is None and not opened.graph_failed and opened.first is not None:
        try:
            cost = path.stat().st_size * BYTE_LOADED
        except OSError:
            opened.graph_failed = True
            return None
        if opened.scanned < cost:
            return None
        from edge_retrieval.index.graph import HnswIndex

        try:
            opened.graph = HnswIndex.load(
                path,
                RegisterVectors(proxy(register), sweeping=True),
                of=lambda count: named(register, count),
                exact=opened.first,
            )
        except (RegisterError, MissingExtraError):  # a cache: of earlier vectors, or damaged
            opened.graph_failed = True
    return opened.graph


def open_first(register: Register, vectors: RegisterVectors) -> PassIndex | None:
    """Return the first pass over these vectors; None if there is none, or it is damaged."""
    path = register.folder / PASS
    if len(register.vectors) < PASS_FROM or not path.exists():
        return None
    # Small registers are searched without.
    from edge_retrieval.index.first_pass import PassIndex
    from edge_retrieval.index.pass_file import open_pass

    try:
        first = open_pass(path)
        if first.vectors != (named(register, len(first)) or None):
            return None
        flat = FlatIndex(vectors)
        if len(vectors) >= SWEPT_FROM:
            flat = FlatIndex(RegisterVectors(proxy(register), sweeping=True), chunk=SWEPT_AT_ONCE)
        return PassIndex(first, vectors, flat=flat)
    except RegisterError:
        return None


def named(register: Register, count: int) -> str:
    """Return what names exactly the first `count` vectors; "" if they end within a batch."""
    columns = register.columns
    batches = int(np.searchsorted(columns.batch_first, count))
    end = (
        columns.batch_first[batches]
        if batches < len(columns.batch_first)
        else len(register.vectors)
    )
    if end != count:
        return ""
    crc = zlib.crc32(np.ascontiguousarray(columns.batch_first[:batches], "<i8").tobytes())
    crc = zlib.crc32(np.ascontiguousarray(columns.batch_crc[:batches], "<u4").tobytes(), crc)
    return f"{register.bundle.fingerprint[:16]} epoch {register.epoch} rows {count} {crc:08x}"


def forget(register: Register) -> None:
    """Let go of what was opened for a register: its caches have been made anew."""
    _opened.pop(register, None)
