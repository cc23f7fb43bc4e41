"""When a store is asked, and when the register itself: what `search` takes as its `store`."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np

from edge_retrieval.filters import Chosen, Filters
from edge_retrieval.plan import Plan, Step
from edge_retrieval.plan import plan as local_plan
from edge_retrieval.register import Register
from edge_retrieval.store.address import Address
from edge_retrieval.store.collection import Collection
from edge_retrieval.store.expressions import expression_of
from edge_retrieval.store.finding import LEAST, StoreIndex
from edge_retrieval.store.holding import require_held, require_stamp
from edge_retrieval.store.rows import DESIGN, fitted

COMPARED = 4_096
"""A filter that leaves no more figures is answered from the register: reading them all takes about
a millisecond, and is exact."""

LOOKED = 1.0
"""Seconds between two looks at what the collection was filled from."""

SHOWN = 200
"""Letters of an expression that are shown."""


class FoundInStore:
    """A store that holds what a register does; what `search` takes as its `store`.

    Attributes:
        collection: Where designs are found.
        stamp: What the collection was filled from.
    """

    def __init__(self, collection: Collection, register: Register) -> None:
        self.collection = collection
        self.stamp: dict[str, Any] = {}
        self._snapshot = ""
        self._looked = 0.0
        self._names: dict[str, int] = {}
        self._hold(register)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self.collection.close()

    @property
    def name(self) -> str:
        """How answers name it: not where it is."""
        return self.collection.address.collection

    @property
    def facts(self) -> dict[str, Any]:
        """What a record tells of it."""
        return {
            "collection": self.name,
            "server": self.collection.server,
            "index": self.stamp["index"],
            "overlap": self.stamp.get("overlap"),
        }

    def _hold(self, register: Register) -> None:
        """See to it that the collection holds what this snapshot of the register does.

        Now and then it looks again: another program may have filled or dropped the collection.
        """
        now = time.monotonic()
        same = self._snapshot == register.snapshot
        if same and now - self._looked < LOOKED:
            return
        self._looked, self._snapshot = now, ""  # nothing is held until it has been seen
        found = require_stamp(self.collection) if self.collection.exists() else None
        if same and found == self.stamp:
            self._snapshot = register.snapshot
            return
        stamp = require_held(register, self.collection.address, found)
        self.stamp, self._snapshot = stamp, register.snapshot
        columns = register.columns
        overlong = np.flatnonzero((np.diff(columns.number_starts) > DESIGN) & columns.alive)
        self._names = {fitted(columns.number(int(one)), DESIGN): int(one) for one in overlong}
        self.collection.load()

    def plan(
        self,
        register: Register,
        chosen: Chosen,
        filters: Filters,
        *,
        figures: int = 1,
        exact: bool = False,
    ) -> Plan:
        """Choose between the store and the register; see `plan.Planner`.

        Raises:
            StoreError: The store does not hold what the register does now.
        """
        self._hold(register)
        local = local_plan(register, chosen, figures=figures, exact=True)
        flat = self.stamp["index"] == "flat"
        many = register.figures_count if chosen.rows is None else len(chosen.rows)
        if chosen.rows is not None and many <= COMPARED:
            return _instead(local, many, "the filters leave few figures: the register has them all")
        if exact and not flat:
            return _instead(local, many, "its index is approximate, and exact was asked for")
        return self.always(register, chosen, filters, local)

    def always(
        self, register: Register, chosen: Chosen, filters: Filters, local: Plan | None = None
    ) -> Plan:
        """Return the plan that asks the store, however few figures the filters leave."""
        local = local or local_plan(register, chosen, exact=True)
        flat = self.stamp["index"] == "flat"
        many = register.figures_count if chosen.rows is None else len(chosen.rows)
        expression = expression_of(register.columns, chosen, filters)
        index = StoreIndex(
            self.collection, register, expression=expression, flat=flat, local=local.searcher,
            names=self._names,
        )  # fmt: skip
        how = "it compares everything" if flat else "it follows a graph: nearly exact"
        steps = [Step(f"ask the store {self.name}", many, 0, f"{self.collection.server}; {how}")]
        if chosen.rows is not None:
            said = expression or "no part of the filters can be said to it"
            said = said if len(said) <= SHOWN else said[: SHOWN - 3] + "..."
            steps.append(Step("filter in the store", many, 0, said))
            steps.append(Step("filter in the register", many, 0, "it decides what is left"))
        why = "about so many: all figures of the designs that it names, from the register"
        steps.append(Step("read and score in float64", LEAST, LEAST * register.bundle.dim * 4, why))
        overlap = None if flat else self._overlap(filters)
        return Plan(index, flat, overlap, tuple(steps), self.name)

    def _overlap(self, filters: Filters) -> float | None:
        """Return what was measured of such searches; None: nothing."""
        measured = self.stamp.get("overlap") or {}
        if not filters:
            return measured.get("all")
        only_class = not filters._replace(classes=())
        return measured.get("class") if only_class else None


def _instead(local: Plan, many: int, why: str) -> Plan:
    return local._replace(steps=(Step("do not ask the store", many, 0, why), *local.steps))


def open_store(address: Address, register: Register) -> FoundInStore:
    """Open a store for searches in a register.

    Args:
        address: Where it is.
        register: What it was filled from.

    Raises:
        MissingExtraError: pymilvus or milvus-lite is not installed.
        StoreError: It cannot be reached, or does not hold what the register does.
        BundleMismatchError: It holds the vectors of another encoder.
    """
    collection = Collection(address)
    try:
        return FoundInStore(collection, register)
    except BaseException:
        collection.close()
        raise
