"""A collection as an `Index`, and when it is asked."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import StoreError
from edge_retrieval.filters import Chosen, Filters
from edge_retrieval.index import Index
from edge_retrieval.index.nearest import Ranked, best_of_each
from edge_retrieval.index.stored import checked_queries, checked_rows, cosines
from edge_retrieval.plan import Plan, RegisterVectors, Step
from edge_retrieval.plan import plan as local_plan
from edge_retrieval.register import Register
from edge_retrieval.store.address import Address
from edge_retrieval.store.client import MOST, Collection, Found, connect
from edge_retrieval.store.expressions import expression_of
from edge_retrieval.store.filling import require_encoder, require_stamp
from edge_retrieval.store.rows import DESIGN, fitted

COMPARED = 4_096
"""A filter that leaves no more figures is answered from the register: reading them all takes about
a millisecond, and is exact."""

SHOWN = 200
"""Letters of an expression that are shown."""

LEAST, A_DESIGN, MORE = 64, 8, 4
"""Figures asked for: so many, or so many for each design that is wanted; then `MORE` times that,
where they are of too few designs."""


class StoreIndex:
    """Finds designs in a store, and scores them from the register's vectors.

    Where the store names fewer designs than are wanted, or a brute-force search cannot be shown to
    have missed none, the register itself is searched.

    Args:
        collection: Where they are found.
        register: What it was filled from.
        expression: What the store leaves out by itself; "": nothing.
        flat: The store compares everything: its answer is exact.
        local: Searches the register, exactly.
        names: Places of designs whose number the store keeps in another form.
    """

    def __init__(
        self,
        collection: Collection,
        register: Register,
        *,
        expression: str = "",
        flat: bool = False,
        local: Index,
        names: dict[str, int],
    ) -> None:
        self._collection = collection
        self._columns = register.columns
        self._vectors = RegisterVectors(register)
        self._expression = expression
        self._flat = flat
        self._local = local
        self._names = names

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def dim(self) -> int:
        return self._vectors.dim

    def rank(
        self,
        queries: Embeddings,
        k: int,
        *,
        rows: NDArray[np.int64] | None = None,
        without: NDArray[np.int64] | None = None,
        groups: NDArray[np.integer] | None = None,
    ) -> list[Ranked]:
        """See `Index.rank`; `rows` are those that the expression was made for, or fewer."""
        queries = checked_queries(queries, self.dim, k)
        rows = checked_rows(rows, len(self)) if rows is not None else None
        without = checked_rows(without, len(self)) if without is not None else None
        if not len(queries) or not k:
            return self._local.rank(queries, k, rows=rows, without=without, groups=groups)
        limit = min(MOST, max(LEAST, A_DESIGN * k))
        first = self._collection.search(queries, limit, self._expression)
        ranked = []
        for query, found in zip(queries, first, strict=True):
            answer = self._answer(query, found, limit, k, rows, without, groups)
            if answer is None:
                answer = self._local.rank(
                    query[None], k, rows=rows, without=without, groups=groups
                )[0]
            ranked.append(answer)
        return ranked

    def _answer(
        self,
        query: NDArray[np.float32],
        found: Found,
        limit: int,
        k: int,
        rows: NDArray[np.int64] | None,
        without: NDArray[np.int64] | None,
        groups: NDArray[np.integer] | None,
    ) -> Ranked | None:
        """Return the best of what the store finds; None: that is not enough."""
        while True:
            members = self._members(found, rows, without)
            scores = cosines(self._vectors, members, query)
            best = best_of_each(members, scores, k, groups)
            whole = len(found.designs) < limit  # the store has no more
            if len(best[0]) == k and (not self._flat or whole or self._proves(best, found)):
                return best
            if whole and self._flat:
                return best
            if whole or limit == MOST:
                return None
            limit = min(MOST, MORE * limit)
            [found] = self._collection.search(query[None], limit, self._expression)

    def _proves(self, best: Ranked, found: Found) -> bool:
        """Tell whether no figure that a brute-force search left out can be among the best."""
        # A product of D float32 terms of total size 1 errs by at most D/2 ulp.
        error = (self.dim / 2 + 4) * float(np.finfo(np.float32).eps)
        return float(best[1][-1]) > min(found.scores) + error

    def _members(
        self, found: Found, rows: NDArray[np.int64] | None, without: NDArray[np.int64] | None
    ) -> NDArray[np.int64]:
        """Return the rows of the designs that were found, those that are candidates, ascending."""
        columns = self._columns
        wanted = np.zeros(len(columns.alive), bool)
        for name in dict.fromkeys(found.designs):
            place = self._names.get(name)
            if place is None:
                place = columns.find(name)
            if place is not None:
                wanted[place] = True
        members = np.flatnonzero(wanted[columns.design_of])
        if rows is not None:
            members = members[_within(members, rows)]
        if without is not None:
            members = members[~_within(members, without)]
        return members


def _within(some: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of each of some rows whether it is among others; both ascend."""
    if not len(rows):
        return np.zeros(len(some), bool)
    at = np.searchsorted(rows, some)
    inside: NDArray[np.bool_] = rows[np.minimum(at, len(rows) - 1)] == some
    return inside


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
        """See to it that the collection holds what this snapshot of the register does."""
        if self._snapshot == register.snapshot:
            return
        address = self.collection.address
        if not self.collection.exists():
            raise StoreError(
                f"{address}: the store has no collection {address.collection!r}",
                hint=_again(register, address),
            )
        stamp = require_stamp(self.collection)
        require_encoder(register, self.collection, stamp)
        same = stamp["snapshot"] == register.snapshot
        if not same and stamp["contents"] != register.contents:
            raise StoreError(
                f"{address}: a push into it was not finished"
                if not stamp["contents"]
                else f"{address}: it holds {stamp['figures']:,} figures as they were, the register"
                f" {register.figures_count:,}: it is not up to date",
                hint=_again(register, address),
            )
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
        why = "every figure of the designs that it names, from the register"
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


def _again(register: Register, address: Address) -> str:
    return f"edge-ret store push {register.folder} --to {address}"


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
    collection = connect(address)
    try:
        return FoundInStore(collection, register)
    except BaseException:
        collection.close()
        raise
