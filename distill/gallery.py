"""The worst queries of a validation, for a person to look at: one HTML page that needs nothing.

A mean hides what goes wrong. The page shows the figures that found their own design worst, what
they found instead, how near that is in the label tree, and what they should have found.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.augment import Squares
from distill.curves import write_picture
from distill.drawing_cache import Stack
from edge_retrieval.arrays import Codes, Embeddings, Pixels
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


@dataclass(frozen=True)
class WorstQuery:
    """A figure that searched all the others.

    Attributes:
        figure: ``(S, S)`` uint8.
        label: Of its design.
        ap: Average precision at design level.
        found: The first ones, best first.
        right: The first figure of its own design, wherever it stands.
        wanted: How many other figures its design has.
        levels: Names, coarse to fine.
    """

    figure: Pixels
    label: str
    ap: float
    found: tuple[Found, ...]
    right: Found
    wanted: int
    levels: tuple[str, ...]


def worst_queries(
    embeddings: Embeddings,
    codes: Codes,
    squares: Squares | Stack,
    designs: Sequence[str],
    levels: Sequence[str],
    *,
    count: int = 24,
    shown: int = 6,
    chunk: int = 256,
) -> list[WorstQuery]:
    """Let every figure search all the others; return those that found their own design worst.

    A design gives one query at most, its worst: else one bad design would fill the page. Figures
    whose design is unknown or has no other figure cannot be judged, and are only found.

    Args:
        embeddings: ``(N, D)`` finite, rows of length 1.
        codes: ``(N, L)`` coarse to fine; -1 is unknown.
        squares: ``(N, S, S)`` uint8; only the rows that are shown are read.
        designs: ``(N,)`` names of the designs.
        levels: Names of the L levels.
        count: Queries wanted, at most.
        shown: Figures found, of each query.
        chunk: Queries at once: bounds memory at about ``chunk * N * 4`` bytes.

    Returns:
        The worst first; empty if no query can be judged.
    """
    if codes.shape != (len(embeddings), len(levels)) or len(designs) != len(embeddings):
        raise ValueError(f"{embeddings.shape}, {codes.shape} codes, {len(designs)}, {levels}")
    if not np.isfinite(embeddings).all():
        raise ValueError("an embedding holds a number that is not finite")
    precision = _precisions(embeddings, codes[:, -1], chunk)  # (N,)
    worst: list[WorstQuery] = []
    for row in _one_a_design(precision, codes[:, -1])[:count]:
        scores = embeddings @ embeddings[row]  # (N,)
        scores[row] = -np.inf
        ranking = np.argsort(-scores, kind="stable")[:-1]  # (N-1,) the query itself is last
        depth = shared_depth(codes[row], codes)  # (N,)
        right = np.flatnonzero(depth[ranking] == len(levels))  # (R,) places
        places = [*range(min(shown, len(ranking))), int(right[0])]
        rows = ranking[places]  # (K,)
        pictures = squares[np.concatenate([[row], rows])]  # (1 + K, S, S)
        found = [
            Found(picture, designs[i], float(scores[i]), int(depth[i]), place + 1)
            for i, place, picture in zip(rows.tolist(), places, pictures[1:], strict=True)
        ]
        ap = float(np.mean(np.arange(1, len(right) + 1) / (right + 1)))
        query = pictures[0], designs[row], ap
        worst.append(WorstQuery(*query, tuple(found[:-1]), found[-1], len(right), tuple(levels)))
    return sorted(worst, key=lambda query: query.ap)


def _one_a_design(precision: NDArray[np.float64], designs: NDArray[np.int32]) -> list[int]:
    """Return the row of each design's worst figure, the worst design first; NaN is left out."""
    ordered = np.argsort(precision, kind="stable")  # NaN comes last
    ordered = ordered[: np.count_nonzero(~np.isnan(precision))]
    _, first = np.unique(designs[ordered], return_index=True)
    rows: list[int] = ordered[np.sort(first)].tolist()
    return rows


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


