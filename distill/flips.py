"""The queries that quantization flipped, for a person to look at: one page that needs nothing.

A drop of mAP says how much changed, not whether it matters: the page shows what FP32 found, what
INT8 finds instead, and how near the call was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from distill.augment import Squares
from distill.cards import Found, card, cards_page, key_of, query, shared_depth
from distill.curves import write_picture
from distill.data import Scheme
from distill.drawing_cache import Stack
from distill.gate import Quality, between
from distill.ranks import Answer, Flip

MOST = 40
"""Flips of a kind on the page."""


def write_flips(
    out: Path,
    quality: Quality,
    squares: Squares | Stack,
    schemes: Sequence[Scheme],
    *,
    title: str,
    facts: Mapping[str, str],
    designs: Sequence[str] | None = None,
    name: str = "INT8",
    most: int = MOST,
) -> None:
    """Write the flips of a network as one HTML page: pictures and style inside, no script.

    Args:
        out: The file, written whole or not at all; its folder is made.
        quality: From the gate.
        squares: ``(N, S, S)`` uint8, the figures that were compared; only what is shown is read.
        schemes: Label trees of the gate.
        title: Stands above.
        facts: Name -> value, shown at the top before what the gate found: run, bundle.
        designs: ``(N,)`` names of the designs; None: they are numbered.
        name: Of the network, in a word.
        most: Lost ones to show, and gained ones.

    Raises:
        ConfigError: `out` cannot be written.
    """
    view = _View(squares, schemes, designs, name, quality.narrow)
    lost = [flip for flip in quality.flips if flip.lost]
    gained = [flip for flip in quality.flips if not flip.lost]
    shown = [*lost[:most], *gained[:most]]
    page = cards_page(
        title=title,
        facts={**facts, **_facts(quality, name)},
        told=_told(quality),
        key=key_of(kind for flip in shown for kind in view.kinds(flip)),
        rows="\n".join(
            _group(word, flips, most, view) for word, flips in (("Lost", lost), ("Gained", gained))
        ),
        style=_STYLE,
    )
    write_picture(out, page.encode("utf-8", errors="backslashreplace"))


class _View:
    """What the figures of flips look like, and how near they are to their queries."""

    def __init__(
        self,
        squares: Squares | Stack,
        schemes: Sequence[Scheme],
        designs: Sequence[str] | None,
        name: str,
        narrow: float,
    ) -> None:
        self._squares, self._schemes, self._designs = squares, schemes, designs
        self.name, self.narrow = name, narrow
        self._places = [
            {row: place for place, row in enumerate(scheme.rows.tolist())} for scheme in schemes
        ]

    def kinds(self, flip: Flip) -> list[tuple[int, tuple[str, ...]]]:
        """Return the depth and the levels of each card of a flip."""
        levels = self._schemes[flip.scheme].levels
        rows = (*flip.before.rows, *flip.after.rows)
        return [(depth, levels) for depth in self._depths(flip, rows)]

    def label(self, flip: Flip, row: int) -> str:
        """Return the name of a figure's design."""
        if self._designs is not None:
            return self._designs[row]
        scheme = self._schemes[flip.scheme]
        return f"{scheme.levels[-1]} {scheme.codes[self._places[flip.scheme][row], -1]}"

    def query(self, flip: Flip) -> str:
        """Return the figure that searched as HTML."""
        return query(self._squares[[flip.row]][0], self.label(flip, flip.row))

    def answer(self, flip: Flip, answer: Answer) -> str:
        """Return what one network found as an HTML list."""
        levels = self._schemes[flip.scheme].levels
        facts = zip(answer.rows, answer.scores, self._depths(flip, answer.rows), strict=True)
        pictures = self._squares[list(answer.rows)]  # (K, S, S)
        cards = [
            card(Found(picture, self.label(flip, row), score, depth, rank), levels)
            for rank, (picture, (row, score, depth)) in enumerate(
                zip(pictures, facts, strict=True), start=1
            )
        ]
        return f"<ol>\n{''.join(cards)}</ol>"

    def _depths(self, flip: Flip, rows: Sequence[int]) -> list[int]:
        codes, place = self._schemes[flip.scheme].codes, self._places[flip.scheme]
        found: list[int] = shared_depth(
            codes[place[flip.row]], codes[[place[row] for row in rows]]
        ).tolist()
        return found


