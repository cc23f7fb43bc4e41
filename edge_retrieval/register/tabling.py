"""Making the columns of a register from its database."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.errors import RegisterError
from edge_retrieval.register.columns import ARRAYS, Columns, sheet_mark
from edge_retrieval.register.database import Database, doubted
from edge_retrieval.register.reading import design_digest, read_label_tree
from edge_retrieval.register.state import mend_hint
from edge_retrieval.taxonomy import LabelPath

EMPTY = Columns(
    **{name: np.zeros(int(name.endswith("_starts")), kind) for name, kind in ARRAYS.items()},
    sources=(),
    applicants=(),
    paths=((),),
)
"""The columns of a register of nothing."""


class _Designs(NamedTuple):
    """Designs on their way into columns: a value or a list for each."""

    node: list[int]
    alive: list[bool]
    published: list[int]
    filed: list[int]
    source: list[int]
    applicants: list[list[int]]
    numbers: list[bytes]


@doubted
def make_columns(
    database: Database, base: Columns | None = None, touched: Iterable[int] = ()
) -> Columns:
    """Return the columns of what the database holds now.

    Args:
        database: Of the register.
        base: Columns of an earlier state of the same epoch: what they tell is not read again.
        touched: Ids of the designs that may have changed since.

    Raises:
        RegisterError: A record that they rest on is damaged.
    """
    paths = read_label_tree(database)
    if sorted(paths) != list(range(len(paths))):
        raise _damaged(database, "the classes")
    base = EMPTY if base is None else base
    places = {
        "sources": {name: place for place, name in enumerate(base.sources)},
        "applicants": {name: place for place, name in enumerate(base.applicants)},
    }
    known = len(base.alive)
    new = _designs(database, paths, places, f"id > {known}", first=known + 1)
    old = sorted(key for key in touched if key <= known)
    changed = [_designs(database, paths, places, f"id = {key}", first=key) for key in old]
    columns: dict[str, NDArray[Any]] = {}
    for name in ("node", "alive", "published", "filed", "source"):
        before = getattr(base, name)
        after = np.concatenate([before, np.array(getattr(new, name), before.dtype)])
        for key, one in zip(old, changed, strict=True):
            after[key - 1] = getattr(one, name)[0]
        columns[name] = after
    owned, counts = [base.applicant_of], np.diff(base.applicant_starts)
    if old:
        owned = np.split(base.applicant_of, base.applicant_starts[1:-1])
    for key, one in zip(old, changed, strict=True):
        owned[key - 1] = np.array(one.applicants[0], np.int32)
        counts[key - 1] = len(one.applicants[0])
    owned += [np.array(places, np.int32) for places in new.applicants]
    counts = np.concatenate([[0], counts, [len(places) for places in new.applicants]])
    rows = _rows(database, len(base.design_of))
    design_of = np.concatenate([base.design_of, rows[0]])
    if len(rows[0]) and not 0 <= rows[0].min() <= rows[0].max() < known + len(new.node):
        raise _damaged(database, "a figure's design")
    batches = _batches(database, len(base.design_of), *rows)
    starts = base.number_starts[-1] + np.cumsum([0, *map(len, new.numbers)], dtype=np.int64)
    return Columns(
        design_of=design_of,
        sheet_of=np.concatenate([base.sheet_of, rows[1]]),
        crc_of=np.concatenate([base.crc_of, rows[2]]),
        batch_first=np.concatenate([base.batch_first, batches[:, 0]]),
        batch_crc=np.concatenate([base.batch_crc, batches[:, 1].astype(np.uint32)]),
        **columns,
        sources=tuple(places["sources"]),
        applicants=tuple(places["applicants"]),
        applicant_of=np.concatenate([np.empty(0, np.int32), *owned]),
        applicant_starts=np.cumsum(counts, dtype=np.int64),
        paths=tuple(paths[i] for i in range(len(paths))),
        number_text=np.concatenate(
            [base.number_text, np.frombuffer(b"".join(new.numbers), np.uint8)]
        ),
        number_starts=np.concatenate([base.number_starts[:-1], starts]),
        by_number=_by_number(base, new.numbers),
    )


def _by_number(base: Columns, new: list[bytes]) -> NDArray[np.int32]:
    """Return the places of all designs by their numbers: the new ones put among the old."""
    known = len(base.by_number)
    order = sorted(range(len(new)), key=new.__getitem__)
    at = [base.after(new[place]) for place in order] if known else [0] * len(new)
    return np.insert(base.by_number, at, np.array(order, np.int32) + known)


def _designs(
    database: Database,
    paths: Mapping[int, LabelPath],
    places: Mapping[str, dict[str, int]],
    which: str,
    *,
    first: int,
) -> _Designs:
    """Read designs, each held against its checksum; they must have ids from `first` on."""
    found = _Designs([], [], [], [], [], [], [])
    sql = f"SELECT id, number, node, source, dead, facts, digest FROM designs WHERE {which}"
    for key, number, node, name, dead, text, digest in database.each(f"{sql} ORDER BY id"):
        labels = paths.get(node)
        sealed = labels is not None and digest == design_digest(number, labels, name, dead, text)
        if key != first + len(found.node) or not sealed:
            raise _damaged(database, f"design {number}")
        facts = json.loads(text)
        found.node.append(node)
        found.alive.append(not dead)
        found.published.append(_date(facts["published"]))
        found.filed.append(_date(facts["filed"]))
        found.source.append(_place(places["sources"], name))
        who = [_place(places["applicants"], one) for one in facts["applicants"]]
        found.applicants.append(who)
        found.numbers.append(number.encode())
    return found


def seal_of(
    design_of: NDArray[np.int32], sheet_of: NDArray[np.uint64], crc_of: NDArray[np.uint32]
) -> int:
    """Return the checksum of what the columns say of a batch's rows."""
    crc = zlib.crc32(np.asarray(design_of, "<i4").tobytes())
    crc = zlib.crc32(np.asarray(sheet_of, "<u8").tobytes(), crc)
    return zlib.crc32(np.asarray(crc_of, "<u4").tobytes(), crc)


