"""What the one writer puts into the database and beside it, between `begin` and `commit`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge_retrieval.arrays import Embeddings
from edge_retrieval.register.columns import sheet_mark
from edge_retrieval.register.database import Database
from edge_retrieval.register.files import append, append_vectors, cut_tail, width_of
from edge_retrieval.register.reading import design_digest, read_ends, read_label_tree
from edge_retrieval.register.state import digest_of
from edge_retrieval.register.tabling import seal_of
from edge_retrieval.sources.design import Box, Design, Problem

FACTS = (
    "where",
    "title",
    "locarno",
    "locarno_edition",
    "uspc",
    "filed",
    "published",
    "applicants",
    "descriptions",
    "stated_figures",
)
"""What is kept of a design as JSON, beside its number, its classes and its source."""


class NewFigure(NamedTuple):
    """A figure on its way into the register.

    Attributes:
        design: Id of its design, from `put_design`.
        sheet: Id of its sheet, from `put_sheet`.
        figure: Its place among the figures of its design, from 1.
        box: Where it is on the sheet, in pixels.
        turned: Degrees counter-clockwise by which it was turned upright.
        caption: What the source says of it; may be "".
        png: Its small picture.
    """

    design: int
    sheet: int
    figure: int
    box: Box
    turned: int
    caption: str
    png: bytes


@dataclass
class Store:
    """The two files of an epoch, open to the one writer.

    Attributes:
        vectors: The file of vectors.
        pictures: The file of pictures.
        dim: Numbers in a vector.
        rows: Rows of vectors so far, those of the open transaction included.
        bytes: Bytes of pictures so far.
    """

    vectors: Path
    pictures: Path
    dim: int
    rows: int = 0
    bytes: int = 0

    def begin(self, database: Database) -> None:
        """Go to where the last commit ended: cut off what came after."""
        self.rows, self.bytes = read_ends(database)
        cut_tail(self.vectors, self.rows * width_of(self.dim))
        cut_tail(self.pictures, self.bytes)


def put_design(
    database: Database, design: Design, *, source: str = "", old: int | None = None
) -> int:
    """Add a design, or write it anew over `old`; return its id."""
    facts = json.dumps({name: getattr(design, name) for name in FACTS}, ensure_ascii=False)
    seal = design_digest(design.number, design.labels, source, 0, facts)
    values = (_node_of(database, design.labels), source, facts, seal)
    database.note("design", design.number, seal)
    if old is None:
        sql = "INSERT INTO designs (number, node, source, dead, facts, digest)"
        return database.insert(f"{sql} VALUES (?, ?, ?, 0, ?, ?)", design.number, *values)
    sql = "UPDATE designs SET node = ?, source = ?, facts = ?, digest = ? WHERE id = ?"
    database.all(sql, *values, old)
    database.touched.add(old)
    return old


def put_sheet(database: Database, design: int, name: str, sha256: str) -> int:
    """Add a sheet; return its id."""
    sql = "INSERT INTO sheets (design, name, sha256, digest) VALUES (?, ?, ?, ?)"
    seal = digest_of(design, name, sha256)
    database.note("sheet", seal)
    return database.insert(sql, design, name, sha256, seal)


def put_figures(
    database: Database, store: Store, figures: Sequence[NewFigure], vectors: Embeddings
) -> None:
    """Write pictures and vectors to the disk, then name them in the open transaction: a batch.

    Args:
        database: In a transaction.
        store: Where it goes.
        figures: N figures.
        vectors: ``(N, D)``, rows of length 1.
    """
    rows = np.ascontiguousarray(vectors, "<f4")
    append(store.pictures, store.bytes, b"".join(figure.png for figure in figures))
    sha256, crc = append_vectors(store.vectors, store.rows, rows)
    crcs = [zlib.crc32(row.tobytes()) for row in rows]
    first = store.rows
    sql = f"INSERT INTO figures VALUES ({', '.join('?' * 15)})"
    for figure, mark in zip(figures, crcs, strict=True):
        place = (*(int(side) for side in figure.box), int(figure.turned))
        record = (
            *(store.rows, figure.design, figure.sheet, figure.figure, *place, figure.caption),
            *(mark, store.bytes, len(figure.png), zlib.crc32(figure.png)),
        )
        database.insert(sql, *record, digest_of(*record))
        store.rows += 1
        store.bytes += len(figure.png)
    sheets = {
        sheet: database.value("SELECT sha256 FROM sheets WHERE id = ?", sheet)
        for sheet in {figure.sheet for figure in figures}
    }
    seal = seal_of(
        np.array([figure.design - 1 for figure in figures], np.int32),
        np.array([sheet_mark(sheets[figure.sheet]) for figure in figures], np.uint64),
        np.array(crcs, np.uint32),
    )
    batch = (first, len(rows), sha256, crc, seal, store.bytes)
    database.insert("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?)", *batch)
    database.note("batch", *batch)


def put_problem(database: Database, problem: Problem) -> None:
    """Remember a problem, once."""
    sql = "INSERT OR IGNORE INTO problems VALUES (?, ?)"
    database.insert(sql, problem.where, problem.reason)


def drop_problems(database: Database, where: str) -> None:
    """Forget the problems of a place that has been read since."""
    database.all("DELETE FROM problems WHERE place = ?", where)


def bury_designs(database: Database, numbers: Sequence[str]) -> tuple[int, list[str]]:
    """Mark living designs as removed; return how many, and the numbers that name none."""
    paths = read_label_tree(database)
    gone, missing = 0, []
    sql = "SELECT id, node, source, facts FROM designs WHERE number = ? AND dead = 0"
    for number in dict.fromkeys(numbers):
        found = database.one(sql, number)
        if found is None:
            missing.append(number)
            continue
        design, node, source, facts = found
        seal = design_digest(number, paths.get(node, ()), source, 1, facts)
        database.all("UPDATE designs SET dead = 1, digest = ? WHERE id = ?", seal, design)
        database.note("removed", number, seal)
        database.touched.add(design)
        gone += 1
    return gone, missing


def _node_of(database: Database, labels: tuple[str, ...]) -> int:
    node = 0
    for name in labels:
        sql = "SELECT id FROM nodes WHERE parent = ? AND name = ?"
        child = database.value(sql, node, name)
        if child is None:
            child = database.insert("INSERT INTO nodes (parent, name) VALUES (?, ?)", node, name)
        node = child
    return node
