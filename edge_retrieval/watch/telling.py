"""What a watch found, and what was told before, as plain data: the object that `kept` describes."""

from __future__ import annotations

import hashlib

from edge_retrieval.calibration import Strength
from edge_retrieval.filters import Filters
from edge_retrieval.provenance import now, versions
from edge_retrieval.register import DesignRecord, Register
from edge_retrieval.register.records import facts_of
from edge_retrieval.sources import Design
from edge_retrieval.watch.comparing import Close, View, Watched
from edge_retrieval.watch.kept import SCHEMA, Kept, Told, name_of
from edge_retrieval.watch.threshold import Threshold, spoken


def report_of(
    found: Watched,
    kept: Kept,
    *,
    portfolio: Register,
    source: str,
    threshold: Threshold,
    filters: Filters | None = None,
) -> tuple[Told, dict[str, bytes]]:
    """Return what watch.json says, without its pictures and digest; and the pictures.

    Args:
        found: What was found now.
        kept: What was told before.
        portfolio: What was compared with.
        source: Name of what was watched.
        threshold: What is close.
        filters: Which designs of the portfolio were compared with.
    """
    created, known = now(), kept.keys
    pictures = dict(kept.pictures)
    new = [
        _pair_as_data(pair, created[:10], pictures) for pair in found.close if pair.key not in known
    ]
    earlier = list(kept.pairs)
    counts = {
        name: getattr(found, name)
        for name in ("designs", "figures", "pairs", "same", "own_designs", "own_figures",
                     "front_pages", "untold")
    }  # fmt: skip
    counts |= {"close": len(found.close), "new": len(new), "earlier": len(earlier)}
    counts["skipped"] = len(found.problems)
    bundle = portfolio.bundle
    run = {
        "created": created,
        "source": source,
        "threshold": threshold.text,
        "designs": found.designs,
        "new": len(new),
    }
    return {
        "schema": SCHEMA,
        "created": created,
        "portfolio": {
            "name": name_of(portfolio),
            "snapshot": portfolio.snapshot,
            "bundle": bundle.name,
            "fingerprint": bundle.fingerprint,
            "designs": portfolio.designs_count,
            "figures": portfolio.figures_count,
        },
        "source": source,
        "threshold": {
            "share": threshold.share,
            "score": threshold.score,
            "text": threshold.text,
        },
        "filters": filters.text if filters else "",
        "counts": counts,
        "chance": chance_of(found, threshold),
        "notes": notes_of(found, threshold),
        "problems": [{"where": p.where, "reason": p.reason} for p in found.problems],
        "new": new,
        "earlier": earlier,
        "runs": [*kept.runs, run],
        "versions": versions(),
    }, pictures


def chance_of(found: Watched, threshold: Threshold) -> str:
    """Say how many pairs would be told were all designs unrelated; "" where nobody measured it."""
    if threshold.share is None or found.untold or not found.pairs:
        return ""
    many = Strength(threshold.share, False).among(found.pairs)
    return f"by chance {found.pairs:,} pairs of unrelated designs hold {many} as strong"


def notes_of(found: Watched, threshold: Threshold) -> list[str]:
    """Say what the reader must know of the numbers, a sentence each."""
    notes = []
    if found.untold and found.rarest is not None and threshold.share is not None:
        told = found.rarest.text.removeprefix("fewer than ")
        notes.append(
            f"{found.untold:,} of the {found.pairs:,} pairs compared are of designs with so many"
            f" figures that nothing rarer than {told} was measured, not {spoken(threshold.share)}:"
            " of these, a pair is told if it is closer than all that was measured"
        )
    if found.same:
        notes.append(
            f"{found.same:,} pair{'s' * (found.same != 1)} left out: the same number, or the same"
            " sheet, on both sides"
        )
    return notes


def _pair_as_data(pair: Close, day: str, pictures: dict[str, bytes]) -> Told:
    strength, best = pair.strength, pair.best
    matched, of = sum(view.matches for view in pair.views), len(pair.views)
    return {
        "new": _facts(pair.new, of),
        "own": _facts(pair.own, pair.own.figures_count),
        "score": round(pair.score, 6),
        "share": strength.share if strength else None,
        "beyond": strength.beyond if strength else None,
        "strength": strength.text if strength else None,
        "sentence": strength.sentence if strength else "",
        "best": {
            "view": best.view,
            "figure": best.figure.figure,
            "score": round(best.score, 6),
            "description": best.figure.description,
        },
        "matched": matched,
        "of": of,
        "views": [_view_as_data(view, pictures) for view in pair.views],
        "told": day,
    }


def _view_as_data(view: View, pictures: dict[str, bytes]) -> Told:
    names = []
    for png in (view.picture, view.other):
        names.append(hashlib.sha256(png).hexdigest())
        pictures[names[-1]] = png
    return {
        "view": view.view,
        "figure": view.figure.figure,
        "score": round(view.score, 6),
        "matches": view.matches,
        "picture": names[0],
        "other": names[1],
    }


def _facts(design: Design | DesignRecord, figures: int) -> Told:
    return {**facts_of(design), "figures": figures}
