"""A name for what a register holds, whatever the order of its rows and however often it changed.

The snapshot names a history; a compaction, which changes no answer, gives another one. The contents
are the same before and after it: a SHA-256 over all living designs in the order of their numbers,
with their class, dates, source and applicants, and over the sheets and vectors of each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.register.columns import Columns


def contents_of(columns: Columns, fingerprint: str) -> str:
    """Return the hex SHA-256 of what can be found.

    Args:
        columns: Of the register.
        fingerprint: Of the bundle that made its vectors.
    """
    order = columns.by_number[columns.alive[columns.by_number]]  # (d,) places of living designs
    place = np.full(len(columns.alive), -1, np.int64)
    place[order] = np.arange(len(order))
    paths = ["\0".join(path) for path in columns.paths]
    digest = hashlib.sha256(fingerprint.encode())
    for part in (
        "\n".join(columns.number(int(design)) for design in order).encode(),
        _named(paths, columns.node[order]),
        columns.published[order].astype("<i4").tobytes(),
        columns.filed[order].astype("<i4").tobytes(),
        _named(columns.sources, columns.source[order]),
        _applicants(columns, place),
        _figures(columns, place),
    ):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _named(names: Sequence[str], used: NDArray[np.integer]) -> bytes:
    """Return names by their numbers, whatever order the names are kept in."""
    wanted, which = np.unique(used, return_inverse=True)
    own = [names[int(number)] for number in wanted]
    rank = np.argsort(np.argsort(np.array(own, object), kind="stable"), kind="stable")
    text = "\n".join(sorted(own)).encode(errors="surrogatepass")
    places: bytes = rank[which.reshape(-1)].astype("<i4").tobytes()
    return text + b"\n" + places


def _applicants(columns: Columns, place: NDArray[np.int64]) -> bytes:
    owner = np.repeat(place, np.diff(columns.applicant_starts))
    mine = owner >= 0
    owner, names = owner[mine], columns.applicant_of[mine]
    by_name = np.argsort(np.argsort(np.array(columns.applicants, object)))[names]
    order = np.lexsort((by_name, owner))
    return owner[order].astype("<i8").tobytes() + _named(columns.applicants, names[order])


def _figures(columns: Columns, place: NDArray[np.int64]) -> bytes:
    """Return the sheets and vectors of each design."""
    owner = place[columns.design_of]
    rows = np.flatnonzero(owner >= 0)
    order = rows[np.lexsort((columns.crc_of[rows], columns.sheet_of[rows], owner[rows]))]
    return b"".join(
        (
            owner[order].astype("<i8").tobytes(),
            columns.sheet_of[order].astype("<u8").tobytes(),
            columns.crc_of[order].astype("<u4").tobytes(),
        )
    )
