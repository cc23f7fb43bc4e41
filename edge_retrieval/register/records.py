"""What a register tells of its designs and figures, and of an addition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge_retrieval.sources.design import Box, Design, Problem
from edge_retrieval.taxonomy import locarno_title


@dataclass(frozen=True)
class DesignRecord:
    """A registered design, as the register knows it.

    Attributes:
        number: Its unique name ("USD0909824").
        labels: Label path above the design, coarse to fine: ("07", "07-03"); () if unknown.
        figures_count: How many of its figures the register holds.
        where: Where the source found it.
        source: Name of what was indexed when it was first added.

    The others are those of `sources.Design`.
    """

    number: str
    labels: tuple[str, ...]
    figures_count: int
    where: str
    title: str = ""
    locarno: str | None = None
    locarno_edition: str | None = None
    uspc: tuple[str, ...] = ()
    filed: str | None = None
    published: str | None = None
    applicants: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    stated_figures: int | None = None
    source: str = ""


@dataclass(frozen=True)
class FigureRecord:
    """One figure of a registered design.

    Attributes:
        row: Its row of `Register.vectors`.
        design: Number of its design.
        figure: Its place among the figures of its design, from 1.
        sheet: Name of the sheet that it was cut from.
        sheet_sha256: SHA-256 of that sheet's bytes.
        box: Where it is on the sheet, in pixels of the sheet.
        turned: Degrees counter-clockwise by which it was turned upright.
        description: What the source says of it ("front elevational view"); may be "".
    """

    row: int
    design: str
    figure: int
    sheet: str
    sheet_sha256: str
    box: Box
    turned: int = 0
    description: str = ""

    @property
    def name(self) -> str:
        """What a person calls it: its place in the design."""
        return f"figure {self.figure}"


@dataclass
class AddResult:
    """What `Register.add` did.

    Attributes:
        designs_added: Designs that the register did not hold before.
        designs_updated: Designs held before whose description changed.
        figures_added: Figures added, of new designs and of old ones.
        sheets_read: Sheets whose figures were added.
        sheets_copied: Of these, sheets whose very bytes the register held in another design: their
            figures were copied, not cut and embedded again.
        sheets_taken_back: Of these, sheets whose very bytes only removed designs held: copied from
            there.
        front_pages: Front pages left out, because they repeat a figure of another sheet.
        unchanged: Sheets that the register held already, by their bytes; not embedded again.
        problems: What could not be read, in order.
        notes: What was read, but deserves a look: a date that is none; the cut found other than the
            stated figures.
    """

    designs_added: int = 0
    designs_updated: int = 0
    figures_added: int = 0
    sheets_read: int = 0
    sheets_copied: int = 0
    sheets_taken_back: int = 0
    front_pages: int = 0
    unchanged: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


def facts_of(design: Design | DesignRecord) -> dict[str, Any]:
    """Return what is known of a design as plain data, without its figures."""
    return {
        "design": design.number,
        "title": design.title,
        "labels": list(design.labels),
        "locarno": design.locarno,
        "locarno_title": locarno_title(design.locarno) if design.locarno else None,
        "uspc": list(design.uspc),
        "filed": design.filed,
        "published": design.published,
        "applicants": list(design.applicants),
        "where": design.where,
    }


def dates_of(filed: str | None, published: str | None) -> str:
    """Say when: "filed 2019-01-02, published 2021-03-04"; "" where nothing is known."""
    dates = [("filed", filed), ("published", published)]
    return ", ".join(f"{verb} {date}" for verb, date in dates if date)
