"""What a search found as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_retrieval.register import DesignRecord, Register
from edge_retrieval.register.records import facts_of
from edge_retrieval.search import Alarm, Hit, SearchResult, ViewMatch
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
        `{"schema", "register", "bundle", "fingerprint", "dim", "snapshot", "problems", "results"}`,
        and `made_from` where the register's vectors were not made from sheets;
        each result has `query`, `sha256`, `figures`, `compared_designs`, `compared_figures`,
        `exact`, `overlap` (None where exact), `store` (only where one found the candidates),
        `statement`, `chance`, `notes`, `views` (of the query: `view`, `file`, `figure` of that
        file, `sha256`, `same_as` an earlier view that it nearly repeats, or None),
        `predicted` (None, or the class by the vote of the nearest),
        `alarms` (very similar designs of other classes), `hits`, and each hit `rank`, `score`,
        `pair` (cosine of the best pair), `share` (of unrelated designs, at most so many have a pair
        as close) and `strength` (the same in words), both None where the bundle does not tell,
        `design`, what is known of the design, the best pair: `figure` of the design and
        `query_figure`, how many views `matched` (or None) `of` how many, and `views`: the figure
        that each view found. All are counted from 1.
    """
    return {
        "schema": SCHEMA,
        "register": str(register.folder),
        "bundle": register.bundle.name,
        "fingerprint": register.bundle.fingerprint,
        "dim": register.bundle.dim,
        "snapshot": register.snapshot,
        **({"made_from": made_from} if (made_from := register.made_from) else {}),
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
                **({"store": result.store} if result.store else {}),
                "statement": result.statement,
                "chance": result.chance,
                "notes": list(result.notes),
                "views": _views_as_data(result),
                "predicted": _predicted_as_data(result),
                "alarms": [_alarm_as_data(alarm) for alarm in result.alarms],
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


def _views_as_data(result: SearchResult) -> list[dict[str, Any]]:
    places = result.query.places
    same = result.same_views or (None,) * len(places)
    return [
        {
            "view": view,
            "file": file.name,
            "figure": figure,
            "sha256": file.sha256,
            "same_as": earlier + 1 if earlier is not None else None,
        }
        for view, ((file, figure), earlier) in enumerate(zip(places, same, strict=True), start=1)
    ]


def _predicted_as_data(result: SearchResult) -> dict[str, Any] | None:
    found = result.predicted
    if found is None:
        return None
    return {
        "code": found.code,
        "title": found.title,
        "votes": found.votes,
        "of": found.of,
        "clear": found.clear,
        "sentence": found.sentence,
    }


def _alarm_as_data(alarm: Alarm) -> dict[str, Any]:
    told = _hit_as_data(alarm.hit)
    kept = ("design", "title", "locarno", "locarno_title", "labels", "score", "strength", "row")
    return {
        **{name: told[name] for name in kept},
        "filtered": alarm.filtered,
        "sentence": alarm.sentence,
    }


def _match_as_data(match: ViewMatch) -> dict[str, Any]:
    return {
        "view": match.view + 1,
        "figure": match.figure.figure,
        "row": match.figure.row,
        "score": round(match.score, 6),
        "matches": match.matches,
        "mirrored": match.mirrored,
    }


def _hit_as_data(hit: Hit) -> dict[str, Any]:
    design, figure = hit.design, hit.figure
    return {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "pair": round(hit.pair, 6),
        "share": hit.strength.share if hit.strength is not None else None,
        "strength": hit.strength.text if hit.strength is not None else None,
        **facts_of(design),
        "figure": figure.figure,
        "figures": design.figures_count,
        "description": figure.description,
        "sheet": figure.sheet,
        "box": list(figure.box),
        "row": figure.row,
        "query_figure": hit.query_figure + 1,
        "matched": hit.matched,
        "of": len(hit.views),
        "sentence": hit.sentence,
        "views": [_match_as_data(match) for match in hit.views],
    }


def class_of(design: DesignRecord) -> str:
    """Return the class with its heading: "07-03 Table knives, forks and spoons"."""
    code = design.locarno or " / ".join(design.labels)
    heading = (locarno_title(code) or "") if design.locarno else ""  # "01" may be anything else
    if design.locarno and code.endswith("-99"):  # "Miscellaneous" says nothing without its class
        heading = f"{heading}: {locarno_title(code[:2]) or ''}".strip(": ")
    return f"{code} {heading}".strip()
