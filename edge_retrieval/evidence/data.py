"""What a search found as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_retrieval.register import DesignRecord, Register
from edge_retrieval.search import Hit, SearchResult
from edge_retrieval.taxonomy import locarno_title

SCHEMA = 1


def to_json(
    results: Sequence[SearchResult],
    *,
    register: Register,
    explain: bool = False,
    problems: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the answers as plain data.

    Args:
        results: From `search` on `register`.
        register: What was searched.
        explain: Add to each result its `plan`, step by step.
        problems: What could not be searched with, and why.

    Returns:
        `{"schema", "register", "bundle", "fingerprint", "dim", "snapshot", "problems", "results"}`;
        each result has `query`, `sha256`, `figures`, `compared_designs`, `compared_figures`,
        `exact`, `overlap` (None where exact), `statement`, `chance`, `notes`, `hits`, and each hit
        `rank`, `score`, `share` (of unrelated designs, at most so many reach the score) and
        `strength` (the same in words), both None where the bundle does not tell, `design`, what is
        known of the design, and the best pair: `figure` of the design and `query_figure`, both
        counted from 1.
    """
    return {
        "schema": SCHEMA,
        "register": str(register.folder),
        "bundle": register.bundle.name,
        "fingerprint": register.bundle.fingerprint,
        "dim": register.bundle.dim,
        "snapshot": register.snapshot,
        "problems": list(problems),
        "results": [
            {
                "query": result.query.name,
                "sha256": result.query.sha256,
                "figures": len(result.query.figures),
                "compared_designs": result.compared_designs,
                "compared_figures": result.compared_figures,
                "exact": result.exact,
                "overlap": result.overlap,
                "statement": result.statement,
                "chance": result.chance,
                "notes": list(result.notes),
                **({"plan": _plan_as_data(result)} if explain else {}),
                "hits": [_hit_as_data(hit) for hit in result.hits],
            }
            for result in results
        ],
    }


def _plan_as_data(result: SearchResult) -> list[dict[str, Any]]:
    steps = result.plan.steps if result.plan is not None else ()
    return [
        {"what": step.what, "figures": step.rows, "bytes": step.bytes, "why": step.why}
        for step in steps
    ]


def _hit_as_data(hit: Hit) -> dict[str, Any]:
    design, figure = hit.design, hit.figure
    return {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "share": hit.strength.share if hit.strength is not None else None,
        "strength": hit.strength.text if hit.strength is not None else None,
        "design": design.number,
        "title": design.title,
        "labels": list(design.labels),
        "locarno": design.locarno,
        "locarno_title": locarno_title(design.locarno) if design.locarno else None,
        "uspc": list(design.uspc),
        "filed": design.filed,
        "published": design.published,
        "applicants": list(design.applicants),
        "where": design.where,
        "figure": figure.figure,
        "figures": design.figures_count,
        "description": figure.description,
        "sheet": figure.sheet,
        "box": list(figure.box),
        "row": figure.row,
        "query_figure": hit.query_figure + 1,
    }


def class_of(design: DesignRecord) -> str:
    """Return the class with its heading: "07-03 Table knives, forks and spoons"."""
    code = design.locarno or " / ".join(design.labels)
    heading = (locarno_title(code) or "") if design.locarno else ""  # "01" may be anything else
    if design.locarno and code.endswith("-99"):  # "Miscellaneous" says nothing without its class
        heading = f"{heading}: {locarno_title(code[:2]) or ''}".strip(": ")
    return f"{code} {heading}".strip()
