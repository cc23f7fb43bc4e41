"""A search taken home: a record that can be replayed, a report, or citations."""

from __future__ import annotations

from collections.abc import Mapping

from edge_retrieval.evidence import Asked, Flag, make_record, record_text, to_csv, to_html
from edge_retrieval.server.held import HeldRegister
from edge_retrieval.server.work import Data, Search, find


def export(
    held: HeldRegister,
    asked: Search,
    kind: str,
    *,
    flags: Mapping[str, Data],
    notes: str,
    drawings: bool,
) -> tuple[bytes, str]:
    """Search again, and return the file that tells of it, and its media type.

    Args:
        held: The register.
        asked: The search.
        kind: "record", "html" or "csv".
        flags: What the examiner thinks of designs, by number.
        notes: And of the search.
        drawings: Whether the record holds the drawings, too.
    """
    register, found = held.register, [find(held, asked)]
    marked = {
        number: Flag(bool(flag.get("relevant")), flag.get("note", ""))
        for number, flag in flags.items()
    }
    if kind == "csv":
        table = to_csv(found, register=register, flags=marked)
        return table.encode(errors="replace"), "text/csv; charset=utf-8"
    if kind == "html":
        settings = {
            "k": asked.k,
            "filters": asked.filters.text or "none",
            "exclude self": asked.exclude_self,
        }
        page = to_html(found, register=register, settings=settings, flags=marked, notes=notes)
        return page.encode(errors="replace"), "text/html; charset=utf-8"
    given = {drawing.query.sha256: drawing.data for drawing, _ in asked.views} if drawings else {}
    record = make_record(
        found,
        register=register,
        asked=Asked(asked.k, asked.filters, asked.exclude_self, store=held.found_in),
        drawings=given,
        flags=marked,
        notes=notes,
    )
    return record_text(record).encode(errors="replace"), "application/json"