def _rows(
    database: Database, first: int
) -> tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.uint32]]:
    """Return design, sheet and CRC-32 of every row from `first` on."""
    marks: dict[int, int] = {}
    try:
        sql = "SELECT id, sha256 FROM sheets WHERE id >= (SELECT min(sheet) FROM figures WHERE row"
        for sheet, sha256 in database.each(f"{sql} >= {first})"):
            marks[sheet] = sheet_mark(sha256)
        sql = f"SELECT row, design, sheet, crc FROM figures WHERE row >= {first} ORDER BY row"
        found = [
            (row, design - 1, marks[sheet], crc) for row, design, sheet, crc in database.each(sql)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(database, "sheets and figures") from error
    if any(at != record[0] for at, record in enumerate(found, first)):
        raise _damaged(database, "figures are missing")
    _, designs, sheets, crcs = zip(*found, strict=True) if found else ((), (), (), ())
    return np.array(designs, np.int32), np.array(sheets, np.uint64), np.array(crcs, np.uint32)


def _batches(
    database: Database,
    start: int,
    design_of: NDArray[np.int32],
    sheet_of: NDArray[np.uint64],
    crc_of: NDArray[np.uint32],
) -> NDArray[np.int64]:
    """Return (B, 2), first row and CRC-32 of each batch from row `start` on, its rows checked."""
    found, end = [], start
    sql = f"SELECT first, rows, crc, seal FROM batches WHERE first >= {start} ORDER BY first"
    for first, rows, crc, seal in database.each(sql):
        part = slice(first - start, first + rows - start)
        if first != end or seal != seal_of(design_of[part], sheet_of[part], crc_of[part]):
            raise _damaged(database, f"the batch of row {first}")
        found.append((first, crc))
        end += rows
    if end != start + len(design_of):
        raise _damaged(database, f"{start + len(design_of)} figures, but {end} in batches")
    return np.array(found, np.int64).reshape(-1, 2)


def _date(text: str | None) -> int:
    """Return an ISO date as yyyymmdd; 0 if it is none."""
    digits = (text or "").replace("-", "")[:8]
    return int(digits) if len(digits) == 8 and digits.isdecimal() else 0


def _place(places: dict[str, int], name: str) -> int:
    """Return the place of a name, a new one if it is new. A name holds no NUL."""
    return places.setdefault(name.replace("\0", " "), len(places))


def _damaged(database: Database, what: str) -> RegisterError:
    return RegisterError(f"{database.path}: damaged: {what}", hint=mend_hint(database.path.parent))
