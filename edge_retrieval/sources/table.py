"""A table of figures beside their images: `metadata.csv` (imagefolder convention) or Parquet."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from edge_retrieval.errors import TaxonomyError
from edge_retrieval.limits import current
from edge_retrieval.sources.design import Box, Design, Note, Problem, Sheet, counted, iso_date
from edge_retrieval.sources.files import file_entry, is_file, is_image
from edge_retrieval.sources.rows import Row, read_rows
from edge_retrieval.taxonomy import locarno_path, parse_locarno, parse_uspc, uspc_path

NAMES = ("metadata.csv", "metadata.tsv", "metadata.parquet")
DESIGN_COLUMNS = ("design", "id", "patent", "number", "patent_id", "patentid")
LABEL_COLUMNS = ("class", "subclass")
COLUMNS = (
    DESIGN_COLUMNS,
    ("published", "date"),
    ("applicant", "applicants", "assignee"),
    ("caption", "view"),
    *(("box",), ("locarno",), ("uspc",), ("title",), ("filed",), ("role",)),
)
"""The columns that are read, besides `file_name` and labels; those that mean the same together."""
_PLACE = r"(\d{1,9})"  # of a pixel; more digits are no number that Python reads at any length
MANY = 500
"""Columns; in a table of more nobody has misspelt one of ours."""
LIKE = 0.66
"""From here on two names of columns are taken for one: "designnumber" is "number"."""


@dataclass
class _Page:
    """A sheet while its rows are gathered."""

    file: Path
    role: str
    boxes: list[Box] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)


@dataclass
class _Gathered:
    """A design while its rows are gathered: values of its first row, pages by file name."""

    number: str
    where: str
    values: Mapping[str, str]
    pages: dict[str, _Page] = field(default_factory=dict)


def find(path: Path) -> Path | None:
    """Return the table that `path` is or holds, if any."""
    if path.is_dir():
        return next((path / name for name in NAMES if (path / name).is_file()), None)
    return path if path.suffix.lower() in (".csv", ".tsv", ".parquet") else None


def read(path: Path, *, labels: Sequence[str] = LABEL_COLUMNS) -> Iterator[Design | Problem]:
    """Yield the designs of a table, in the order in which they first appear.

    One row is one figure. Columns (in any case; only `file_name` must be there):

    - `file_name`: the image, relative to the table's folder
    - `design` (or `id`, `patent`, `number`): the design; without it each image is one
    - `box`: "x0 y0 x1 y1" in pixels of the image; rows of one image are its figures, in order
    - `locarno`, `uspc`, `title`, `filed`, `published` (or `date`), `applicant`, `caption`
      (or `view`), and `role` ("front" for a page that repeats others)

    Labels are Locarno class and subclass if any row has a code, else US class and subclass, else
    the columns named by `labels` that exist. Rows of a design may lie apart: all rows are held in
    memory (100,000 rows are some 200 MB) and the problems of rows come before the designs.

    Raises:
        SourceError: There is no table, or one without `file_name`.
        MissingExtraError: Parquet without the 'parquet' extra.
    """
    table = find(path) or path
    rows: list[Row] = []
    for item in read_rows(table, needed="file_name"):
        if isinstance(item, Problem):
            yield item
        elif len(rows) >= current().rows:
            yield Problem(item.where, f"rows, {current().told('rows')}: the rest is not read")
            break
        else:
            rows.append(item)
    yield from _misspelt(table, rows, labels)
    designs: dict[str, _Gathered] = {}
    refused: dict[str, str | None] = {}  # why a file name is not taken, if it is not
    for row in rows:
        name = row.values["file_name"]
        if name not in refused:
            refused[name] = _refused(name, table.parent)
        reason = refused[name]
        if reason is not None:
            yield Problem(row.where, reason)
        else:
            yield from _gather(row, table.parent, designs)
    scheme = _scheme(rows, labels)
    for design in designs.values():
        yield from _finish(design, scheme)
    yield from _unlisted(table, [name for name, reason in refused.items() if reason is None])


def _misspelt(table: Path, rows: Sequence[Row], labels: Sequence[str]) -> Iterator[Note]:
    """Tell of columns that are not read, but are called much like one that is missing."""
    there = list(rows[0].values) if rows else []
    read = [*COLUMNS, *((label,) for label in labels)]
    missing = [name for names in read if not set(names) & set(there) for name in names]
    if len(there) > MANY:
        return
    known = {"file_name", *(name for names in read for name in names)}
    for column in there:
        plain = re.sub(r"[\W_]", "", column)
        near = difflib.get_close_matches(plain, missing, n=1, cutoff=LIKE)
        if column not in known and near:
            reason = f"the column {column!r} is not read: perhaps it is meant to be {near[0]!r}"
            yield Note(f"{table}:1", reason)


def _gather(row: Row, folder: Path, designs: dict[str, _Gathered]) -> Iterator[Problem]:
    """Add one row to its design; yield why it cannot be added."""
    name = row.values["file_name"]
    columns = [column for column in DESIGN_COLUMNS if column in row.values]
    number = row.values[columns[0]] if columns else PurePosixPath(name).stem
    if not number:
        yield Problem(row.where, f"the column {columns[0]!r} is empty")
        return
    box = None
    if row.values.get("box"):
        box = _box(row.values["box"])
        if box is None:
            yield Problem(row.where, f"box {row.values['box']!r} is not x0 y0 x1 y1 in pixels")
            return
    design = designs.setdefault(number, _Gathered(number, row.where, row.values))
    for column in ("locarno", "uspc", "title"):
        if design.values.get(column, "") != row.values.get(column, ""):
            first = design.values.get(column, "")
            yield Problem(row.where, f"{number}: {column} differs from {first!r} in {design.where}")
    yield from _add_figure(design, folder, name, box, row)


def _add_figure(
    design: _Gathered, folder: Path, name: str, box: Box | None, row: Row
) -> Iterator[Problem]:
    page = design.pages.get(name)
    if page is None:
        page = _Page(folder / name, row.values.get("role", "").lower())
        design.pages[name] = page
    elif box is None or not page.boxes:
        yield Problem(row.where, f"a second row for {name!r} needs a box, and so does the first")
        return
    if box is not None:
        page.boxes.append(box)
    page.captions.append(_caption(row))


def _caption(row: Row) -> str:
    view = row.values.get("view", "")  # a name ("front"), or just a count
    return row.values.get("caption", "") or ("" if view.isdigit() else view)


def _refused(name: str, folder: Path) -> str | None:
    """Return why a file name is not taken: it must lie in the table's folder, and be there."""
    if not name or "\0" in name:
        return "the column 'file_name' is empty"
    absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute()
    if absolute or ".." in re.split(r"[/\\]", name):
        return f"file_name {name!r} leads out of the table's folder"
    return None if is_file(folder / name) else f"no file {name!r} beside the table"


