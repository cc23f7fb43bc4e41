"""The worst queries of a validation, for a person to look at: one HTML page that needs nothing.

A mean hides what goes wrong. The page shows the figures that found their own design worst, what
they found instead, how near that is in the label tree, and what they should have found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.augment import Squares
from distill.cards import Found, card, cards_page, key_of, query, shared_depth
from distill.curves import write_picture
from distill.drawing_cache import Stack
from edge_retrieval.arrays import Codes, Embeddings, Pixels


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
    queries = sorted(queries, key=lambda query: query.ap)  # they may be of several schemes
    kinds = (
        (found.depth, query.levels) for query in queries for found in (*query.found, query.right)
    )
    page = cards_page(
        title=title,
        facts=facts,
        told=_TOLD if queries else "No query could be judged: no design has two figures.",
        key=key_of(kinds),
        rows="\n".join(_row(number, query) for number, query in enumerate(queries, start=1)),
    )
    write_picture(out, page.encode("utf-8", errors="backslashreplace"))


def _row(number: int, worst: WorstQuery) -> str:
    first = worst.found[-1].rank if worst.found else 0
    cards = [card(found, worst.levels) for found in worst.found]
    if worst.right.rank > first:
        cards.append(card(worst.right, worst.levels, kind="beyond"))
    level = escape(worst.levels[-1])
    others = f"{worst.wanted} other figure{'s' * (worst.wanted > 1)} to find"
    return f"""<section aria-labelledby="q{number}">
<h2 id="q{number}"><span class="rank">{number}</span> {escape(worst.label)}</h2>
<p>First of its own {level} at rank <b>{worst.right.rank:,}</b>; {others};
average precision {worst.ap:.3f}.</p>
<div class="row">
{query(worst.figure, worst.label)}
<ol style="--columns: {len(cards)}">
{"".join(cards)}</ol>
</div>
</section>"""


_TOLD = (
    "The figures that found their own design worst, one of each design, the worst first. Each"
    " searched all the other figures; beside it stand the first that it found and, behind a dotted"
    " line, the first of its own design. The number under a figure is its rank, then the cosine"
    " with the query."
)
