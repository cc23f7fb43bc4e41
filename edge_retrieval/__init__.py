"""Find the registered designs that look like a drawing, on the device, offline.

    import edge_retrieval as er

    er.index_designs("grants/", "my-register")
    with er.Session("my-register") as session:
        chairs = er.Filters(classes=["06-01"], before="2021-03-04")
        [found] = session.search(["front.png", "side.png"], together=True, filters=chairs)
        print(found.statement)
        for hit in found.hits:
            print(hit.rank, f"{hit.score:.3f}", hit.design.number, hit.design.title, hit.sentence)

In a notebook `found` shows itself with its drawings.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_retrieval.filters import Filters
    from edge_retrieval.indexing import index as index_designs
    from edge_retrieval.register import Register
    from edge_retrieval.session import Session, search_drawings

# From 1.29 on, onnxruntime gathers reports on the models it loads for a server of its maker, with
# a device number and a queue in the user's cache. `disable_telemetry_events` is too late for both:
# this has to stand before it is imported, whoever imports it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"

__all__ = ["Filters", "Register", "Session", "__version__", "index_designs", "search_drawings"]

_LATER = {
    "Filters": ("filters", "Filters"),
    "Register": ("register", "Register"),
    "Session": ("session", "Session"),
    "index_designs": ("indexing", "index"),
    "search_drawings": ("session", "search_drawings"),
}
"""Loaded when asked for: every module of the package imports this one first."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, own = _LATER[name]
    return getattr(import_module(f"edge_retrieval.{module}"), own)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
