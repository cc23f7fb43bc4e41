"""Figures that a query found, as cards of an HTML page: the picture, its rank, how near it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from edge_retrieval import page
from edge_retrieval.arrays import Codes, Pixels
from edge_retrieval.drawing import to_png

UNKNOWN = -1
SIDE = 256
"""Longest side of a figure on the page, in pixels."""


@dataclass(frozen=True)
class Found:
    """A figure that a query found.

    Attributes:
        figure: ``(S, S)`` uint8.
        label: Of its design.
        score: Cosine with the query.
        depth: Levels that it shares with the query: all of them for the same design, 0 for another
            class, -1 if it is another design and nothing more is known.
        rank: From 1, among all figures but the query.
    """

    figure: Pixels
    label: str
    score: float
    depth: int
    rank: int


def shared_depth(query: Codes, codes: Codes) -> NDArray[np.int64]:
    """Return ``(N,)``: how many levels, coarse to fine, each row of ``(N, L)`` shares with a query.

    A level that is not known counts as shared where a finer one is; otherwise, where no level is
    known to be shared, a difference counts only at the coarsest level: two subclasses may be of
    one class. What is left is `UNKNOWN`.
    """
    known = (codes >= 0) & (query >= 0)  # (N, L)
    agree = known & (codes == query)
    depth = (agree * np.arange(1, codes.shape[1] + 1)).max(axis=1)  # (N,)
    differs = known[:, 0] & ~agree[:, 0]
    return np.where((depth == 0) & ~differs, UNKNOWN, depth)


def card(found: Found, levels: Sequence[str], *, kind: str = "") -> str:
    """Return a figure as an item of an HTML list; `kind` is one more CSS class."""
    kinds = f"{kind} same".strip() if found.depth == len(levels) else kind
    return f"""<li value="{found.rank}" class="{kinds}">\
{drawing(found.figure, f"A figure of {found.label}")}
<p class="what"><span class="rank">{found.rank:,}</span>
<span class="score" title="cosine">{found.score:.3f}</span></p>
<p class="agrees">{_mark(found.depth, len(levels))} {escape(_agreement(found.depth, levels))}</p>
<p class="label">{escape(found.label)}</p></li>
"""


def query(figure: Pixels, label: str) -> str:
    """Return the figure that searched as HTML."""
    shown = drawing(figure, f"The query, a figure of {label}")
    return f'<div class="query">{shown}\n<p class="what">Query</p></div>'


def drawing(figure: Pixels, alt: str) -> str:
    """Return a figure, made small, as HTML."""
    return page.picture(to_png(figure, side=SIDE), alt)


def cards_page(
    *, title: str, facts: Mapping[str, str], told: str, key: str, rows: str, style: str = ""
) -> str:
    """Return the whole page.

    Args:
        title: Stands above.
        facts: Name -> value, shown at the top as they are.
        told: What the page shows, in words.
        key: From `key_of`.
        rows: The queries, as HTML.
        style: CSS of this page alone.
    """
    known = f"<dl>\n{page.definitions(facts)}\n</dl>" if facts else ""
    body = f"""<header>
<h1>{escape(title)}</h1>
{known}
<p>{escape(told)}</p>
{key}
</header>
<main>
{rows}
</main>"""
    return page.page(title=title, style=_STYLE + style, body=body)


def key_of(kinds: Iterable[tuple[int, tuple[str, ...]]]) -> str:
    """Return what the marks mean as an HTML list.

    Args:
        kinds: Depth and names of the levels of each card on the page.
    """
    told: dict[str, None] = {}  # in order, each once; trees of several depths may be mixed
    for above, levels in sorted(
        {(depth - len(levels), levels) for depth, levels in kinds}, reverse=True
    ):
        depth = above + len(levels)
        told[f"<li>{_mark(depth, len(levels))} {escape(_agreement(depth, levels))}</li>\n"] = None
    return f'<ul class="key" aria-label="Marks">\n{"".join(told)}</ul>' if told else ""


def _agreement(depth: int, levels: Sequence[str]) -> str:
    if depth > 0:
        return f"same {levels[depth - 1]}"
    return f"another {levels[0]}" if depth == 0 else f"{levels[0]} not known"


def _mark(depth: int, of: int) -> str:
    """Return rising bars, as many full as levels agree: told apart without colours."""
    bars = "".join(
        f'<rect x="{1 + 6 * level}" y="{11 - 10 * (level + 1) / of:.1f}" width="4"'
        f' height="{10 * (level + 1) / of:.1f}"{_FULL if level < depth else ""}/>'
        for level in range(of)
    )
    unknown = ' class="unknown"' * (depth == UNKNOWN)
    size = f'width="{6 * of}" height="12" viewBox="0 0 {6 * of} 12"'
    return f'<svg aria-hidden="true"{unknown} {size}>{bars}</svg>'


_FULL = ' class="full"'
_STYLE = """
header, main { max-width: 84rem; margin: 0 auto; }
header { padding-bottom: 1.4rem; margin-bottom: 2rem; border-bottom: 1px solid var(--line); }
header p { max-width: 46rem; }
header p, section > p, dt { color: var(--soft); }
dl { gap: .1rem 1.5rem; margin: .8rem 0; }
h2, h3, .label { overflow-wrap: anywhere; }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.6rem; margin-top: .8rem; }
section { margin-bottom: 2.6rem; }
h2, h3 { font-size: 1.05rem; font-weight: 600; }
section > p { font-size: .93em; margin-bottom: .7rem; }
section > p b { color: var(--ink); }
.row { display: grid; grid-template-columns: minmax(8rem, 14%) 1fr; gap: 0 1.4rem; }
ol { list-style: none; display: grid; gap: 1.2rem .8rem; align-content: start;
 grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); }
.query .paper, .same .paper { outline: 2px solid var(--accent); outline-offset: 2px; }
.query .paper { outline-color: var(--ink); }
.beyond { position: relative; }
.beyond::before { content: ""; position: absolute; inset: 0 auto 0 -.45rem;
 border-left: 2px dotted var(--soft); }
.what { display: flex; margin-top: .4rem; font-weight: 600; }
.agrees, .label { font-size: .87em; line-height: 1.3; }
.label { color: var(--soft); }
svg { vertical-align: -1px; overflow: visible; }
rect { fill: none; stroke: var(--soft); }
.full { fill: var(--ink); stroke: var(--ink); }
.unknown rect { stroke-dasharray: 1.5 1.5; }
@media (max-width: 46rem) { .row { grid-template-columns: 1fr; gap: 1rem; }
 .query { width: calc((100% - 1.6rem) / 3); } ol { grid-template-columns: repeat(3, 1fr); } }
@media print { @page { size: A4; margin: 14mm; }
 .query .paper, .same .paper { outline-offset: -2px; } h2, h3 { font-size: 9.5pt; }
 header { margin-bottom: 1rem; } section { break-inside: avoid; margin-bottom: 1rem; }
 .row { grid-template-columns: 13% 1fr; gap: 0 .8rem; } .query { width: auto; }
 ol { grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); gap: .8rem; } }
"""
