"""The page: the answer in a sentence, what to beware of, then the cards, then what it holds for."""

from __future__ import annotations

import re
from html import escape

from edge_retrieval import page as shell
from edge_retrieval.bench_page.axes import Plot
from edge_retrieval.bench_page.cards import LEVEL, METRICS, Card, cards
from edge_retrieval.human import human, human_bytes
from edge_retrieval.report import Report
from edge_retrieval.report_table import (
    Table,
    capital,
    chosen,
    headline,
    peak_memory,
    said_facts,
    said_label,
    said_time,
    same_contestant,
)


def page(report: Report) -> str:
    """Return a report as one HTML page that holds its plots, runs no script, asks no network.

    Args:
        report: Of any measurements; those that a section needs and that are missing leave it out.

    Raises:
        MissingExtraError: matplotlib is not installed, which draws the plots.
    """
    sentence = re.sub(r"(?<=\d) (?=[^\d\W]|%|°)", "\N{NO-BREAK SPACE}", headline(report))
    device = str(report.host.get("board") or report.host.get("cpu") or "unknown device")
    shown = "\n".join(_card(card) for card in cards(report))
    body = f"""<main>
<header>
<h1>{escape(sentence)}</h1>
<p>{escape(device)}, measured {escape(said_time(report.created))}.</p>
{_notes(report)}{_facts(report)}</header>
<section class="device"><h2>The device</h2><dl>
{shell.definitions(said_facts(report.host))}
</dl></section>
<div class="cards">
{shown}
</div>
</main>
<footer>
{_told("Settings", said_facts(report.settings))}
{_told("Versions", said_facts(report.versions))}
</footer>"""
    return shell.page(title=f"{report.title}: {device}", style=_STYLE, body=body)


def _notes(report: Report) -> str:
    if not report.notes:
        return ""
    notes = "\n".join(f"<li>{escape(capital(note))}</li>" for note in report.notes)
    return f'<aside class="notes"><h2>Read this first</h2><ul>\n{notes}\n</ul></aside>\n'


def _facts(report: Report) -> str:
    """Return the few numbers that people ask for, large."""
    facts: list[tuple[str, str]] = []
    total = chosen(report)
    if total is not None:
        facts.append((human(total.median, total.unit), "one search, median"))
        if total.n > 1:
            facts.append((human(total.p90, total.unit), "90 % of searches are below"))
    for one in report.find("cold_start", what="search"):
        facts.append((human(one.median, one.unit), "a search from a standing start"))
    if (peak := peak_memory(report)) is not None:
        facts.append((human_bytes(peak), "memory at the peak"))
    for one in report.find("quality", metric=METRICS[0]):
        if one.labels.get("level", LEVEL) == LEVEL and (
            total is None or same_contestant(one, total)
        ):
            facts.append((human(one.median, "1"), f"{said_label('metric', METRICS[0])}, of 1"))
            break
    if heat := report.find("temperature"):
        facts.append((human(max(max(one.samples) for one in heat), "degC"), "at the hottest"))
    told = "".join(f"<div><dt>{escape(b)}</dt><dd>{escape(a)}</dd></div>" for a, b in facts)
    return f'<dl class="facts">{told}</dl>\n' if facts else ""


def _card(card: Card) -> str:
    about = f"{card.table.about}. " if card.table.about else ""
    text = f"{escape(about)}{escape(card.caption)}"
    table = _table(card.table)
    title = f"<h2>{escape(card.table.title)}</h2>"
    if card.plot is None:
        return f'<section class="card">{title}\n<p class="caption">{text}</p>\n{table}\n</section>'
    return f"""<section class="card">{title}
<figure><figcaption>{text}</figcaption>
{_legend(card.plot)}{card.plot.svg}
</figure>
<details><summary>The numbers</summary>{table}</details>
</section>"""


def _legend(plot: Plot) -> str:
    items = "".join(
        f'<li><span style="color: var({colour})">{sign}</span> {escape(text)}</li>'
        for sign, colour, text in plot.legend
    )
    return f'<ul class="legend">{items}</ul>\n' if items else ""


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"


