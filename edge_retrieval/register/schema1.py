"""Registers of schema 1: read into a database in memory, which is of today's schema."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import numpy as np

from edge_retrieval.errors import RegisterError
from edge_retrieval.register.columns import sheet_mark
from edge_retrieval.register.database import Database
from edge_retrieval.register.files import OLD_VECTORS, map_vectors
from edge_retrieval.register.reading import design_digest, read_label_tree
from edge_retrieval.register.state import AGAIN, digest_of
from edge_retrieval.register.tabling import seal_of


def convert(old: Database, folder: Path, dim: int, fingerprint: str) -> Database:
    """Return what a register of schema 1 holds; pictures stay where they are.

    Args:
        old: Its database, opened.
        folder: The register.
        dim: Numbers in a vector.
        fingerprint: Of its bundle.

    Raises:
        RegisterError: A record or a vector of it is damaged.
    """
    new = Database.in_memory(old.path, fingerprint)
    old.all("BEGIN")
    new.begin()
    for record in old.each("SELECT id, parent, name FROM nodes ORDER BY id"):
        new.insert("INSERT INTO nodes VALUES (?, ?, ?)", *record)
    paths = read_label_tree(new)
    sql = "SELECT id, number, node, facts, digest FROM designs ORDER BY id"
    for key, number, node, facts, digest in old.each(sql):
        if node not in paths or digest != digest_of(number, paths[node], facts):
            raise _damaged(old, f"design {number}")
        seal = design_digest(number, paths[node], "", 0, facts)
        values = (key, number, node, "", 0, facts, seal)
        new.insert("INSERT INTO designs VALUES (?, ?, ?, ?, ?, ?, ?)", *values)
    for sheet in old.each("SELECT id, design, name, sha256, digest FROM sheets"):
        if sheet[4] != digest_of(*sheet[1:4]):
            raise _damaged(old, f"sheet {sheet[2]}")
        new.insert("INSERT INTO sheets VALUES (?, ?, ?, ?, ?)", *sheet)
    for record in old.each("SELECT place, reason FROM problems"):
        new.insert("INSERT INTO problems VALUES (?, ?)", *record)
    _convert_figures(old, new, folder, dim)
    new.note("from schema 1")
    new.commit()
    old.rollback()
    return new


def _convert_figures(old: Database, new: Database, folder: Path, dim: int) -> None:
    """Take over the figures, batch by batch, each held against its vectors."""
    batches = old.all("SELECT first, rows, sha256 FROM batches ORDER BY first")
    total = sum(rows for _, rows, _ in batches)
    vectors = map_vectors(folder / OLD_VECTORS, total, dim)
    sql = "SELECT row, design, sheet, figure, x0, y0, x1, y1, turned, caption, digest FROM figures"
    sql += " WHERE row BETWEEN ? AND ? ORDER BY row"
    put = f"INSERT INTO figures VALUES ({', '.join('?' * 15)})"
    for first, rows, sha256 in batches:
        part = np.ascontiguousarray(vectors[first : first + rows])
        if hashlib.sha256(part.data).hexdigest() != sha256:
            raise RegisterError(
                f"{folder / OLD_VECTORS}: damaged: rows {first} to {first + rows - 1}", hint=AGAIN
            )
        crcs = [zlib.crc32(row.tobytes()) for row in part]
        found = old.all(sql, first, first + rows - 1)
        if [record[0] for record in found] != list(range(first, first + rows)):
            raise _damaged(old, "figures are missing")
        for figure, crc in zip(found, crcs, strict=True):
            if figure[10] != digest_of(*figure[:10]):
                raise _damaged(old, f"figure {figure[0]}")
            record = (*figure[:10], crc, 0, 0, 0)
            new.insert(put, *record, digest_of(*record))
        marks = [
            sheet_mark(new.value("SELECT sha256 FROM sheets WHERE id = ?", figure[2]))
            for figure in found
        ]
        seal = seal_of(
            np.array([figure[1] - 1 for figure in found], np.int32),
            np.array(marks, np.uint64),
            np.array(crcs, np.uint32),
        )
        batch = (first, rows, sha256, zlib.crc32(part.data), seal, 0)
        new.insert("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?)", *batch)
        new.note("batch", *batch)


def _damaged(database: Database, what: str) -> RegisterError:
    return RegisterError(f"{database.path}: damaged: {what}", hint=AGAIN)
