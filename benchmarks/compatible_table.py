"""The tables of what a projection keeps after a change of the encoder: benchmarks/compatible.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

MANY, TEST = "with distractors", "test"
WAYS = ("gallery projected", "half of it projected", "queries projected")
FULL = ("real", 1000)
"""The fit that all ways are told of."""
MAP = "linear"
Table = Callable[[list[str], list[list[str]]], str]


def compatible(result: dict[str, Any], table: Table) -> str:
    """One table a pair of encoders: alone, embedded anew, projected."""
    head = ["", "mAP", "hit_rate@10", "patent mAP", "over the old encoder", "H-AP, 44 patents"]
    parts = []
    for pair in result["pairs"]:
        about = [f"{pair[side]['name']} ({pair[side]['dim']} numbers)" for side in ("old", "new")]
        plain = [_line(row["way"], row) for row in pair["rows"] if "fit" not in row]
        rows = [*plain[:-1], *(_line(name, row) for name, row in _projected(pair["rows"]))]
        rows.append([f"a bound: linear, {plain[-1][0]}", *plain[-1][1:]])
        said = pair["cosine of a kept picture's row to that of its sheet"]
        times = {name: median(samples) for name, samples in pair["seconds"].items()}
        parts += [
            f"**{pair['name']}**: from {about[0]} to {about[1]}",
            table(head, rows),
            "Cosine of the new encoder's row of a kept picture to its row of the sheet: mean"
            f" {said['mean']:.4f}, least {said['least']:.3f}. Cosine of a query to other figures of"
            f" its design, and to all others: {_levels(pair, 'new')}; projected (linear, all real):"
            f" {_levels(pair, 'projected')}. Processor time: a kept picture embedded"
            f" {1e3 * times['picture embedded']:.1f} ms, a row projected"
            f" {1e6 * times['row projected']:.1f} µs.",
        ]
    galleries, fits = result["galleries"], result["fits"]
    parts.append(
        f"Each of {galleries[TEST]['figures']} figures of {galleries[TEST]['designs']} patents of"
        f" the test part searches the others among {galleries[MANY]['figures']:,} figures of"
        f" {galleries[MANY]['designs']} designs; H-AP among the patents alone. mAP, hit_rate@10:"
        " the own design among designs; patent mAP: its figures among figures. In brackets: 95 % of"
        f" {result['resamples']:,} resamples of patents; over the old encoder: patent mAP, on the"
        f" same resamples. Projections: means of {result['seeds']} fits, each on other figures or"
        f" with another start; of half a gallery, {result['halves']} halves each. Real: the"
        f" training part and half of {result['distractors']} ({fits['real']['figures']:,} figures),"
        f" made: drawn by edge-ret data synth ({fits['made']['figures']:,}); none of"
        " them is searched."
    )
    return "\n\n".join(parts)


def compatible_short(result: dict[str, Any], table: Table) -> str:
    """Patent mAP alone, of the linear map of the full fit."""
    rows = []
    for pair in result["pairs"]:
        found = {row["way"]: row for row in pair["rows"] if "fit" not in row}
        told = list(found.values())
        plain, bound = told[:3], told[-1]
        full = [row for row in pair["rows"] if "fit" in row and _is_full(row)]
        projected = [row for way in WAYS for row in full if (row["way"], row["fit"]) == (way, MAP)]
        cells = [_patent_map(row) for row in (*plain, *projected, bound)]
        rows.append([f"{pair['old']['name']}, then {pair['new']['name']}", *cells])
    head = [
        "patent mAP", "old encoder", "anew, sheets", "anew, pictures", "gallery projected",
        "half projected", "queries projected", "a bound",
    ]  # fmt: skip
    galleries = result["galleries"]
    note = (
        f"{galleries[TEST]['figures']} figures of {galleries[TEST]['designs']} patents search among"
        f" {galleries[MANY]['figures']:,}. Projections: linear, fitted on {FULL[1]:,} other real"
        " figures, means of"
        f" {result['seeds']} fits; a bound: fitted on the figures that are searched as well."
    )
    return table(head, rows) + "\n\n" + note


def _is_full(row: dict[str, Any]) -> bool:
    return bool(row["on"] == FULL[0] and row["figures"] >= FULL[1])


def _patent_map(row: dict[str, Any]) -> str:
    return f"{row['galleries'][MANY]['patent mAP']['value']:.3f}"


def _projected(rows: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every way of the full fit, and of other fits the linear map of the whole gallery."""
    fitted = [row for row in rows if "fit" in row]
    for way in WAYS:
        for row in fitted:
            if row["way"] == way and _is_full(row):
                yield f"{way}: {row['fit']}, {row['figures']:,} real", row
    for row in fitted:
        if row["way"] == WAYS[0] and row["fit"] == MAP and not _is_full(row):
            on = "real and made" if row["on"] == "both" else row["on"]
            yield f"{WAYS[0]}: linear, {row['figures']:,} {on}", row


def _levels(pair: dict[str, Any], which: str) -> str:
    one = pair["cosines of a query"][which]
    return f"{one['own design']:.2f} and {one['others']:.2f}"


def _line(name: str, row: dict[str, Any]) -> list[str]:
    many, few = row["galleries"][MANY], row["galleries"][TEST]
    over = many["patent mAP"]["over old"]
    return [
        name,
        _with_interval(many["mAP"]),
        f"{many['hit_rate@10']['value']:.3f}",
        _with_interval(many["patent mAP"]),
        "" if name == "old encoder" else _with_interval(over, "+.3f"),
        f"{few['H-AP']['value']:.3f}",
    ]


def _with_interval(one: dict[str, float], form: str = ".3f") -> str:
    return f"{one['value']:{form}} ({one['low']:{form}} to {one['high']:{form}})"
