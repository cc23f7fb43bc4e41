"""From a register to a collection: what is missing is added, what is too much is removed.

The collection's stamp tells what it was filled from. While a push is at work it names no contents,
so nobody searches in a half of it; another push goes on where one was stopped, for it compares what
is there with what ought to be.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.errors import ConfigError, StoreError
from edge_retrieval.progress import Track, silent
from edge_retrieval.register import Register
from edge_retrieval.store.address import Address
from edge_retrieval.store.collection import INDEXES, Collection
from edge_retrieval.store.expressions import in_class
from edge_retrieval.store.holding import require_encoder, require_stamp
from edge_retrieval.store.rows import SCHEMA, class_text, entities, keys_of

AT_ONCE = 1_000
"""Figures added in one call: a message of a megabyte."""

KEPT_SHARE = 0.5
"""If less of a collection would stay, it is taken for another register's."""

CLASSES = 64
"""So many of the largest classes are counted after a push."""

UNFINISHED: dict[str, Any] = {"contents": "", "snapshot": "", "designs": 0, "figures": 0}
"""What a stamp says while a push is at work."""


class Pushed(NamedTuple):
    """What a push did.

    Attributes:
        added: Figures that were added.
        removed: Figures that the register no longer has, or has with other facts.
        designs: Designs in the collection now.
        figures: Figures in it now.
    """

    added: int
    removed: int
    designs: int
    figures: int


def push(
    register: Register,
    address: Address,
    *,
    index: str | None = None,
    replace: bool = False,
    track: Track = silent,
) -> Pushed:
    """Fill a collection from a register, or bring it up to date.

    Args:
        register: The source.
        address: The collection; made if it is not there.
        index: "hnsw", nearly exact, or "flat", which compares everything and is exact; None: what
            the collection has, or "hnsw".
        replace: Even if most of what the collection holds would go.
        track: Shows progress.

    Raises:
        MissingExtraError: pymilvus or milvus-lite is not installed.
        StoreError: It cannot be reached, or holds something else.
        BundleMismatchError: It holds the vectors of another encoder.
        ConfigError: No such index, or another one than the collection has.
        RegisterError: The register is damaged.
    """
    if index is not None and index not in INDEXES:
        raise ConfigError(f"no index {index!r}", hint=f"choose from {', '.join(INDEXES)}")
    with Collection(address, making=True) as collection:
        stamp = _stamp_for(register, collection, index)
        wanted, rows = keys_of(register.columns)
        collection.load()
        there = collection.keys()
        missing = ~np.isin(wanted, there, assume_unique=True)
        gone = np.setdiff1d(there, wanted, assume_unique=True)
        if len(there) - len(gone) < KEPT_SHARE * len(there) and not replace:
            raise StoreError(
                f"{address}: {len(gone):,} of its {len(there):,} figures would go: it seems to be"
                " another register's",
                hint="choose another --name, or --replace them",
            )
        added = int(np.count_nonzero(missing))
        done: dict[str, Any] = {
            "contents": register.contents,
            "snapshot": register.snapshot,
            "designs": len(np.unique(register.columns.design_of[rows])),
            "figures": len(wanted),
        }
        if added or len(gone) or stamp.get("contents") != done["contents"]:
            stamp = {name: value for name, value in stamp.items() if name != "overlap"}
            collection.put_stamp(stamp | UNFINISHED)
            _remove(collection, gone, track)
            _add(register, collection, wanted[missing], rows[missing], track)
            collection.settle()
            _check(collection, register, rows)
        collection.put_stamp(stamp | done)
        return Pushed(added, len(gone), done["designs"], len(wanted))


def _stamp_for(register: Register, collection: Collection, index: str | None) -> dict[str, Any]:
    """Return the stamp of a collection that this register may fill; make it if there is none."""
    bundle = register.bundle
    if not collection.exists():
        stamp = {
            "schema": SCHEMA,
            "encoder": bundle.name,
            "fingerprint": bundle.fingerprint,
            "dim": bundle.dim,
            "index": index or "hnsw",
            **UNFINISHED,
        }
        collection.create(bundle.dim, index or "hnsw", stamp)
        return stamp
    stamp = require_stamp(collection)
    require_encoder(register, collection.address, stamp)
    if index is not None and index != stamp["index"]:
        raise ConfigError(
            f"{collection.address}: its index is {stamp['index']}, not {index}",
            hint="leave out --index, or choose another --name",
        )
    return stamp


def _remove(collection: Collection, gone: NDArray[np.int64], track: Track) -> None:
    pieces = [gone[start : start + AT_ONCE] for start in range(0, len(gone), AT_ONCE)]
    for piece in track(pieces, "Removing", len(pieces)) if pieces else ():
        collection.remove(piece)


def _add(
    register: Register,
    collection: Collection,
    keys: NDArray[np.int64],
    rows: NDArray[np.int64],
    track: Track,
) -> None:
    order = np.argsort(rows)  # as they lie on disk
    keys, rows = keys[order], rows[order]
    starts = range(0, len(keys), AT_ONCE)
    for start in track(starts, "Adding thousands", len(starts)) if len(starts) else ():
        piece = slice(start, start + AT_ONCE)
        collection.add(list(entities(register, keys[piece].tolist(), rows[piece])))


def _check(collection: Collection, register: Register, rows: NDArray[np.int64]) -> None:
    """Hold what the store counts, in all and in each class, against what it ought to hold.

    Args:
        collection: What was filled.
        register: From what.
        rows: Of all its living figures.
    """
    columns = register.columns
    nodes = np.bincount(columns.node[columns.design_of[rows]], minlength=len(columns.paths))
    wanted: Counter[str] = Counter()
    for path, figures in zip(columns.paths, nodes.tolist(), strict=True):
        wanted[class_text(path)] += figures
    said = {"": len(rows)}
    for name, figures in wanted.most_common(CLASSES):
        said[in_class(name)] = figures
    for expression, figures in said.items():
        counted = collection.count(expression)
        if counted != figures:
            raise StoreError(
                f"{collection.address}: it holds {counted:,} figures, not {figures:,}"
                f" {expression}".rstrip(),
                hint="see that nothing else writes to it, and push again",
            )