def _box(text: str) -> Box | None:
    numbers = re.fullmatch(rf"[\[(]?{_PLACE}[,\s]+{_PLACE}[,\s]+{_PLACE}[,\s]+{_PLACE}[\])]?", text)
    if numbers is None:
        return None
    box = Box(*(int(number) for number in numbers.groups()))
    return box if box.x0 < box.x1 and box.y0 < box.y1 else None


def _scheme(rows: Sequence[Row], labels: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that the labels of all designs come from: one kind for a whole table."""
    for column in ("locarno", "uspc"):
        if any(row.values.get(column) for row in rows):
            return (column,)
    return tuple(column for column in labels if rows and column in rows[0].values)


def _finish(design: _Gathered, scheme: tuple[str, ...]) -> Iterator[Design | Problem]:
    values = design.values
    codes: dict[str, str | None] = {"locarno": None, "uspc": None}
    for column, parse in (("locarno", parse_locarno), ("uspc", parse_uspc)):
        try:
            codes[column] = parse(values[column]) if values.get(column) else None
        except TaxonomyError as error:
            yield Note(design.where, f"{design.number}: {error}")
    labels: tuple[str, ...] = ()
    if scheme in (("locarno",), ("uspc",)):
        code = codes[scheme[0]]
        path_of = locarno_path if scheme == ("locarno",) else uspc_path
        labels = path_of(code) if code else ()
    elif all(values.get(column) for column in scheme):
        labels = tuple(values[column] for column in scheme)
    if scheme and not labels:
        yield Note(design.where, f"{design.number} has no {' or '.join(scheme)}: no labels")
    dates: dict[str, str | None] = {}
    for column, written in (
        ("filed", values.get("filed", "")),
        ("published", values.get("published") or values.get("date", "")),
    ):
        dates[column] = iso_date(written)
        if written and dates[column] is None:
            yield Note(design.where, f"{design.number}: {column} {written[:20]!r} is no date")
    applicants = values.get("applicant") or values.get("applicants") or values.get("assignee", "")
    yield Design(
        number=design.number,
        labels=labels,
        sheets=_sheets(design),
        where=design.where,
        title=values.get("title", ""),
        locarno=codes["locarno"],
        uspc=(codes["uspc"],) if codes["uspc"] else (),
        filed=dates["filed"],
        published=dates["published"],
        applicants=tuple(name.strip() for name in applicants.split(";") if name.strip()),
    )


def _sheets(design: _Gathered) -> tuple[Sheet, ...]:
    names = [PurePosixPath(name).name for name in design.pages]
    unique = len(set(names)) == len(names)
    sheets = []
    for short, (name, page) in zip(names, design.pages.items(), strict=True):
        sheets.append(
            Sheet(
                name=short if unique else name,
                where=str(page.file),
                read=file_entry(page.file).read,
                role="front" if page.role == "front" else "drawing",
                boxes=tuple(page.boxes) if page.boxes else None,
                captions=tuple(page.captions) if any(page.captions) else (),
            )
        )
    return tuple(sheets)


def _unlisted(table: Path, names: Sequence[str]) -> Iterator[Problem]:
    """Report the images that lie in the folders of listed ones without being listed."""
    listed: dict[PurePosixPath, set[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        listed.setdefault(path.parent, set()).add(path.name)
    for folder, known in sorted(listed.items()):
        here = table.parent / folder
        try:
            others = {path.name for path in here.iterdir() if is_image(path.name)} - known
        except OSError as error:
            yield Problem(str(here), f"cannot be listed: {error.strerror}")
            continue
        if others:
            some = ", ".join(sorted(others)[:3])
            images = counted(len(others), "image", is_are=True)
            yield Problem(str(here), f"{images} not in {table.name}: {some}")
