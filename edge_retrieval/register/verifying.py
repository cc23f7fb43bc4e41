"""Holding the vectors against the checksums that were committed with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import RegisterError
from edge_retrieval.register.database import DAMAGED, Database
from edge_retrieval.register.vectors import sha256_of_rows


def check_batches(
    database: Database,
    path: Path,
    vectors: Embeddings,
    rows: Iterable[int],
    trusted: set[int],
) -> set[int]:
    """Check the batches that `rows` belong to, but for those that are `trusted`.

    Args:
        database: Knows the batches.
        path: The file of vectors, for messages.
        vectors: ``(N, D)``, what is in it.
        rows: Numbers of rows.
        trusted: First rows of the batches that were checked before.

    Returns:
        The first rows of the batches checked.

    Raises:
        RegisterError: A byte of one has changed since it was written.
    """
    checked: set[int] = set()
    sql = "SELECT first, rows, sha256 FROM batches WHERE first <= ? ORDER BY first DESC LIMIT 1"
    for row in rows:
        first, count, sha256 = database.one(sql, int(row)) or (0, 0, "")
        if first in trusted or first in checked:
            continue
        if sha256_of_rows(vectors[first : first + count]) != sha256:
            where = f"rows {first} to {first + count - 1}"
            raise RegisterError(f"{path}: damaged: {where}", hint=DAMAGED)
        checked.add(first)
    return checked


def damaged_batches(database: Database, path: Path, vectors: Embeddings) -> list[str]:
    """Check every committed batch; return a line for each that is damaged."""
    found = []
    sql = "SELECT first FROM batches WHERE first < ? ORDER BY first"
    for (first,) in database.all(sql, len(vectors)):
        try:
            check_batches(database, path, vectors, [first], set())
        except RegisterError as error:
            found.append(str(error))
    return found
