"""Whether the caches that make a register fast to search are whole."""

from __future__ import annotations

from pathlib import Path

from edge_retrieval.errors import RegisterError
from edge_retrieval.index import GRAPH, PASS


def faults(folder: Path) -> list[str]:
    """Hold every byte of the caches in a folder against what was recorded of them.

    Returns:
        What is wrong, a line each; without them, or with others, searching gives the same.
    """
    from edge_retrieval.index.graph_file import check_file, side_of
    from edge_retrieval.index.pass_file import open_pass

    found = []
    try:
        if (folder / PASS).exists():
            open_pass(folder / PASS).check()
    except RegisterError as error:
        found.append(str(error))
    try:
        if (folder / GRAPH).exists() or side_of(folder / GRAPH).exists():
            check_file(folder / GRAPH)
    except RegisterError as error:
        found.append(str(error))
    return found
