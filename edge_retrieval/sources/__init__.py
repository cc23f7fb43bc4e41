"""Where designs come from: one reader a kind, each yields designs and the problems met.

for item in open_source(Path("grants")):
    match item:
        case Design(): ...
        case Note(): ...  # a Problem for which nothing was left out
        case Problem(): ...

The readers are loaded when a source is opened: a search needs the words alone, and would pay for
archives, XML and tables with a tenth of its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_retrieval.sources.design import Box, Design, Note, Problem, Sheet

if TYPE_CHECKING:
    from edge_retrieval.sources.opening import SOURCES, detect, expected_designs, open_source

__all__ = [
    "SOURCES",
    "Box",
    "Design",
    "Note",
    "Problem",
    "Sheet",
    "detect",
    "expected_designs",
    "open_source",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from edge_retrieval.sources import opening

    return getattr(opening, name)
