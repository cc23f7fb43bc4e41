"""Hierarchical batches: their shape, what is promised of an epoch, what happens in small trees."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.sampler import BatchShape, epoch_batches
from edge_retrieval.arrays import Codes


def tree(classes: int, subclasses: int, designs: int, figures: int) -> Codes:
    design = np.repeat(np.arange(classes * subclasses * designs), figures)
    subclass = design // designs
    return np.stack([subclass // subclasses, subclass, design], axis=1).astype(np.int32)


@st.composite
def trees(draw: st.DrawFn) -> Codes:
    """Uneven trees of one to three levels, rows in any order."""
    counts = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), min_size=1))
    rows = [
        (subclass // 2, subclass, design)
        for design, (subclass, figures) in enumerate(counts)
        for _ in range(figures)
    ]
    codes = np.array(draw(st.permutations(rows)), np.int32)
    return codes[:, 3 - draw(st.integers(1, 3)) :]


shapes = st.builds(
    BatchShape, st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(2, 4)
)


@given(trees(), shapes, st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_an_epoch_has_every_design_and_a_batch_has_it_at_most_once(
    codes: Codes, shape: BatchShape, epoch: int
) -> None:
    batches = epoch_batches(codes, shape, seed=3, epoch=epoch)
    designs = len(set(codes[:, -1].tolist()))
    places = shape.classes * shape.subclasses * shape.designs
    seen = set()
    for batch in batches:
        of_each = codes[batch, -1].reshape(-1, shape.figures)
        assert (of_each == of_each[:, :1]).all()  # the figures of a design beside one another
        assert len(of_each) == min(places, designs) == len(set(of_each[:, 0].tolist()))
        seen.update(of_each[:, 0].tolist())
    assert len(seen) == designs


def test_where_the_tree_is_large_enough_a_batch_has_the_shape_asked_for() -> None:
    codes = tree(6, 4, 8, 5)
    [batch, *_] = epoch_batches(codes, BatchShape(3, 2, 4, 3), seed=0, epoch=0)
    picked = codes[batch]
    assert len(np.unique(picked[:, 0])) == 3
    for wanted, level, above in ((2, 1, 0), (4, 2, 1)):
        for code in np.unique(picked[:, above]):
            assert len(np.unique(picked[picked[:, above] == code, level])) == wanted
    assert len(np.unique(batch)) == len(batch) == 3 * 2 * 4 * 3


def test_free_places_go_to_designs_of_other_classes() -> None:
    codes = np.concatenate([tree(1, 1, 20, 2), tree(1, 1, 1, 2) + 100])
    [batch, *_] = epoch_batches(codes, BatchShape(2, 2, 4, 2), seed=0, epoch=0)
    designs = codes[batch, -1]
    assert len(np.unique(designs)) == 16
    assert (designs == 100).sum() == 2


def test_a_design_with_one_figure_gives_it_twice() -> None:
    codes = tree(1, 1, 4, 1)
    [batch] = epoch_batches(codes, BatchShape(1, 1, 4, 2), seed=0, epoch=0)
    assert sorted(batch.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_equal_seed_and_epoch_give_equal_batches_and_others_do_not() -> None:
    def plan(seed: int, epoch: int) -> list[list[int]]:
        shape = BatchShape(2, 2, 2, 2)
        return [b.tolist() for b in epoch_batches(tree(4, 3, 5, 3), shape, seed=seed, epoch=epoch)]

    assert plan(1, 2) == plan(1, 2)
    assert plan(1, 2) != plan(1, 3)
    assert plan(1, 2) != plan(2, 2)
