"""What was told, kept in a folder: watch.json for the next time, watch.html to read.

The object in watch.json:

    schema       1
    created      when it was written
    portfolio    name, snapshot, fingerprint and bundle of its encoder, designs, figures
    source       what was watched now
    threshold    share or score, and in words; filters: which designs of the portfolio, in words
    counts       designs, figures, pairs, same, own_designs, own_figures, front_pages, untold, told
                 (pairs as close as the threshold, old ones among them), new, earlier, skipped
    notes        sentences
    problems     where and reason of what could not be read
    new          pairs that are told for the first time, strongest first
    earlier      pairs that were told before, with the day on which they were
    runs         created, source, threshold, designs, new of each time
    versions
    pictures     SHA-256 -> PNG, base64
    sha256       of all the rest, as `calibration.digest_of` makes it: damage is found
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_retrieval.calibration import digest_of
from edge_retrieval.design_number import spelled_once
from edge_retrieval.errors import LIES, ConfigError
from edge_retrieval.filters import Filters
from edge_retrieval.provenance import now, versions
from edge_retrieval.register import DesignRecord, Register
from edge_retrieval.sources import Design
from edge_retrieval.staging import staged
from edge_retrieval.taxonomy import locarno_title
from edge_retrieval.watch.comparing import Close, Pair, View, Watched
from edge_retrieval.watch.threshold import Threshold, spoken

SCHEMA = 1
JSON, HTML = "watch.json", "watch.html"
Told = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """What was told before.

    Attributes:
        pairs: As in watch.json.
        runs: As there.
        pictures: SHA-256 -> PNG.
        digest: Of the file; "" if there is none.
    """

    pairs: tuple[Told, ...] = ()
    runs: tuple[Told, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    digest: str = ""

    @property
    def keys(self) -> frozenset[Pair]:
        """What tells these pairs from others."""
        return frozenset(_key(pair) for pair in self.pairs)


def read_kept(folder: Path, portfolio: Register) -> Kept:
    """Read what was told before of a portfolio.

    Args:
        folder: The output of an earlier time; may not exist.
        portfolio: Whose pairs they must be.

    Raises:
        ConfigError: What is there is damaged, of another portfolio or encoder, or no such folder.
    """
    path = folder / JSON
    try:
        if not folder.exists() or (not path.exists() and _is_ours(folder)):
            return Kept()
        data = path.read_bytes()
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    try:
        told = json.loads(data)
        schema = told["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise ConfigError(
                f"{path}: schema {schema}, this program knows up to {SCHEMA}",
                hint="upgrade edge-retrieval: pip install -U edge-retrieval",
            )
        if schema != SCHEMA or told["sha256"] != digest_of(told):
            raise ValueError("changed since it was written")
        pictures = {name: base64.b64decode(text) for name, text in told["pictures"].items()}
        kept = Kept((*told["new"], *told["earlier"]), tuple(told["runs"]), pictures, told["sha256"])
        _ = kept.keys
        of = told["portfolio"]
        name, fingerprint = of["name"], of["fingerprint"]
    except LIES as error:
        raise _refused(path, "damaged, or no file of ours") from error
    if name != name_of(portfolio):
        raise _refused(path, f"watches another portfolio, {name}")
    if fingerprint != portfolio.bundle.fingerprint:
        raise _refused(path, f"tells scores of another encoder, {str(fingerprint)[:12]}")
    return kept


def name_of(register: Register) -> str:
    """Return what a portfolio is called: the name of its folder."""
    return register.folder.resolve().name


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
    earlier = sorted((_settled(pair) for pair in kept.pairs), key=_order)
    counts = {
        name: getattr(found, name)
        for name in ("designs", "figures", "pairs", "same", "own_designs", "own_figures",
                     "front_pages", "untold")
    }  # fmt: skip
    counts |= {"told": len(found.close), "new": len(new), "earlier": len(earlier)}
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
        "notes": notes_of(found, threshold),
        "problems": [{"where": p.where, "reason": p.reason} for p in found.problems],
        "new": new,
        "earlier": earlier,
        "runs": [*kept.runs, run],
        "versions": versions(),
    }, pictures


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


def write_kept(
    folder: Path,
    told: Told,
    pictures: Mapping[str, bytes],
    *,
    after: Kept,
    portfolio: Register,
    page: Callable[[Told, Mapping[str, bytes]], str],
) -> Told:
    """Write watch.json and watch.html, both or neither; other files of the folder stay.

    Args:
        folder: Where; made if it does not exist.
        told: From `report_of`.
        pictures: From there.
        after: What was read at the start: if the file has changed since, nothing is written.
        portfolio: Whose pairs they are.
        page: Makes the HTML.

    Returns:
        What watch.json says, but for its pictures and digest.

    Raises:
        ConfigError: It cannot be written, or somebody else has.
    """
    used = {
        pair["views"][pair["best"]["view"] - 1][side]
        for pair in (*told["new"], *told["earlier"])
        for side in ("picture", "other")
    }
    drawn = {name: base64.b64encode(png).decode() for name, png in pictures.items() if name in used}
    settled = {**told, "new": [_settled(pair) for pair in told["new"]]}
    whole = {**settled, "pictures": drawn}
    text = json.dumps({**whole, "sha256": digest_of(whole)}, indent=1, ensure_ascii=False)
    html = page(told, pictures)
    try:
        if read_kept(folder, portfolio).digest != after.digest:
            raise ConfigError(
                f"{folder / JSON}: was written by somebody else meanwhile", hint="do the same again"
            )
        with staged(folder.resolve(), replaces=(JSON, HTML)) as stage:
            (stage / JSON).write_text(text, encoding="utf-8")
            (stage / HTML).write_text(html, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}",
            hint="make room or choose another folder with -o: nothing was noted as told",
        ) from error
    return settled


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder without watch.json may become ours; else raise."""
    others = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {HTML}
    if others:
        raise ConfigError(
            f"{folder} is there, and holds other things than a watch",
            hint="choose another folder with -o",
        )
    return True


def _refused(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path}: {why}; it is not replaced",
        hint="choose another folder with -o, or move the file away to begin anew",
    )


def _key(pair: Told) -> Pair:
    return spelled_once(pair["new"]["design"]), spelled_once(pair["own"]["design"])


def _order(pair: Told) -> tuple[bool, float, float, Pair]:
    """As `Close.order`."""
    beyond = pair["beyond"] is not False
    return not beyond, 0.0 if beyond else pair["share"], -pair["score"], _key(pair)


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


def _settled(pair: Told) -> Told:
    """Return what is kept of a pair: the pictures of its best pair of figures alone."""
    best = pair["best"]["view"]
    views: Sequence[Told] = pair["views"]
    kept = [
        view if view["view"] == best else {**view, "picture": None, "other": None} for view in views
    ]
    return {**pair, "views": kept}


def _facts(design: Design | DesignRecord, figures: int) -> Told:
    return {
        "design": design.number,
        "title": design.title,
        "labels": list(design.labels),
        "locarno": design.locarno,
        "locarno_title": locarno_title(design.locarno) if design.locarno else None,
        "uspc": list(design.uspc),
        "filed": design.filed,
        "published": design.published,
        "applicants": list(design.applicants),
        "figures": figures,
        "where": design.where,
    }
