"""The designs that a search found as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from edge_retrieval.evidence.record import Flag
from edge_retrieval.provenance import now
from edge_retrieval.register import Register
from edge_retrieval.search import SearchResult
from edge_retrieval.taxonomy import locarno_title

COLUMNS = (
    "query", "rank", "design", "title", "class", "class title", "US class", "applicants", "filed",
    "published", "score", "strength", "views matched", "best pair", "relevant", "note", "searched",
    "register", "snapshot",
)  # fmt: skip


def to_csv(
    results: Sequence[SearchResult],
    *,
    register: Register,
    flags: Mapping[str, Flag] | None = None,
) -> str:
    """Return a row for each hit, under a row of names; RFC 4180, no formula in any cell.

    It begins with a byte-order mark: without it Excel takes UTF-8 for another encoding.

    Args:
        results: From `search` on `register`.
        register: Where was searched.
        flags: What was marked, by the design's number.
    """
    file = io.StringIO(newline="")
    file.write("\ufeff")
    writer = csv.writer(file)
    today = now()[:10]
    writer.writerow(COLUMNS)
    for result in results:
        for hit in result.hits:
            design, flag = hit.design, (flags or {}).get(hit.design.number)
            code = design.locarno or "/".join(design.labels)
            matched = "" if hit.matched is None else f"{hit.matched} of {len(hit.views)}"
            cells = (
                result.query.name,
                str(hit.rank),
                design.number,
                design.title,
                code,
                (locarno_title(code) or "") if design.locarno else "",
                "; ".join(design.uspc),
                "; ".join(design.applicants),
                design.filed or "",
                design.published or "",
                f"{hit.score:.6f}",
                hit.strength.text if hit.strength is not None else "",
                matched,
                f"view {hit.query_figure + 1} with figure {hit.figure.figure}",
                "yes" if flag is not None and flag.relevant else "",
                flag.note if flag is not None else "",
                today,
                register.name,
                register.snapshot,
            )
            writer.writerow([_harmless(cell) for cell in cells])
    return file.getvalue()


def _harmless(cell: str) -> str:
    """Return text that no spreadsheet takes for a formula: a title may begin with "="."""
    formula = cell[:1] in ("=", "+", "@", "\t", "\r") or (
        cell[:1] == "-" and not cell[1:].replace(".", "", 1).isdigit()
    )
    return f"'{cell}" if formula else cell
