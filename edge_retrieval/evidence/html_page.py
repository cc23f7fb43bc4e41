"""What a search found as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from edge_retrieval.drawing import to_png
from edge_retrieval.evidence.data import class_of
from edge_retrieval.evidence.details import DETAILS_STYLE, details
from edge_retrieval.evidence.record import Flag
from edge_retrieval.page import definitions, page, picture
from edge_retrieval.provenance import now, versions
from edge_retrieval.register import DesignRecord, Register
from edge_retrieval.register.records import dates_of
from edge_retrieval.search import Hit, SearchResult

_TRAINING = ("torch", "timm", "onnx")  # never part of a search
QUERY_SIDE = 480
"""Longest side of a query's figure on the page, in pixels."""


def to_html(
    results: Sequence[SearchResult],
    *,
    register: Register,
    settings: Mapping[str, object] | None = None,
    flags: Mapping[str, Flag] | None = None,
    notes: str = "",
) -> str:
    """Return one page with each query and its hits: all at a glance, then side by side.

    It holds its pictures and its style, runs no script and asks no network; what is written into
    its notes field is printed with it.

    Args:
        results: From `search` on `register`.
        register: Gives the pictures of the hits.
        settings: What the user asked for, printed as it is.
        flags: What was marked, by the design's number.
        notes: What was written.
    """
    names = ", ".join(Path(result.query.name).name for result in results)
    searches = "\n".join(_search(result, register, flags or {}) for result in results)
    facts = definitions(_facts(register, settings or {}))
    body = (
        f"<main>\n{searches}\n{_notes(notes)}</main>\n"
        f"<footer><h2>How it was searched</h2><dl>\n{facts}\n</dl></footer>"
    )
    return page(title=f"Designs like {names}", style=_STYLE + DETAILS_STYLE, body=body)


def _notes(notes: str) -> str:
    """Return a field to write into: it needs no script, and what is in it is printed."""
    return (
        '<section class="notes"><h2 id="notes">Notes</h2>\n<div contenteditable="plaintext-only"'
        f' role="textbox" aria-multiline="true" aria-labelledby="notes">{escape(notes)}</div>\n'
        "</section>\n"
    )


def _search(result: SearchResult, register: Register, flags: Mapping[str, Flag]) -> str:
    query = result.query
    several = len(query.figures) > 1
    places = query.places
    figures = "\n".join(
        _figure(to_png(figure.pixels, side=QUERY_SIDE), _caption(result, view) if several else "")
        for view, (figure, _) in enumerate(zip(query.figures, places, strict=True))
    )
    hits = "\n".join(_card(hit, register, flags, several=several) for hit in result.hits)
    statement = result.statement[0].upper() + result.statement[1:]
    if result.chance:
        statement += f". {result.chance[0].upper()}{result.chance[1:]}"
    where = register.name
    if result.predicted is not None:
        sentence = result.predicted.sentence
        statement += f". {sentence[0].upper()}{sentence[1:]}"
    alarms = "".join(f'<p class="alarm">{escape(a.sentence)}.</p>\n' for a in result.alarms)
    return f"""<section>
<header>
<h1>Designs like <em>{escape(Path(query.name).name)}</em></h1>
<p>{escape(statement)}. Register: {escape(where)}. Searched {now()[:10]}.</p>
{alarms}</header>
<div class="query"><h2>Searched with</h2>
{figures}
</div>
<ol class="hits">
{hits or '<li class="none">No design was left to compare with.</li>'}
</ol>
{details(result, register, flags)}</section>"""


def _caption(result: SearchResult, view: int) -> str:
    """Return what stands below a view of the query."""
    file, place = result.query.places[view]
    more = ""
    if len(result.query.sources) > 1:
        more = f": {Path(file.name).name}" + (f", figure {place}" if file.figures > 1 else "")
    same = result.same_views[view] if result.same_views else None
    repeats = f" (repeats view {same + 1}, not counted)" if same is not None else ""
    return f"View {view + 1}{more}{repeats}"


def _figure(png: bytes, caption: str) -> str:
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{picture(png, '')}{below}</figure>"


def _card(hit: Hit, register: Register, flags: Mapping[str, Flag], *, several: bool) -> str:
    design, figure = hit.design, hit.figure
    flag = flags.get(design.number)
    drawing = _figure(register.picture(figure.row), "")
    matched = f"Figure {figure.figure} of {design.figures_count}"
    if several:
        matched = f"{matched}, like view {hit.query_figure + 1}"
    lines = [
        ("title", design.title),
        ("class", class_of(design)),
        ("more", _dates(design)),
        ("more", ", ".join(design.applicants)),
        ("more", matched),
        ("more", hit.sentence.split(";")[0] if hit.matched is not None else ""),
        ("more", hit.strength.sentence if hit.strength is not None else ""),
        ("flag", "Relevant" if flag is not None and flag.relevant else ""),
        ("note", flag.note if flag is not None else ""),
        ("more told", figure.description),
    ]
    text = "\n".join(f'<p class="{kind}">{escape(line)}</p>' for kind, line in lines if line)
    return f"""<li>
{drawing}
<h3><span class="rank">{hit.rank}</span> <b>{escape(design.number)}</b>
<span class="score" title="{_meaning(several)}">{hit.score:.3f}</span></h3>
{text}
</li>"""