def _told(title: str, facts: dict[str, str]) -> str:
    if not facts:
        return ""
    return f"<section><h2>{title}</h2><dl>\n{shell.definitions(facts)}\n</dl></section>"


_STYLE = """
:root { --s1: #8a4b14; --s2: #2f6690; --s3: #5f8031; --s4: #a63d57; --s5: #7460a3; --s6: #a97b0e;
 --s7: #2b7f78; --s4-pale: #a63d5740; }
@media (prefers-color-scheme: dark) { :root { --s1: #e0a56d; --s2: #7fb3d9; --s3: #a3c46f;
 --s4: #e88a9f; --s5: #b7a6e6; --s6: #dcc167; --s7: #74c7bf; --s4-pale: #e88a9f40; } }
main, footer { max-width: 72rem; margin: 0 auto; }
header { padding-bottom: 1.4rem; margin-bottom: 1.6rem; border-bottom: 1px solid var(--line); }
header > p { color: var(--soft); margin-top: .3rem; overflow-wrap: anywhere; }
h1 { max-width: 56rem; line-height: 1.25; text-wrap: balance; }
h2 { font-size: 1.02rem; font-weight: 600; }
.notes { margin-top: 1.2rem; padding: .8rem 1.1rem; border: 2px solid var(--accent);
 border-radius: 6px; overflow-wrap: anywhere; }
.notes h2 { color: var(--accent); }
.notes ul { padding-left: 1.1rem; }
.facts { display: flex; flex-wrap: wrap; gap: 1rem 2.4rem; margin-top: 1.4rem; }
.facts div { display: flex; flex-direction: column-reverse; }
.facts dt { color: var(--soft); font-size: .88em; }
.facts dd { font-size: 1.5rem; font-variant-numeric: tabular-nums; color: var(--accent); }
.device { margin-bottom: 2rem; }
.device dl { margin-top: .5rem; font-size: .93em;
 grid-template-columns: fit-content(30%) 1fr fit-content(30%) 1fr; }
.cards { display: grid; gap: 2.6rem 3.2rem;
 grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); align-items: start; }
.card { min-width: 0; max-width: 34rem; }
figcaption, .caption { color: var(--soft); font-size: .9em; margin: .2rem 0 .6rem;
 overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; font-family: inherit; overflow: visible;
 stroke-linejoin: round; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .87em;
 margin-bottom: .4rem; overflow-wrap: anywhere; }
details { margin-top: .4rem; font-size: .87em; }
summary { cursor: pointer; color: var(--soft); }
table { border-collapse: collapse; width: 100%; font-size: .87rem; margin-top: .4rem;
 font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .15rem 0 .15rem .6rem; font-weight: 400; vertical-align: top;
 border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; white-space: normal; overflow-wrap: anywhere; }
thead th { color: var(--soft); }
footer { display: grid; gap: 1.5rem 3.2rem; margin-top: 3rem; padding-top: 1.2rem;
 grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); align-items: start;
 border-top: 1px solid var(--line); font-size: .87em; color: var(--soft); }
dt { color: var(--soft); overflow-wrap: anywhere; }
dl { grid-template-columns: fit-content(45%) 1fr; }
@media (max-width: 46rem) { .device dl { grid-template-columns: fit-content(45%) 1fr; }
 .facts { gap: .8rem 1.6rem; } }
@media print { :root { --s1: #8a4b14; --s2: #2f6690; --s3: #5f8031; --s4: #a63d57; --s5: #7460a3;
 --s6: #a97b0e; --s7: #2b7f78; } .cards { grid-template-columns: 1fr 1fr; gap: 1.2rem 1.6rem; }
 .card, .notes, .device { break-inside: avoid; } details:not([open]) { display: none; }
 h2 { font-size: 9.5pt; } .facts dd { font-size: 13pt; } }
"""
