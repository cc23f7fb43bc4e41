"""What a collection holds of each figure, and the key that names all of it.

    key         int64, primary: a hash of everything below; another fact, another key
    vector      (D,) float32, as the register has it
    design      the design's number
    class       its coarsest label ("06"), by which the store parts its rows; "" unknown
    path        all its labels, from the coarsest
    published, filed    yyyymmdd; 0 unknown
    date        the day that filters go by: published, else filed; 0 unknown
    applicants  their names
    source      what it was indexed from
    sheet       the first 16 letters of the SHA-256 of the sheet that the figure stands on

A push so needs to compare keys alone: one that is missing is added, one too many is removed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.register import Register
from edge_retrieval.register.columns import Columns
from edge_retrieval.taxonomy import LabelPath

SCHEMA = 1
DESIGN, CLASS, PATH, APPLICANT, SOURCE, SHEET = 256, 128, 512, 256, 512, 16
"""The most bytes of each text."""

APPLICANTS, MORE = 64, "*"
"""So many applicants of a design are kept; if it has more, `MORE` stands for the rest."""


def fitted(text: str, most: int) -> str:
    """Return a text as the store keeps it: a long one by its beginning and a hash."""
    data = text.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
    mark = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=12).hexdigest()
    return data[: most - len(mark) - 3].decode(errors="ignore") + "..." + mark


def path_text(path: LabelPath) -> str:
    """Return a label path as the store keeps it."""
    return fitted(" > ".join(path), PATH)


def class_text(path: LabelPath) -> str:
    """Return the class by which the store parts its rows."""
    return fitted(path[0], CLASS) if path else ""


def dates_of(columns: Columns) -> NDArray[np.int32]:
    """Return ``(D,)`` the day of each design that filters go by; 0 unknown."""
    return np.where(columns.published > 0, columns.published, columns.filed)


def keys_of(columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``(n,)`` keys of all living figures, ascending, and ``(n,)`` their rows."""
    rows = np.flatnonzero(columns.alive[columns.design_of])
    marks = np.zeros(len(columns.alive), np.uint64)
    for design in np.unique(columns.design_of[rows]).tolist():
        told = json.dumps([SCHEMA, facts_of(columns, design)]).encode()
        digest = hashlib.blake2b(told, digest_size=8).digest()
        marks[design] = int.from_bytes(digest, "little")
    keys = _mixed(marks[columns.design_of[rows]]) ^ columns.sheet_of[rows]
    keys = _mixed(keys) ^ columns.crc_of[rows]
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    nth = np.arange(len(keys)) - np.repeat(first, np.diff([*first, len(keys)]))
    mixed = _mixed(keys + nth.astype(np.uint64))  # the same figure twice on a sheet
    signed = (mixed >> np.uint64(1)).astype(np.int64)
    order = np.argsort(signed, kind="stable")
    return signed[order], rows[order]


def _mixed(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread 64-bit numbers evenly, one to one (Steele et al., SplitMix, OOPSLA 2014)."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def facts_of(columns: Columns, design: int) -> dict[str, Any]:
    """Return what the store holds of every figure of a design."""
    path = columns.paths[columns.node[design]]
    start, end = columns.applicant_starts[design : design + 2]
    names = [columns.applicants[place] for place in columns.applicant_of[start:end].tolist()]
    names = [fitted(name, APPLICANT) for name in names]
    if len(names) > APPLICANTS:
        names = [*names[: APPLICANTS - 1], MORE]
    published, filed = int(columns.published[design]), int(columns.filed[design])
    return {
        "design": fitted(columns.number(design), DESIGN),
        "class": class_text(path),
        "path": path_text(path),
        "published": published,
        "filed": filed,
        "date": published if published > 0 else filed,
        "applicants": names,
        "source": fitted(columns.sources[columns.source[design]], SOURCE),
    }


def entities(
    register: Register, keys: Sequence[int], rows: NDArray[np.int64]
) -> Iterable[dict[str, Any]]:
    """Yield some figures as the store takes them.

    Raises:
        RegisterError: A vector has changed since it was written.
    """
    columns = register.columns
    known: dict[int, dict[str, Any]] = {}
    vectors = register.read_rows(rows)
    for key, row, vector in zip(keys, rows.tolist(), vectors, strict=True):
        design = int(columns.design_of[row])
        if design not in known:
            known[design] = facts_of(columns, design)
        sheet = int(columns.sheet_of[row]).to_bytes(8, "little").hex()
        yield {"key": key, "vector": vector, **known[design], "sheet": sheet}