def _facts(quality: Quality, name: str) -> dict[str, str]:
    """Return what a reader must know before looking at single queries."""
    facts = {"Figures": f"{quality.figures:,}"}
    if quality.queries:
        fp32, own = quality.patent_map + quality.patent_drop, quality.patent_map
        facts["Patent mAP"] = f"FP32 {fp32:.3f}, {name} {own:.3f}"
        drop = round(quality.patent_drop, 3) + 0.0  # no -0.000
        facts["Drop"] = f"{drop:.3f}{between(quality.patent_interval)}"
    facts["overlap@10"] = f"{quality.overlap:.3f}"
    if quality.queries:
        now = quality.hits - quality.lost + quality.gained
        facts["Own design first"] = (
            f"FP32 {quality.hits:,}, {name} {now:,} of {quality.queries:,} queries:"
            f" {quality.lost:,} lost, {quality.gained:,} gained"
        )
    if quality.flips and not math.isnan(quality.narrow):
        close = sum(abs(flip.margin) < quality.narrow for flip in quality.flips)
        facts["Close calls"] = (
            f"{close:,} of these {len(quality.flips):,} are of the quarter of all queries that FP32"
            f" itself decided by least: less than {quality.narrow:.2g} of cosine"
        )
    return facts


def _told(quality: Quality) -> str:
    if not quality.queries:
        return "No query could be judged: no design has two figures."
    if not quality.flips:
        return "No query flipped: all that found their own design first still do, and no others."
    return (
        "Each figure searched all the others. Here are those that found their own design first with"
        " one network only. The number under a figure is its rank, then its cosine with the query;"
        " figures of the query's own design are framed."
    )


def _group(word: str, flips: Sequence[Flip], most: int, view: _View) -> str:
    if not flips:
        return ""
    more = f" · the {most} that moved furthest are shown" if len(flips) > most else ""
    what = (
        f"FP32 is right, {view.name} is not"
        if word == "Lost"
        else f"{view.name} is right, FP32 is not"
    )
    parts = "\n".join(
        _section(f"{word.lower()}{number}", number, flip, view)
        for number, flip in enumerate(flips[:most], start=1)
    )
    return f"""<h2 class="group">{word}: {len(flips):,}
<small>{escape(what)}{more}</small></h2>
{parts}"""


def _section(anchor: str, number: int, flip: Flip, view: _View) -> str:
    return f"""<section aria-labelledby="{anchor}">
<h3 id="{anchor}"><span class="rank">{number}</span> {escape(view.label(flip, flip.row))}</h3>
<p>{_said(flip, view)}</p>
<div class="row">
{view.query(flip)}
<div class="both">
<p class="which">FP32</p>
{view.answer(flip, flip.before)}
<p class="which">{escape(view.name)}</p>
{view.answer(flip, flip.after)}
</div>
</div>
</section>"""


def _said(flip: Flip, view: _View) -> str:
    """Say in a line what changed."""
    before, after = flip.before.right, flip.after.right
    close = "A close call: " * (abs(flip.margin) < view.narrow)
    return (
        f"First figure of its own design: FP32 at rank <b>{before:,}</b>, {escape(view.name)} at"
        f" <b>{after:,}</b>. {close}FP32 held the designs {abs(flip.margin):.2g} of cosine apart."
    )


_STYLE = """
.group { font-size: 1.25rem; margin: 2.2rem 0 1.2rem; }
.group small { font-size: .93rem; font-weight: 400; color: var(--soft); margin-left: .5rem; }
.both { display: grid; grid-template-columns: max-content 1fr; gap: 1.2rem 1rem; }
.which { font-weight: 600; min-width: 3rem; }
.both ol { grid-template-columns: repeat(5, minmax(0, 1fr)); }
@media (max-width: 46rem) { .both { grid-template-columns: 1fr; gap: .4rem; }
 .query { width: calc((100% - 3.2rem) / 5); } ol + .which { margin-top: .8rem; } }
@media (max-width: 34rem) { .both .label { display: none; } }
@media print { .group { font-size: 11pt; break-after: avoid; } .group small { font-size: 8pt; } }
"""
