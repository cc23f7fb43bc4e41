"""What was told, kept in a folder: watch.json for the next time, watch.html to read.

The object in watch.json:

    schema       1
    created      when it was written
    portfolio    name, snapshot, fingerprint and bundle of its encoder, designs, figures
    source       what was watched now
    threshold    share or score, and in words
    filters      which designs of the portfolio were compared with, in words
    counts       designs, figures, pairs, same, own_designs, own_figures, front_pages, untold, close
                 (pairs as close as the threshold, old ones among them), new, earlier, skipped
    chance       how many pairs would be told were all designs unrelated; "" where that is unknown
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
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_retrieval.calibration import digest_of
from edge_retrieval.design_number import spelled_once
from edge_retrieval.errors import LIES, ConfigError
from edge_retrieval.register import Register
from edge_retrieval.sources.design import in_unicode
from edge_retrieval.staging import staged
from edge_retrieval.watch.comparing import Pair

SCHEMA = 1
JSON, HTML = "watch.json", "watch.html"
Told = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """What was told before.

    Attributes:
        pairs: As in watch.json, all of them, strongest first.
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
        pairs = sorted(map(_checked, (*told["new"], *told["earlier"])), key=_order)
        runs = [_shaped(run, _RUN) for run in told["runs"]]
        kept = Kept(tuple(pairs), tuple(runs), pictures, told["sha256"])
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
    return in_unicode(register.folder.resolve().name)


def require_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written: before anything is computed.

    Raises:
        ConfigError: As `write_kept`.
    """
    place = folder.resolve().parent
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise _unwritten(folder, error) from error


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
    kept = {**told, "new": [settled(pair) for pair in told["new"]]}
    whole = {**kept, "pictures": drawn}
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
        raise _unwritten(folder, error) from error
    return kept


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder without watch.json may become ours; else raise."""
    others = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {HTML}
    if others:
        raise ConfigError(
            f"{folder} is there, and holds other things than a watch",
            hint="choose another folder with -o",
        )
    return True


def _unwritten(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{folder} cannot be written: {error.strerror}",
        hint="make room, or choose another folder with -o: nothing was noted as told",
    )


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


_OR_NONE = type(None)
_PAIR = {
    "new": dict, "own": dict, "best": dict, "views": list, "score": float, "sentence": str,
    "share": (float, _OR_NONE), "beyond": (bool, _OR_NONE), "strength": (str, _OR_NONE),
    "matched": int, "of": int, "told": str,
}  # fmt: skip
_FACTS = {
    "design": str, "title": str, "labels": list, "locarno": (str, _OR_NONE), "uspc": list,
    "filed": (str, _OR_NONE), "published": (str, _OR_NONE), "applicants": list, "figures": int,
    "where": str,
}  # fmt: skip
_BEST = {"view": int, "figure": int, "description": str}
_VIEW = {
    "view": int, "figure": int, "score": float, "picture": (str, _OR_NONE),
    "other": (str, _OR_NONE),
}  # fmt: skip
_RUN = {"created": str, "source": str, "designs": int, "new": int}


def _checked(pair: Any) -> Told:
    """Return a pair that is as it was written, doubting it; else a ValueError, or one of `LIES`."""
    for told, shape in ((pair, _PAIR), (pair["new"], _FACTS), (pair["own"], _FACTS)):
        _shaped(told, shape)
    for name in ("labels", "uspc", "applicants"):
        if not all(isinstance(each, str) for side in ("new", "own") for each in pair[side][name]):
            raise ValueError(f"{name} that are no texts")
    best = _shaped(pair["best"], _BEST)
    places = [_shaped(view, _VIEW)["view"] for view in pair["views"]]
    if places != list(range(1, len(places) + 1)) or best["view"] not in places:
        raise ValueError("views that do not count")
    return settled(pair)


def _shaped(told: Any, shape: Mapping[str, Any]) -> Told:
    for name, kind in shape.items():
        value = told[name]
        if not isinstance(value, kind) and not (kind is float and isinstance(value, int)):
            raise ValueError(f"{name} is {value!r}")
    return dict(told)


def settled(pair: Told) -> Told:
    """Return what is kept of a pair: the pictures of its best pair of figures alone."""
    best = pair["best"]["view"]
    views: Sequence[Told] = pair["views"]
    kept = [
        view if view["view"] == best else {**view, "picture": None, "other": None} for view in views
    ]
    return {**pair, "views": kept}
