"""DeepPatent2 (Ajayi et al., Sci. Data 10:772, 2023): `design{YYYY}.json` and folders of images."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from edge_retrieval.errors import SourceError, TaxonomyError
from edge_retrieval.sources.design import Box, Design, Note, Problem, Sheet, iso_date
from edge_retrieval.sources.files import Entry, file_entry, is_archive, is_file, is_image, walk
from edge_retrieval.sources.jsonstream import objects
from edge_retrieval.taxonomy import locarno_path, parse_uspc

_JSON = re.compile(r"design\d{4}\.jsonl?", re.IGNORECASE)


@dataclass(frozen=True)
class _Row:
    """One figure: where it stands, and its fields by name in lower case."""

    where: str
    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        empty = value is None or (isinstance(value, float) and math.isnan(value))
        return "" if empty else " ".join(str(value).split())


@dataclass
class _Images:
    """Images by file name, in a folder or an archive whose name begins with `begin`."""

    beside: Path
    begin: str
    problems: list[Problem] = field(default_factory=list)
    _found: dict[str, Entry] | None = None
    _folders: list[Path] | None = None

    def get(self, name: str) -> Entry | None:
        """Return the image of this file name; the archives are listed only when one is needed."""
        name = PurePosixPath(name.replace("\\", "/")).name
        if not name or not is_image(name):
            return None
        if self._folders is None:
            self._folders = sorted(
                path
                for path in self.beside.iterdir()
                if path.is_dir() and path.name.lower().startswith(self.begin)
            )
        for folder in self._folders:
            if is_file(folder / name):
                return file_entry(folder / name)
        if self._found is None:
            self._found = self._list()
        return self._found.get(name)

    def _list(self) -> dict[str, Entry]:
        """List what lies deeper than the folder itself, or in archives."""
        found: dict[str, Entry] = {}
        for path in sorted(self.beside.iterdir()):
            named = path.name.lower().startswith(self.begin)
            if not named or not (path.is_dir() or is_archive(path.name)):
                continue
            for group in walk(path):
                if isinstance(group, Problem):
                    self.problems.append(group)
                    continue
                for entry in group.entries:
                    found.setdefault(entry.name, entry)
        return found


def find(path: Path) -> list[Path]:
    """Return the `design{YYYY}.json` files that `path` is, holds, or holds one folder below."""
    if not path.is_dir():
        return [path] if _JSON.fullmatch(path.name) else []
    here = [file for file in path.iterdir() if _JSON.fullmatch(file.name) and is_file(file)]
    below = [file for file in path.glob("*/*.json*") if _JSON.fullmatch(file.name)]
    below = [file for file in below if is_file(file)]
    return sorted(here) + sorted(below)


def read(path: Path) -> Iterator[Design | Problem]:
    """Yield the designs of one or more years, in the order of the JSON.

    The JSON is an array or one object a line, and is streamed; rows of one patent stand together.
    Images are looked for beside it, in folders or archives (ZIP, tar, tar.gz) whose names begin
    with "segmented" or "original". A segmented image is one figure (`Sheet.single`); without it
    the original sheet is used, with the boxes that the rows give.

    Raises:
        SourceError: There is no such JSON, or it is not text.
    """
    files = find(path) or ([path] if path.suffix.lower() in (".json", ".jsonl") else [])
    if not files:
        raise SourceError(
            f"{path}: no design{{YYYY}}.json", hint="unpack the year's archive and give its folder"
        )
    first: dict[str, str] = {}
    for file in files:
        try:
            yield from _read_year(file, first)
        except (OSError, UnicodeDecodeError) as error:
            yield Problem(str(file), f"cannot be read: {error}")


def _read_year(file: Path, first: dict[str, str]) -> Iterator[Design | Problem]:
    segmented = _Images(file.parent, "segmented")
    original = _Images(file.parent, "original")
    problems: list[Problem] = []

    def rows() -> Iterator[_Row]:
        for item in objects(file):
            if isinstance(item, Problem):
                problems.append(item)
                continue
            line, value = item
            row = _Row(f"{file}:{line}", {key.lower(): field for key, field in value.items()})
            if row.text("patentid"):
                yield row
            else:
                problems.append(Problem(row.where, "no patentID"))

    for number, group in groupby(rows(), key=lambda row: row.text("patentid").split("-")[0]):
        figures = list(group)
        if number in first:
            problems.append(
                Problem(figures[0].where, f"{number} again: the first is {first[number]}")
            )
        else:
            first[number] = figures[0].where
            design = _design(number, figures, segmented, original, problems)
            for images in (segmented, original):
                yield from images.problems
                images.problems.clear()
            if design is not None:
                yield design
        yield from problems
        problems.clear()
    yield from problems


def _design(
    number: str, rows: list[_Row], segmented: _Images, original: _Images, problems: list[Problem]
) -> Design | None:
    """Return the design that `rows` tell of; None if none of its images is there."""
    sheets: dict[str, Sheet] = {}
    for row in rows:
        entry = segmented.get(row.text("subfigure_file"))
        if entry is not None:
            captions = (row.text("caption"),)
            sheets[entry.name] = Sheet(
                entry.name, entry.where, entry.read, captions=captions, single=True
            )
            continue
        entry = original.get(row.text("figure_file"))
        if entry is None:
            named = row.text("subfigure_file") or row.text("figure_file") or "no file"
            problems.append(Problem(row.where, f"image not found: {named[:120]}"))
            continue
        _add_box(sheets, entry, row, problems)
    if not sheets:
        problems.append(Problem(rows[0].where, f"{number} has no image that is there: left out"))
        return None
    coded = next((row for row in rows if row.text("classification_locarno")), rows[0])
    labels = _labels(number, coded, problems)
    title = next((row.text("object_title") or row.text("object") for row in rows), "")
    return Design(
        number=number,
        labels=labels,
        sheets=tuple(sheets.values()),
        where=rows[0].where,
        title=title,
        locarno=labels[1] if labels else None,
        uspc=_uspc(rows[0], problems),
        published=iso_date(rows[0].text("patentdate")),
        descriptions=tuple(row.text("caption") for row in rows if row.text("caption")),
    )


def _add_box(sheets: dict[str, Sheet], entry: Entry, row: _Row, problems: list[Problem]) -> None:
    """Add the figure of one row to its original sheet."""
    box = _box(row)
    old = sheets.get(entry.name)
    if box is None and any(row.text(f"{side}_figure") for side in "xywh"):
        problems.append(Problem(row.where, "x_figure ... h_figure are no box"))
        if old is not None:
            return
    boxes = () if old is None or old.boxes is None else old.boxes
    captions = () if old is None else old.captions
    sheets[entry.name] = Sheet(
        entry.name,
        entry.where,
        entry.read,
        boxes=None if box is None and not boxes else (*boxes, *([box] if box else [])),
        captions=(*captions, row.text("caption")) if box else captions,
    )


def _box(row: _Row) -> Box | None:
    try:
        x, y, w, h = (round(float(row.text(f"{side}_figure"))) for side in "xywh")
    except (ValueError, OverflowError):
        return None
    return Box(x, y, x + w, y + h) if min(x, y) >= 0 and min(w, h) > 0 else None


def _labels(number: str, row: _Row, problems: list[Problem]) -> tuple[str, ...]:
    written = row.text("classification_locarno")
    try:
        return locarno_path(written)
    except TaxonomyError as error:
        reason = f"{error}" if written else "no Locarno code"
        problems.append(Note(row.where, f"{number}: {reason}; indexed without a class"))
        return ()


def _uspc(row: _Row, problems: list[Problem]) -> tuple[str, ...]:
    # Not `text`: the blanks of the office's fixed columns count.
    written = str(row.fields.get("classification_national") or "")
    if not row.text("classification_national"):
        return ()
    try:
        return (parse_uspc(written),)
    except TaxonomyError as error:
        problems.append(Note(row.where, str(error)))
        return ()
