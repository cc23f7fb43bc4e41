"""What the one writer puts into the database, between `begin` and `commit`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from edge_retrieval.register.database import Database, digest_of
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
"""What is kept of a design as JSON, beside its number and its classes."""


class NewFigure(NamedTuple):
    """A figure on its way into the register."""

    box: Box
    turned: int
    caption: str
    png: bytes


def put_design(database: Database, design: Design, *, old: int | None = None) -> int:
    """Add a design, or write it anew over `old`; return its id."""
    facts = json.dumps({name: getattr(design, name) for name in FACTS}, ensure_ascii=False)
    seal = digest_of(design.number, design.labels, facts)
    values = (_node_of(database, design.labels), facts, seal)
    if old is None:
        sql = "INSERT INTO designs (number, node, facts, digest) VALUES (?, ?, ?, ?)"
        return database.insert(sql, design.number, *values)
    database.all("UPDATE designs SET node = ?, facts = ?, digest = ? WHERE id = ?", *values, old)
    return old


def put_sheet(
    database: Database,
    design: int,
    name: str,
    sha256: str,
    figures: Sequence[NewFigure],
    first_row: int,
) -> None:
    """Add a sheet with its figures, which are to have the rows from `first_row` on."""
    sql = "INSERT INTO sheets (design, name, sha256, digest) VALUES (?, ?, ?, ?)"
    sheet = database.insert(sql, design, name, sha256, digest_of(design, name, sha256))
    sql = "SELECT coalesce(max(figure), 0) + 1 FROM figures WHERE design = ?"
    number = database.count(sql, design)
    for i, figure in enumerate(figures):
        row = first_row + i
        place = (*(int(side) for side in figure.box), int(figure.turned))
        record = (row, design, sheet, number + i, *place, figure.caption)
        marks = ", ".join("?" * (len(record) + 1))
        database.insert(f"INSERT INTO figures VALUES ({marks})", *record, digest_of(*record))
        picture = (row, figure.png, digest_of(figure.png))
        database.insert("INSERT INTO pictures VALUES (?, ?, ?)", *picture)


def put_batch(database: Database, first: int, rows: int, sha256: str) -> None:
    """Name the rows of vectors that the transaction commits."""
    database.insert("INSERT INTO batches VALUES (?, ?, ?)", first, rows, sha256)


def put_problem(database: Database, problem: Problem) -> None:
    """Remember a problem, once."""
    sql = "INSERT OR IGNORE INTO problems VALUES (?, ?)"
    database.insert(sql, problem.where, problem.reason)


def drop_problems(database: Database, where: str) -> None:
    """Forget the problems of a place that has been read since."""
    database.all("DELETE FROM problems WHERE place = ?", where)


def _node_of(database: Database, labels: tuple[str, ...]) -> int:
    node = 0
    for name in labels:
        sql = "SELECT id FROM nodes WHERE parent = ? AND name = ?"
        child = database.value(sql, node, name)
        if child is None:
            child = database.insert("INSERT INTO nodes (parent, name) VALUES (?, ?)", node, name)
        node = child
    return node
