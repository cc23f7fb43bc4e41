"""Whether a collection holds what a register does: told by its stamp."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge_retrieval.errors import BundleMismatchError, StoreMismatchError
from edge_retrieval.register import Register
from edge_retrieval.store.address import Address
from edge_retrieval.store.collection import Collection
from edge_retrieval.store.rows import SCHEMA


def require_stamp(collection: Collection) -> dict[str, Any]:
    """Return the stamp of a collection that is ours."""
    stamp = collection.stamp()
    if stamp is None:
        raise StoreMismatchError(
            f"{collection.address}: was not made by edge-ret store push",
            hint="choose another --name",
        )
    if stamp["schema"] != SCHEMA:
        raise StoreMismatchError(
            f"{collection.address}: its schema is {stamp['schema']!r}, this version's is {SCHEMA}",
            hint="push the register into another collection: edge-ret store push --name NAME",
        )
    return stamp


def require_encoder(register: Register, address: Address, stamp: Mapping[str, Any]) -> None:
    """Refuse a collection with vectors of another encoder."""
    if stamp.get("fingerprint") != register.bundle.fingerprint:
        raise BundleMismatchError(
            f"{address}: its vectors are of the encoder {stamp.get('encoder')}"
            f" ({str(stamp.get('fingerprint'))[:12]}), those of {register.folder} of"
            f" {register.bundle.name} ({register.bundle.fingerprint[:12]})",
            hint="push this register into another collection: edge-ret store push --name NAME",
        )


def holds(register: Register, stamp: Mapping[str, Any], contents: Callable[[], str]) -> bool:
    """Tell whether what a collection was filled from is what a register holds now.

    Args:
        register: What ought to be in it.
        stamp: What it was filled from.
        contents: Gives `register.contents`, which takes a while: asked only where it decides.
    """
    if (stamp.get("schema"), stamp.get("fingerprint")) != (SCHEMA, register.bundle.fingerprint):
        return False
    if stamp["snapshot"] == register.snapshot:
        return True
    return bool(stamp["figures"] == register.figures_count and stamp["contents"] == contents())


def require_held(
    register: Register,
    address: Address,
    stamp: dict[str, Any] | None,
    contents: Callable[[], str] | None = None,
) -> dict[str, Any]:
    """Return a collection's stamp; refuse a collection that does not hold what a register does.

    Args:
        register: What ought to be in it.
        address: Where it is.
        stamp: What it was filled from; None: there is no such collection.
        contents: Gives `register.contents`, which takes a while; None: they are asked for.

    Raises:
        StoreMismatchError: It holds something else.
        BundleMismatchError: It holds the vectors of another encoder.
    """
    if stamp is None:
        raise StoreMismatchError(
            f"{address}: the store has no collection {address.collection!r}",
            hint=_again(register, address),
        )
    require_encoder(register, address, stamp)
    if holds(register, stamp, contents or (lambda: register.contents)):
        return stamp
    raise StoreMismatchError(
        f"{address}: a push into it was not finished"
        if not stamp["contents"]
        else f"{address}: it holds {stamp['figures']:,} figures as they were, the register"
        f" {register.figures_count:,}: it is not up to date",
        hint=_again(register, address),
    )


def _again(register: Register, address: Address) -> str:
    return f"edge-ret store push {register.folder} --to {address}"
