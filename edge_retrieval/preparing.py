"""Making what makes a register fast to search: the first pass and the graph."""

from __future__ import annotations

from edge_retrieval import plan
from edge_retrieval.errors import RegisterError
from edge_retrieval.index import GRAPH, PASS
from edge_retrieval.plan import RegisterVectors, forget, named, open_first
from edge_retrieval.progress import Track, silent
from edge_retrieval.register import Register

STALE = 0.05
"""Share of the rows that a pass or a graph may leave uncovered before it is made anew."""


def prepare(register: Register, *, track: Track = silent) -> list[str]:
    """Make what makes searching faster, where it pays and is not there; by whoever has written.

    Returns:
        What was made: names of files.

    Raises:
        MissingExtraError: A graph pays and hnswlib is not installed; the first pass is made.
        RegisterError: The disk is full, or the folder cannot be written.
    """
    made: list[str] = []
    rows = len(register.vectors)
    if rows < plan.PASS_FROM:
        return made
    vectors = RegisterVectors(register, sweeping=True)
    if not _fresh(register, _covered_by_pass(register)):
        from edge_retrieval.index.building import build_pass

        if build_pass(register.folder / PASS, vectors, of=named(register, rows)):
            made.append(PASS)
        forget(register)
    if rows >= plan.GRAPH_FROM and not _fresh(register, _covered_by_graph(register)):
        from edge_retrieval.index.graph import HnswIndex

        first = open_first(register, RegisterVectors(register))
        graph = HnswIndex.build(vectors, exact=first, track=track)
        graph.measure()
        graph.save(register.folder / GRAPH, of=named(register, rows))
        made.append(GRAPH)
    return made


def _fresh(register: Register, covered: int) -> bool:
    rows = len(register.vectors)
    return rows - covered <= STALE * rows


def _covered_by_pass(register: Register) -> int:
    """Return how many of these vectors the pass covers; 0 if there is none that is whole."""
    index = open_first(register, RegisterVectors(register))
    if index is None:
        return 0
    try:
        index.first.check()
    except RegisterError:
        return 0
    return len(index.first)


def _covered_by_graph(register: Register) -> int:
    from edge_retrieval.index.graph_file import check_file

    try:
        side = check_file(register.folder / GRAPH)
    except RegisterError:
        return 0
    return side.count if side.vectors == named(register, side.count) else 0
