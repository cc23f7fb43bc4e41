"""One USPTO grant: its XML (us-patent-grant, v4.x) and the drawings beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from edge_retrieval.errors import TaxonomyError
from edge_retrieval.sources.design import Design, Note, Problem, Sheet, iso_date
from edge_retrieval.sources.files import Entry
from edge_retrieval.sources.safexml import text_of
from edge_retrieval.taxonomy import locarno_path, parse_uspc

_BIBLIOGRAPHY = "us-bibliographic-data-grant"
_FRONT = re.compile(r"-D0{5}\.", re.IGNORECASE)
_ENDING = re.compile(r"\s*[;,.]?(?:\s*and\s*[,;]?)?\s*$")


@dataclass
class _Reader:
    """One grant while it is read; problems gather here."""

    root: Element
    where: str
    problems: list[Problem]

    def problem(self, reason: str) -> None:
        self.problems.append(Problem(self.where, reason))

    def note(self, reason: str) -> None:
        self.problems.append(Note(self.where, reason))

    def text(self, path: str) -> str:
        return text_of(self.root.find(f"{_BIBLIOGRAPHY}/{path}"))


def is_design(root: Element) -> bool:
    """Say whether a grant is of a design: not a utility, plant or reissue patent."""
    reference = root.find(f"{_BIBLIOGRAPHY}/application-reference")
    kind = "" if reference is None else reference.get("appl-type", "")
    number = text_of(root.find(f"{_BIBLIOGRAPHY}/publication-reference/document-id/doc-number"))
    return kind == "design" or (not kind and number.upper().startswith("D"))


def read_grant(
    root: Element, where: str, entries: Sequence[Entry], *, others: bool = False
) -> Iterator[Design | Problem]:
    """Yield one design, after the problems met in reading it.

    Args:
        root: The `us-patent-grant` element.
        where: Path of the XML, for messages.
        entries: Drawings that lie beside it.
        others: More grants lie in the same folder, so drawings may belong to them.
    """
    grant = _Reader(root, where, [])
    number = _number(grant)
    if not number:
        yield Problem(where, "states no number (doc-number)")
        return
    locarno, labels = _locarno(grant)
    sheets = _sheets(grant, entries, others)
    design = Design(
        number=number,
        labels=labels,
        sheets=sheets,
        where=where,
        title=grant.text("invention-title"),
        locarno=locarno,
        locarno_edition=grant.text("classification-locarno/edition") or None,
        uspc=_uspc(grant),
        filed=_date(grant, "application-reference/document-id/date"),
        published=_date(grant, "publication-reference/document-id/date"),
        applicants=_applicants(grant),
        descriptions=_descriptions(grant),
        stated_figures=_count(grant, "figures/number-of-figures"),
    )
    _compare_sheets(grant, sheets)
    yield from grant.problems
    if sheets:
        yield design
    else:
        yield Problem(where, f"{number} has no drawing that can be read: left out")


def _number(grant: _Reader) -> str:
    written = grant.text("publication-reference/document-id/doc-number")
    match = re.fullmatch(r"(?:US)?D0*(\d+)", written.replace(",", ""), re.IGNORECASE)
    if match:
        return f"USD{match[1]:0>7}"  # as in the office's file names
    return grant.root.get("file", "").split("-")[0].split(".")[0]


def _locarno(grant: _Reader) -> tuple[str | None, tuple[str, ...]]:
    written = grant.text("classification-locarno/main-classification")
    if not written:
        grant.note("states no Locarno code: indexed without a class")
        return None, ()
    try:
        labels = locarno_path(written)
    except TaxonomyError as error:
        grant.note(f"{error}: indexed without a class")
        return None, ()
    return labels[1], labels


def _uspc(grant: _Reader) -> tuple[str, ...]:
    codes: dict[str, None] = {}
    for name in ("main-classification", "further-classification"):
        for element in grant.root.iterfind(f"{_BIBLIOGRAPHY}/classification-national/{name}"):
            try:
                code = parse_uspc(element.text or "")  # unstripped: its columns count
            except TaxonomyError as error:
                grant.note(str(error))
                continue
            codes[code] = None
    return tuple(codes)


def _date(grant: _Reader, path: str) -> str | None:
    written = grant.text(path)
    found = iso_date(written)
    if written and found is None:
        grant.note(f"the date {written[:20]!r} ({path.split('-')[0]}) is none")
    return found


def _count(grant: _Reader, path: str) -> int | None:
    written = grant.text(path)
    if written and not re.fullmatch(r"\d{1,5}", written):
        grant.note(f"{path.split('/')[-1]} is {written[:20]!r}, not a number")
        return None
    return int(written) if written else None


def _applicants(grant: _Reader) -> tuple[str, ...]:
    """Return names of applicants, then of assignees, each once."""
    names: dict[str, None] = {}
    base = grant.root.find(_BIBLIOGRAPHY)
    if base is None:
        return ()
    for path in (
        "us-parties/us-applicants/us-applicant",
        "parties/applicants/applicant",
        "assignees/assignee",
    ):
        for party in base.iterfind(path):
            address = party.find("addressbook")
            book = party if address is None else address
            person = [text_of(book.find(part)) for part in ("first-name", "last-name")]
            name = text_of(book.find("orgname")) or " ".join(part for part in person if part)
            if name:
                names[name] = None
    return tuple(names)


def _descriptions(grant: _Reader) -> tuple[str, ...]:
    texts = [text_of(p) for p in grant.root.iterfind("description/description-of-drawings/p")]
    return tuple(_ENDING.sub("", text) for text in texts if text.upper().startswith("FIG"))


def _sheets(grant: _Reader, entries: Sequence[Entry], others: bool) -> tuple[Sheet, ...]:
    beside = {entry.name.lower(): entry for entry in entries}
    sheets: dict[str, Sheet] = {}
    for image in grant.root.iterfind("drawings//img"):
        name = image.get("file", "")
        entry = beside.get(name.lower())
        if entry is None:
            grant.problem(f"names the drawing {name!r}, which is not there")
        else:
            sheets[entry.name] = Sheet(
                entry.name,
                entry.where,
                entry.read,
                role="front" if _FRONT.search(name) else "drawing",
            )
    if not others:
        for entry in entries:
            if entry.name not in sheets:
                grant.problems.append(Problem(entry.where, "a drawing that the XML does not name"))
    return tuple(sheets.values())


def _compare_sheets(grant: _Reader, sheets: Sequence[Sheet]) -> None:
    stated = _count(grant, "figures/number-of-drawing-sheets")
    found = sum(sheet.role == "drawing" for sheet in sheets)
    if stated is not None and stated != found:
        grant.problem(f"states {stated} drawing sheets, {found} are there")