def _precisions(
    embeddings: Embeddings, designs: NDArray[np.int32], chunk: int
) -> NDArray[np.float64]:
    """Return ``(N,)`` average precisions at design level; NaN where nothing is relevant.

    Only the ranks of the few relevant figures are counted, not the whole ranking sorted. Of equal
    scores the smaller row comes first, as in `edge_retrieval.metrics`.
    """
    rows_of: dict[int, list[int]] = {}
    for row, design in enumerate(designs.tolist()):
        rows_of.setdefault(design, []).append(row)
    precision = np.full(len(embeddings), np.nan)
    for start in range(0, len(embeddings), chunk):
        similarity = embeddings[start : start + chunk] @ embeddings.T  # (Q, N)
        for row, scores in enumerate(similarity, start=start):
            design = int(designs[row])
            own = [other for other in rows_of[design] if other != row]
            if design < 0 or not own:
                continue
            scores[row] = -np.inf
            ranks = sorted(
                1 + np.count_nonzero(scores > scores[other])
                + np.count_nonzero(scores[:other] == scores[other])
                for other in own
            )  # fmt: skip
            precision[row] = np.mean([nth / rank for nth, rank in enumerate(ranks, start=1)])
    return precision


def write_gallery(
    queries: Sequence[WorstQuery], out: Path, *, title: str, facts: Mapping[str, str]
) -> None:
    """Write queries as one HTML page: pictures and style inside, no script, nothing from elsewhere.

    Args:
        queries: From `worst_queries`.
        out: The file, written whole or not at all; its folder is made.
        title: Stands above.
        facts: Name -> value, shown at the top as they are: run, step, gallery, mAP.

    Raises:
        ConfigError: `out` cannot be written.
    """
    known = "\n".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items()
    )
    queries = sorted(queries, key=lambda query: query.ap)  # they may be of several schemes
    rows = "\n".join(_row(number, query) for number, query in enumerate(queries, start=1))
    page = _PAGE.format(
        title=escape(title),
        style=_STYLE,
        facts=f"<dl>\n{known}\n</dl>" if known else "",
        told=_TOLD if queries else "No query could be judged: no design has two figures.",
        key=_key(queries),
        rows=rows,
    )
    write_picture(out, page.encode("utf-8", errors="backslashreplace"))


def _row(number: int, query: WorstQuery) -> str:
    first = query.found[-1].rank if query.found else 0
    beyond = query.right.rank > first
    cards = [_card(found, query.levels) for found in query.found]
    if beyond:
        cards.append(_card(query.right, query.levels, kind="beyond"))
    level = escape(query.levels[-1])
    others = f"{query.wanted} other figure{'s' * (query.wanted > 1)} to find"
    return f"""<section aria-labelledby="q{number}">
<h2 id="q{number}"><span class="rank">{number}</span> {escape(query.label)}</h2>
<p>First of its own {level} at rank <b>{query.right.rank:,}</b>; {others};
average precision {query.ap:.3f}.</p>
<div class="row">
<div class="query">{_figure(query.figure, f"The query, a figure of {query.label}")}
<p class="what">Query</p></div>
<ol style="--columns: {len(cards)}">
{"".join(cards)}</ol>
</div>
</section>"""


def _card(found: Found, levels: Sequence[str], *, kind: str = "") -> str:
    kinds = f"{kind} same".strip() if found.depth == len(levels) else kind
    picture = _figure(found.figure, f"A figure of {found.label}")
    return f"""<li value="{found.rank}" class="{kinds}">{picture}
<p class="what"><span class="rank">{found.rank:,}</span>
<span class="score" title="cosine">{found.score:.3f}</span></p>
<p class="agrees">{_mark(found.depth, len(levels))} {escape(_agreement(found.depth, levels))}</p>
<p class="label">{escape(found.label)}</p></li>
"""


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


def _key(queries: Sequence[WorstQuery]) -> str:
    """Return what the marks mean, of those on the page."""
    kinds = {
        (found.depth - len(query.levels), query.levels)
        for query in queries
        for found in (*query.found, query.right)
    }
    told: dict[str, None] = {}  # in order, each once; trees of several depths may be mixed
    for above, levels in sorted(kinds, reverse=True):
        depth = above + len(levels)
        told[f"<li>{_mark(depth, len(levels))} {escape(_agreement(depth, levels))}</li>\n"] = None
    return f'<ul class="key" aria-label="Marks">\n{"".join(told)}</ul>' if told else ""


