"""A collection as an `Index`: it names designs, the register scores them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.index import Index
from edge_retrieval.index.nearest import Ranked, best_of_each
from edge_retrieval.index.stored import checked_queries, checked_rows, cosines
from edge_retrieval.plan import RegisterVectors
from edge_retrieval.register import Register
from edge_retrieval.store.collection import MOST, Collection, Found

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

    Attributes:
        too_few: How often the register had to be searched.
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
        self.too_few = 0

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
                self.too_few += 1
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
            proved = not self._flat or (
                len(found.designs) >= self._candidates(rows) if whole else self._proves(best, found)
            )
            if proved and (len(best[0]) == k or (whole and self._flat)):
                return best
            if whole or limit == MOST:
                return None
            limit = min(MOST, MORE * limit)
            [found] = self._collection.search(query[None], limit, self._expression)

    def _candidates(self, rows: NDArray[np.int64] | None) -> int:
        """Return how many figures the store ought to have found, at least."""
        return self._columns.figures_count if rows is None else len(rows)

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
