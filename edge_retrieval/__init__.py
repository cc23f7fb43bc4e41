"""Find the registered designs that look like a drawing, on the device, offline."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_retrieval.filters import Filters
    from edge_retrieval.session import Session

# From 1.29 on, onnxruntime gathers reports on the models it loads for a server of its maker, with
# a device number and a queue in the user's cache. `disable_telemetry_events` is too late for both:
# this has to stand before it is imported, whoever imports it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"

__all__ = ["Filters", "Session", "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: every module of the package imports this one first.
    if name == "Session":
        from edge_retrieval.session import Session

        return Session
    if name == "Filters":
        from edge_retrieval.filters import Filters

        return Filters
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
