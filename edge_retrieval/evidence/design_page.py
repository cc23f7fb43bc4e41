"""What a register knows of one design: plain data, or one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import Any

from edge_retrieval.evidence.data import class_of
from edge_retrieval.page import definitions, page, picture
from edge_retrieval.provenance import now
from edge_retrieval.register import DesignRecord, FigureRecord, Register
from edge_retrieval.taxonomy import locarno_title

SCHEMA = 1


def figures_of(register: Register, number: str) -> list[FigureRecord]:
    """Return the figures of a design in their order; its number as the register spells it."""
    rows = register.rows_of_design(number)
    return sorted(register.figures(rows.tolist()), key=lambda figure: figure.figure)


def design_as_data(register: Register, number: str) -> dict[str, Any]:
    """Return what the register knows of a design as plain data.

    Args:
        register: Holds the design.
        number: As the register spells it; `filters.find_design` finds that.

    Returns:
        `{"schema", "register", "snapshot", "design"}`, then what a hit of `to_json` tells of its
        design, `locarno_edition`, `source`, `stated_figures`, and `figures`: each with `figure`
        (from 1), `description`, `sheet`, `sheet_sha256`, `box`, `turned` and `row`.

    Raises:
        RegisterError: It is not here, or its record is damaged.
    """
    design = register.design(number)
    return {
        "schema": SCHEMA,
        "register": str(register.folder),
        "snapshot": register.snapshot,
        "design": design.number,
        "title": design.title,
        "labels": list(design.labels),
        "locarno": design.locarno,
        "locarno_title": locarno_title(design.locarno) if design.locarno else None,
        "locarno_edition": design.locarno_edition,
        "uspc": list(design.uspc),
        "filed": design.filed,
        "published": design.published,
        "applicants": list(design.applicants),
        "source": design.source,
        "where": design.where,
        "stated_figures": design.stated_figures,
        "figures": [
            {
                "figure": figure.figure,
                "description": figure.description,
                "sheet": figure.sheet,
                "sheet_sha256": figure.sheet_sha256,
                "box": list(figure.box),
                "turned": figure.turned,
                "row": figure.row,
            }
            for figure in figures_of(register, number)
        ],
    }


def facts_of(design: DesignRecord) -> dict[str, str]:
    """Return what is known of a design, name -> text, in the order in which a person asks."""
    edition = f", edition {design.locarno_edition}" if design.locarno_edition else ""
    facts = {
        "title": design.title,
        "class": class_of(design) + (edition if design.locarno else ""),
        "US class": ", ".join(design.uspc),
        "filed": design.filed or "",
        "published": design.published or "",
        "applicants" if len(design.applicants) > 1 else "applicant": ", ".join(design.applicants),
        "source": design.source,
        "found in": design.where,
    }
    return {name: text for name, text in facts.items() if text}


def held(design: DesignRecord) -> str:
    """Say how many figures the register holds: "4 figures; the office says 7"."""
    text = f"{design.figures_count} figure{'s' * (design.figures_count != 1)}"
    if design.stated_figures in (None, design.figures_count):
        return text
    return f"{text}; the office says {design.stated_figures}"


def place_of(figure: FigureRecord) -> str:
    """Say how large a figure is, and where on its sheet, in pixels: "780 x 560 at 120, 40"."""
    box = figure.box
    turned = f", turned {figure.turned}°" if figure.turned else ""
    return f"{box.x1 - box.x0} x {box.y1 - box.y0} at {box.x0}, {box.y0}{turned}"


def design_page(register: Register, number: str) -> str:
    """Return one page with all that is known of a design, and all its figures.

    It holds its pictures and its style, runs no script and asks no network.

    Args:
        register: Holds the design.
        number: As the register spells it.

    Raises:
        RegisterError: It is not here, or a record or picture of it is damaged.
    """
    design = register.design(number)
    facts = facts_of(design)
    title = facts.pop("title", "")
    told = {name[0].upper() + name[1:]: text for name, text in facts.items()}
    cards = "\n".join(_card(register, figure) for figure in figures_of(register, number))
    told["Held"] = held(design)
    where = f"Register {register.name}, snapshot {register.snapshot}"
    made = now().replace("T", " ").replace("+00:00", " UTC")
    body = f"""<main>
<header>
<h1>{escape(design.number)}{f" <em>{escape(title)}</em>" if title else ""}</h1>
<dl>
{definitions(told)}
</dl>
</header>
<ol class="figures">
{cards or '<li class="more">The register holds no figure of it.</li>'}
</ol>
</main>
<footer><p>{escape(where)}. Shown {escape(made)}.</p></footer>"""
    return page(title=f"{design.number} {title}".strip(), style=_STYLE, body=body)


def _card(register: Register, figure: FigureRecord) -> str:
    name = f"Figure {figure.figure}"
    said = f'<p class="said">{escape(figure.description)}</p>' if figure.description else ""
    return f"""<li>
{picture(register.picture(figure.row), f"{name}: {figure.description}".rstrip(": "))}
<h2>{name}</h2>
{said}
<p class="more">{escape(figure.sheet)}<br>{escape(place_of(figure))}</p>
</li>"""


_STYLE = """
main, footer { max-width: 84rem; margin: 0 auto; }
header { padding-bottom: 1.4rem; margin-bottom: 1.8rem; border-bottom: 1px solid var(--line); }
h1 { margin-bottom: 1rem; }
h1 em { font-style: normal; font-weight: 400; color: var(--accent); margin-left: .4rem; }
dt, .more, footer { color: var(--soft); }
.figures { list-style: none; display: grid; gap: 2rem 1.6rem;
 grid-template-columns: repeat(auto-fill, minmax(min(16rem, 100%), 1fr)); }
h2 { font-size: 1rem; font-weight: 600; margin-top: .6rem; }
.more { font-size: .87em; overflow-wrap: anywhere; }
footer { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1.2rem;
 font-size: .87em; }
@media (max-width: 30rem) { dl { gap: .2rem 1rem; } }
@media print { .figures { grid-template-columns: repeat(3, 1fr); gap: 1rem; }
 li { break-inside: avoid; } }
"""