def _figure(figure: Pixels, alt: str) -> str:
    data = base64.b64encode(to_png(figure, side=SIDE)).decode("ascii")
    source = f"data:image/png;base64,{data}"
    return f'<div class="paper"><img alt="{escape(alt)}" src="{source}"></div>'


_FULL = ' class="full"'
_TOLD = (
    "The figures that found their own design worst, one of each design, the worst first. Each"
    " searched all the other figures; beside it stand the first that it found and, behind a dotted"
    " line, the first of its own design. The number under a figure is its rank, then the cosine"
    " with the query."
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{facts}
<p>{told}</p>
{key}
</header>
<main>
{rows}
</main>
</body>
</html>
"""

# The colours are those of edge_retrieval.evidence; drawings stand on white paper in the dark, too.
_STYLE = """
:root { color-scheme: light dark; --ground: #f6f5f2; --ink: #1c1b19; --soft: #6d6a64;
 --line: #dedbd4; --accent: #8a4b14; }
@media (prefers-color-scheme: dark) { :root { --ground: #191817; --ink: #eceae5; --soft: #a09c94;
 --line: #37342f; --accent: #e0a56d; } }
* { box-sizing: border-box; margin: 0; padding: 0; }
body { background: var(--ground); color: var(--ink); padding: 2.5rem clamp(1rem, 4vw, 4rem);
 font: 15px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
header, main { max-width: 84rem; margin: 0 auto; }
header { padding-bottom: 1.4rem; margin-bottom: 2rem; border-bottom: 1px solid var(--line); }
header p { max-width: 46rem; }
header p, section > p, .score, dt { color: var(--soft); }
h1 { font-size: 1.6rem; font-weight: 600; letter-spacing: -.01em; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.5rem; margin: .8rem 0; }
dd, h2, .label { overflow-wrap: anywhere; }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.6rem; margin-top: .8rem; }
section { margin-bottom: 2.6rem; }
h2 { font-size: 1.05rem; font-weight: 600; }
section > p { font-size: .93em; margin-bottom: .7rem; }
section > p b { color: var(--ink); }
.row { display: grid; grid-template-columns: minmax(8rem, 14%) 1fr; gap: 0 1.4rem; }
ol { list-style: none; display: grid; gap: 1.2rem .8rem; align-content: start;
 grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); }
.paper { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: 6%;
 aspect-ratio: 1; }
.query .paper { border: 2px solid var(--ink); }
.same .paper { border: 2px solid var(--accent); }
.paper img { display: block; width: 100%; height: 100%; object-fit: contain; }
.beyond { position: relative; }
.beyond::before { content: ""; position: absolute; inset: 0 auto 0 -.45rem;
 border-left: 2px dotted var(--soft); }
.what { display: flex; margin-top: .3rem; font-weight: 600; }
.rank { color: var(--accent); }
.score { margin-left: auto; font-weight: 400; }
.rank, .score { font-variant-numeric: tabular-nums; }
.agrees, .label { font-size: .87em; line-height: 1.3; }
.label { color: var(--soft); }
svg { vertical-align: -1px; overflow: visible; }
rect { fill: none; stroke: var(--soft); }
.full { fill: var(--ink); stroke: var(--ink); }
.unknown rect { stroke-dasharray: 1.5 1.5; }
@media (max-width: 46rem) { .row { grid-template-columns: 1fr; gap: 1rem; }
 .query { width: calc((100% - 1.6rem) / 3); } ol { grid-template-columns: repeat(3, 1fr); } }
@media print { :root { color-scheme: light; --ground: #fff; --ink: #000; --soft: #444;
 --line: #bbb; --accent: #000; } @page { size: A4; margin: 14mm; }
 body { padding: 0; font-size: 8pt; } h1 { font-size: 14pt; } h2 { font-size: 9.5pt; }
 header { margin-bottom: 1rem; } section { break-inside: avoid; margin-bottom: 1rem; }
 .row { grid-template-columns: 13% 1fr; gap: 0 .8rem; } .query { width: auto; }
 ol { grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); gap: .8rem; } }
"""
