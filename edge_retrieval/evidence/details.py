"""The hits of a search side by side with the query, each with all its views: part of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from edge_retrieval.drawing import to_png
from edge_retrieval.evidence.data import class_of
from edge_retrieval.evidence.record import Flag
from edge_retrieval.page import picture
from edge_retrieval.register import FigureRecord, Register
from edge_retrieval.register.records import dates_of
from edge_retrieval.search import Hit, SearchResult, ViewMatch, same_views

PAIR_SIDE = 320
"""Longest side of a query's figure beside a hit's, in pixels."""


def details(result: SearchResult, register: Register, flags: Mapping[str, Flag]) -> str:
    """Return the hits of one search as HTML: the best pair, all pairs of views, all figures."""
    if not result.hits:
        return ""
    views = [to_png(figure.pixels, side=PAIR_SIDE) for figure in result.query.figures]
    hits = "\n".join(_hit(hit, views, register, flags) for hit in result.hits)
    return f'<div class="details"><h2>Side by side</h2>\n{hits}\n</div>\n'


def _hit(hit: Hit, views: Sequence[bytes], register: Register, flags: Mapping[str, Flag]) -> str:
    design = hit.design
    flag = flags.get(design.number)
    facts = [
        class_of(design),
        ", ".join(design.applicants),
        dates_of(design.filed, design.published),
        hit.sentence,
        hit.strength.sentence if hit.strength is not None else "",
        f"Relevant{': ' if flag.note else ''}{flag.note}" if flag and flag.relevant else "",
    ]
    lines = "".join(f"<p>{escape(fact[0].upper() + fact[1:])}</p>" for fact in facts if fact)
    title = f" {escape(design.title)}" if design.title else ""
    return f"""<article>
<h3><span class="rank">{hit.rank}</span> <b>{escape(design.number)}</b>{title}
<span class="score">{hit.score:.3f}</span></h3>
<div class="facts">{lines}</div>
<div class="pairs">{_pairs(hit, views, register)}</div>
{_others(hit, register)}</article>"""


def _pairs(hit: Hit, views: Sequence[bytes], register: Register) -> str:
    """Return each view beside what it found, the best pair first."""
    matches: Sequence[ViewMatch] = sorted(
        hit.views, key=lambda match: (match.view != hit.query_figure, match.view)
    )
    return "\n".join(_pair(match, views, register, len(views) > 1) for match in matches)


def _pair(match: ViewMatch, views: Sequence[bytes], register: Register, several: bool) -> str:
    words = [f"{match.score:.3f}"]
    if match.mirrored:
        words.append("mirrored")
    if match.matches is not None and several:
        words.append("match" if match.matches else "no match")
    mine = f"view {match.view + 1}" if several else "your drawing"
    caption = f"{mine} and figure {match.figure.figure}: {', '.join(words)}"
    weak = ' class="weak"' if match.matches is False and several else ""
    return (
        f"<figure{weak}><div>{picture(views[match.view], mine)}"
        f"{picture(register.picture(match.figure.row), f'figure {match.figure.figure}')}</div>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _others(hit: Hit, register: Register) -> str:
    """Return the design's other figures, those that nearly repeat an earlier one counted only."""
    rows = register.rows_of_design(hit.design.number)
    figures = sorted(register.figures(rows), key=lambda figure: figure.figure)
    same = same_views(register.read_rows([figure.row for figure in figures]))
    alike: dict[int, list[FigureRecord]] = {}
    for place, earlier in enumerate(same):
        if earlier is not None:
            alike.setdefault(earlier, []).append(figures[place])
    shown = {match.figure.row for match in hit.views}
    told = []
    for place, figure in enumerate(figures):
        mates = alike.get(place, [])
        if same[place] is not None or {figure.row, *(mate.row for mate in mates)} & shown:
            continue
        names = ", ".join(str(one.figure) for one in (figure, *mates))
        caption = f"figure{'s' if mates else ''} {names}"
        told.append(
            f"<figure>{picture(register.picture(figure.row), caption)}"
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    if not told:
        return ""
    return f'<h4>Its other views</h4>\n<div class="others">{"".join(told)}</div>\n'


DETAILS_STYLE = """
.details { grid-column: 1 / -1; margin-top: 3rem; }
.details > h2 { padding-bottom: .5rem; border-bottom: 1px solid var(--line); }
article { padding: 1.4rem 0 1.6rem; border-bottom: 1px solid var(--line); display: grid;
 grid-template-columns: 17rem 1fr; gap: 0 2rem; align-items: start; }
article h3 { grid-column: 1 / -1; margin: 0 0 .7rem; }
.facts { font-size: .92em; } .facts p + p { margin-top: .25rem; color: var(--soft); }
.pairs, .others { display: grid; gap: 1rem 1.4rem;
 grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.pairs figure > div { display: grid; grid-template-columns: 1fr 1fr; gap: .4rem; }
.pairs .weak { opacity: .62; }
.others { grid-column: 2; grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)); }
h4 { grid-column: 2; font-size: .85rem; font-weight: 600; margin: 1rem 0 .5rem; }
@media (max-width: 46rem) { article { grid-template-columns: 1fr; }
 .others, h4 { grid-column: 1; } .facts { margin-bottom: 1rem; } }
@media print { .details { break-before: page; } article { break-inside: avoid;
 grid-template-columns: 24% 1fr; padding: .6rem 0; } .pairs { gap: .5rem .8rem;
 grid-template-columns: repeat(3, 1fr); } .others { grid-template-columns: repeat(8, 1fr);
 gap: .4rem; } .notes { break-inside: avoid; } }
"""
