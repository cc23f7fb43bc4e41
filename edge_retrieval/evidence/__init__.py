"""What a search found, for others to see: plain data, or one HTML page that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_retrieval.evidence.data import class_of, to_json

if TYPE_CHECKING:
    from edge_retrieval.evidence.html_page import to_html

__all__ = ["class_of", "to_html", "to_json"]


def __getattr__(name: str) -> Any:
    if name != "to_html":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from edge_retrieval.evidence.html_page import to_html

    return to_html
