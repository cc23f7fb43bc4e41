"""What the database tells; every record is held against its checksum before it is believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from edge_retrieval.errors import RegisterError
from edge_retrieval.register.database import Database, doubted
from edge_retrieval.register.records import DesignRecord, FigureRecord
from edge_retrieval.register.state import digest_of, mend_hint
from edge_retrieval.sources.design import Box
from edge_retrieval.taxonomy import LabelPath

FIGURE = (
    "f.row, f.design, f.sheet, f.figure, f.x0, f.y0, f.x1, f.y1, f.turned, f.caption,"
    " f.crc, f.picture, f.picture_bytes, f.picture_crc"
)
"""What the digest of a figure covers, in this order."""


@doubted
def read_ends(database: Database) -> tuple[int, int]:
    """Return how many rows of vectors and how many bytes of pictures are committed."""
    sql = "SELECT coalesce(max(first + rows), 0), coalesce(max(pictures_end), 0) FROM batches"
    rows, pictures = database.all(sql)[0]
    return int(rows), int(pictures)


@doubted
def read_label_tree(database: Database) -> dict[int, LabelPath]:
    """Return the label path of every node; node 0 is the root, and "class unknown"."""
    paths: dict[int, LabelPath] = {0: ()}
    for node, parent, name in database.all("SELECT id, parent, name FROM nodes ORDER BY id"):
        if parent not in paths:  # a child is always younger than its parent
            raise _damaged(database, f"class {name!r}")
        paths[node] = (*paths[parent], name)
    return paths


def design_digest(
    number: str, labels: LabelPath | tuple[str, ...], source: str, dead: int, facts: str
) -> bytes:
    """Return the checksum of a design's record."""
    return digest_of(number, labels, source, int(dead), facts)


@doubted
def read_design(database: Database, number: str) -> tuple[int, DesignRecord] | None:
    """Return the id and the record of a living design; None if there is none of that number."""
    sql = "SELECT id, node, source, dead, facts, digest FROM designs WHERE number = ? AND dead = 0"
    found = database.one(sql, number)
    if found is None:
        return None
    design, node, source, dead, text, digest = found
    labels = _labels_of(database, node)
    if digest != design_digest(number, labels, source, dead, text):
        raise _damaged(database, f"design {number}")
    facts: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(text).items()
    }
    count = count_figures(database, design)
    return design, DesignRecord(
        number=number, labels=labels, figures_count=count, source=source, **facts
    )


def count_figures(database: Database, design: int) -> int:
    """Return how many figures a design has."""
    return database.count("SELECT count(*) FROM figures WHERE design = ?", design)


def has_sheet(database: Database, design: int, sha256: str) -> bool:
    """Tell whether a design holds a sheet with these bytes."""
    sql = "SELECT 1 FROM sheets WHERE sha256 = ? AND design = ?"
    return database.one(sql, sha256, design) is not None


@doubted
def read_figures(
    database: Database, rows: Sequence[int], *, design: Callable[[str], DesignRecord]
) -> list[FigureRecord]:
    """Return the records of figures of living designs, in the order of `rows`.

    Args:
        database: Knows the figures.
        rows: Which.
        design: Gives the record of a design by its number.
    """
    found = database.all(
        f"SELECT {FIGURE}, f.digest, d.number, s.name, s.sha256, s.digest"
        " FROM json_each(?) j JOIN figures f ON f.row = j.value"
        " JOIN designs d ON d.id = f.design JOIN sheets s ON s.id = f.sheet ORDER BY j.id",
        json.dumps([int(row) for row in rows]),
    )
    if len(found) != len(rows):
        raise _damaged(database, "figures are missing")
    told = {number: _told(design(number)) for number in {record[15] for record in found}}
    return [_figure(database, record, told[record[15]]) for record in found]


def _figure(database: Database, record: Sequence[Any], told: Sequence[str]) -> FigureRecord:
    row, design, _, figure, *box, turned, caption = record[:10]
    digest, number, sheet, sha256, seal = record[14:]
    if digest != digest_of(*record[:14]) or seal != digest_of(design, sheet, sha256):
        raise _damaged(database, f"figure {row}")
    return FigureRecord(
        row=row,
        design=number,
        figure=figure,
        sheet=sheet,
        sheet_sha256=sha256,
        box=Box(*box),
        turned=turned,
        description=caption or (told[figure - 1] if told else ""),
    )


def _told(design: DesignRecord) -> Sequence[str]:
    """Return what the text says of FIG. 1, 2, ... if it speaks of as many figures as there are."""
    return design.descriptions if len(design.descriptions) == design.figures_count else ()


@doubted
def read_place_of_picture(database: Database, row: int) -> tuple[int, int, int]:
    """Return offset, bytes and CRC-32 of a figure's picture in the file of pictures."""
    found = database.one(f"SELECT {FIGURE}, f.digest FROM figures f WHERE f.row = ?", row)
    if found is None or found[14] != digest_of(*found[:14]):
        raise _damaged(database, f"figure {row}")
    return found[11:14]  # type: ignore[no-any-return]


def picture_of_schema_1(database: Database, row: int) -> bytes:
    """Return the PNG of a figure, which schema 1 kept in its database."""
    found = database.one("SELECT png, digest FROM pictures WHERE row = ?", row)
    if found is None or found[1] != digest_of(found[0]):
        raise _damaged(database, f"picture {row}")
    return bytes(found[0])


def _labels_of(database: Database, node: int) -> LabelPath:
    names: list[str] = []
    while node:
        found = database.one("SELECT parent, name FROM nodes WHERE id = ?", node)
        if found is None or found[0] >= node:  # a child is always younger: no endless loop
            raise _damaged(database, f"class {node}")
        node = found[0]
        names.append(found[1])
    return tuple(reversed(names))


def _damaged(database: Database, what: str) -> RegisterError:
    return RegisterError(f"{database.path}: damaged: {what}", hint=mend_hint(database.path.parent))