def _meaning(several: bool) -> str:
    best = "cosine of the best pair of figures"
    return f"half {best}, half the mean of all views" if several else best


def _dates(design: DesignRecord) -> str:
    text = dates_of(design.filed, design.published)
    return text[:1].upper() + text[1:]


def _facts(register: Register, settings: Mapping[str, object]) -> dict[str, str]:
    """Return what is needed to repeat the search."""
    bundle = register.bundle
    words = {True: "yes", False: "no"}
    asked = ", ".join(
        f"{name}: {words[value] if isinstance(value, bool) else value}"
        for name, value in settings.items()
    )
    used = ", ".join(
        f"{name} {version}" for name, version in versions().items() if name not in _TRAINING
    )
    return {
        "Searched": now().replace("T", " ").replace("+00:00", " UTC"),
        "Settings": asked,
        "Register": f"{register.name}, snapshot {register.snapshot}, contents "
        f"{register.contents[:16]}",
        "Encoder": f"{register.bundle.name}, {register.bundle.precision}"
        + (f", the first {bundle.dim} of {bundle.whole.dim} numbers" if bundle.cut_of else ""),
        "Fingerprint": register.bundle.fingerprint,
        "Score": "cosine of the two embeddings: 1 is the same figure, cut alike; a design has that"
        " of its best pair of figures; searched with several views, the mean of that and of what"
        " all views find on average",
        "Unrelated": _unrelated(register),
        "Versions": used,
    }


def _unrelated(register: Register) -> str:
    """Say on what it was measured how unrelated designs score; "" where nobody did."""
    found = register.bundle.calibration
    if found is None:
        return ""
    names = ", ".join(source.name for source in found.sources)
    return f"measured on {found.designs:,} designs of {names}: {found.unrelated}"


_STYLE = """
main, footer { max-width: 84rem; margin: 0 auto; }
section { display: grid; grid-template-columns: clamp(10rem, 25%, 19rem) 1fr;
 gap: 0 clamp(1.5rem, 3.5vw, 3rem);
 margin-bottom: 4rem; }
header { grid-column: 1 / -1; padding-bottom: 1.1rem; margin-bottom: 1.6rem;
 border-bottom: 1px solid var(--line); }
h1 em { font-style: normal; color: var(--accent); }
header p, figcaption, .more, .none { color: var(--soft); }
.alarm { margin-top: .7rem; padding: .45rem .8rem; border-left: 3px solid var(--accent);
 background: color-mix(in srgb, var(--accent) 9%, transparent); }
.flag { color: var(--accent); font-weight: 600; font-size: .88em; }
.note { white-space: pre-line; border-left: 2px solid var(--line); padding-left: .6rem;
 font-size: .88em; margin-top: .2rem; }
.notes { display: block; } .notes div { min-height: 8rem; border: 1px solid var(--line);
 border-radius: 6px; padding: .7rem .9rem; white-space: pre-wrap; }
footer h2 { color: var(--ink); }
h2 { font-size: .95rem; font-weight: 600; margin-bottom: .6rem; }
.paper { padding: 8%; }
figcaption { font-size: .85rem; margin-top: .3rem; }
.query { position: sticky; top: 1.5rem; align-self: start; }
.query figure + figure { margin-top: 1rem; }
.hits { list-style: none; display: grid; gap: 2rem 1.6rem; align-content: start;
 grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); }
h3 { display: flex; flex-wrap: wrap; gap: 0 .5rem; align-items: baseline; margin-top: .6rem;
 font-size: 1rem; font-weight: 600; }
h3 b { font-weight: inherit; min-width: 0; overflow-wrap: anywhere; }
.class { font-size: .93em; }
.more { font-size: .88em; }
footer { border-top: 1px solid var(--line); padding-top: 1.2rem; color: var(--soft);
 font-size: .87em; }
@media (max-width: 46rem) { section { grid-template-columns: 1fr; }
 .query { position: static; margin-bottom: 2rem; } .query .paper { max-width: 19rem; } }
@media print { .query { position: static; } footer { break-inside: avoid; }
 body { font-size: 8.5pt; } h3 { font-size: 9pt; gap: .3rem; } section { gap: 0 1.2rem;
 grid-template-columns: 26% 1fr; } .hits { grid-template-columns: repeat(3, 1fr); gap: 1rem; }
 li, figure { break-inside: avoid; } section + section { break-before: page; } }
"""
