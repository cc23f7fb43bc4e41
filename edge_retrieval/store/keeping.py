"""What a store holds of ours: listed, and removed by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from edge_retrieval.errors import StoreMismatchError
from edge_retrieval.store.address import COLLECTION, Address
from edge_retrieval.store.collection import Collection


class Kept(NamedTuple):
    """Collections of a store.

    Attributes:
        server: "Milvus 2.5.3".
        stamps: By the name of each that a push made, what it was filled from.
        others: How many there are besides.
    """

    server: str
    stamps: Mapping[str, dict[str, Any]]
    others: int


def kept_in(address: Address) -> Kept:
    """Return the collections of a store that a push made.

    Args:
        address: Of the store; the collection that it names does not count.

    Raises:
        MissingExtraError: pymilvus or milvus-lite is not installed.
        StoreError: It cannot be reached.
    """
    with Collection(address) as collection:
        names = collection.names()
        found = {name: collection.stamp(name) for name in sorted(names)}
        ours = {name: stamp for name, stamp in found.items() if stamp is not None}
        return Kept(collection.server, ours, len(found) - len(ours))


def stamp_to_drop(address: Address) -> dict[str, Any]:
    """Return what a collection was filled from, whatever version filled it.

    Raises:
        As `drop`.
    """
    with Collection(address) as collection:
        return _ours(collection)


def drop(address: Address) -> dict[str, Any]:
    """Remove a collection with all its figures; return what it was filled from.

    Raises:
        MissingExtraError: pymilvus or milvus-lite is not installed.
        StoreError: It cannot be reached.
        StoreMismatchError: There is no such collection, or another program made it.
    """
    with Collection(address) as collection:
        stamp = _ours(collection)
        collection.drop()
        return stamp


def _ours(collection: Collection) -> dict[str, Any]:
    address = collection.address
    names = f"see what there is: edge-ret store list --to {address._replace(collection=COLLECTION)}"
    if not collection.exists():
        raise StoreMismatchError(
            f"{address}: the store has no collection {address.collection!r}", hint=names
        )
    stamp = collection.stamp()
    if stamp is None:
        raise StoreMismatchError(
            f"{address}: was not made by edge-ret store push: it is not removed", hint=names
        )
    return stamp
