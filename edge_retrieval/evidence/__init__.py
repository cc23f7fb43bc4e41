"""What a search found, for others to see and to prove: plain data, a page, citations, a record."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_retrieval.evidence.data import class_of, to_json

if TYPE_CHECKING:
    from edge_retrieval.evidence.citations import to_csv
    from edge_retrieval.evidence.html_page import to_html
    from edge_retrieval.evidence.record import Asked, Flag, make_record, read_record, record_text
    from edge_retrieval.evidence.replaying import Replay, replay

__all__ = [
    "Asked",
    "Flag",
    "Replay",
    "class_of",
    "make_record",
    "read_record",
    "record_text",
    "replay",
    "to_csv",
    "to_html",
    "to_json",
]

_LATER = {
    "to_csv": "citations",
    "to_html": "html_page",
    "Asked": "record",
    "Flag": "record",
    "make_record": "record",
    "read_record": "record",
    "record_text": "record",
    "Replay": "replaying",
    "replay": "replaying",
}
"""Loaded when asked for: a search that prints a table needs none of it."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"edge_retrieval.evidence.{_LATER[name]}")
    return getattr(module, name)
