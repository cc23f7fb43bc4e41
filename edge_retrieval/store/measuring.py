"""How many of the ten nearest designs a store finds, held against the register's own search."""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np

from edge_retrieval.filters import Chosen, Filters
from edge_retrieval.index.views import nearest_groups
from edge_retrieval.plan import Plan, RegisterVectors
from edge_retrieval.plan import plan as local_plan
from edge_retrieval.progress import Track, silent
from edge_retrieval.register import Register
from edge_retrieval.store.finding import StoreIndex
from edge_retrieval.store.planning import COMPARED, FoundInStore

NEAREST, FIGURES = 10, 100
"""Designs that are compared of a search, and how many searches."""


class Overlap(NamedTuple):
    """Shares of the ten nearest designs that the store found, on average.

    Attributes:
        all: Of searches without a filter.
        class_: Of searches in the query's own class, where it is so large that the store is asked;
            None: none is.
        figures: How many figures of the register were searched with.
        too_few: In how many of all these searches the store named too few designs, so that the
            register was searched.
    """

    all: float
    class_: float | None
    figures: int
    too_few: int = 0


def overlap_with(
    store: FoundInStore,
    register: Register,
    *,
    figures: int = FIGURES,
    seed: int = 0,
    least: int = COMPARED,
    track: Track = silent,
) -> Overlap:
    """Search with figures of the register both ways; their own designs are left out.

    Args:
        store: Holds what the register does.
        register: Where the truth is.
        figures: How many; fewer if there are fewer.
        seed: Which.
        least: Figures of a class above which searches in it go to the store.
        track: Shows progress.
    """
    columns = register.columns
    living = register.living_rows()
    rng = np.random.default_rng(seed)
    asked = np.sort(rng.choice(living, min(figures, len(living)), replace=False))
    everything = Filters().choose(columns, where=register.folder)
    whole = store.always(register, everything, Filters())
    shares: list[float] = []
    inside: list[float] = []
    plans = [whole]
    for row in track(asked.tolist(), "Measuring", len(asked)):
        shares.append(_share(register, row, whole, everything))
        path = columns.paths[columns.node[columns.design_of[row]]]
        filters = Filters(classes=path[:1])
        if path and len((own := filters.choose(columns, where=register.folder)).rows) > least:  # type: ignore[arg-type]  # a filter gives rows
            plans.append(store.always(register, own, filters))
            inside.append(_share(register, row, plans[-1], own))
    return Overlap(
        float(np.mean(shares)) if shares else 1.0,
        float(np.mean(inside)) if inside else None,
        len(asked),
        sum(cast(StoreIndex, plan.searcher).too_few for plan in plans),
    )


def _share(register: Register, row: int, plan: Plan, chosen: Chosen) -> float:
    """Return which share of the ten nearest designs is found."""
    columns, vectors = register.columns, RegisterVectors(register)
    same = np.flatnonzero(columns.design_of == columns.design_of[row])
    without = np.union1d(columns.dead_rows, same) if chosen.rows is None else same
    exact = local_plan(register, chosen, exact=True).searcher
    found = [
        {
            one.group
            for one in nearest_groups(
                index, vectors.take(np.array([row])), NEAREST, groups=columns.design_of,
                vectors=vectors, rows=chosen.rows, without=without,
            )
        }
        for index in (exact, plan.searcher)
    ]  # fmt: skip
    return len(found[0] & found[1]) / len(found[0]) if found[0] else 1.0


def keep_overlap(store: FoundInStore, measured: Overlap) -> None:
    """Write what was measured into the collection, for answers to tell."""
    told = {"all": measured.all, "class": measured.class_, "figures": measured.figures}
    store.stamp = store.stamp | {"overlap": told}
    store.collection.put_stamp(store.stamp)
