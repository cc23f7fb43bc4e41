"""Hierarchical batches: their shape, what is promised of an epoch, what happens in small trees."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.sampler import BatchShape, RowNumbers, epoch_batches
from edge_retrieval.arrays import Codes


def tree(classes: int, subclasses: int, designs: int, figures: int) -> Codes:
    design = np.repeat(np.arange(classes * subclasses * designs), figures)
    subclass = design // designs
    return np.stack([subclass // subclasses, subclass, design], axis=1).astype(np.int32)


@st.composite
def trees(draw: st.DrawFn) -> Codes:
    """Uneven trees of one to four levels, some codes unknown, rows in any order."""
    count = st.tuples(st.integers(-1, 5), st.integers(1, 4), st.booleans())
    rows = [
        (subclass // 4, -1 if subclass < 0 or unknown else subclass // 2, subclass, design)
        for design, (subclass, figures, unknown) in enumerate(draw(st.lists(count, min_size=1)))
        for _ in range(figures)
    ]
    codes = np.array(draw(st.permutations(rows)), np.int32)
    return codes[:, 4 - draw(st.integers(1, 4)) :]


shapes = st.builds(
    BatchShape, st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(2, 4)
)


def designs_of(codes: Codes, batch: RowNumbers, shape: BatchShape) -> list[int]:
    of_each = codes[batch, -1].reshape(-1, shape.figures)
    assert (of_each == of_each[:, :1]).all()  # the figures of a design beside one another
    designs: list[int] = of_each[:, 0].tolist()
    return designs


@given(trees(), shapes, st.integers(0, 99))
@settings(max_examples=120, deadline=None)
def test_every_design_is_seen_once_but_for_those_that_fill_the_last_batch(
    codes: Codes, shape: BatchShape, epoch: int
) -> None:
    batches = [
        designs_of(codes, batch, shape)
        for batch in epoch_batches(codes, shape, seed=3, epoch=epoch)
    ]
    designs = set(codes[:, -1].tolist())
    places = min(len(designs), shape.classes * shape.subclasses * shape.designs)
    assert len(batches) == math.ceil(len(designs) / places)
    assert all(len(set(batch)) == len(batch) == places for batch in batches)
    seen = Counter(design for batch in batches for design in batch)
    assert set(seen) == designs
    twice = {design for design, count in seen.items() if count > 1}
    assert len(twice) == len(batches) * places - len(designs) < places
    assert max(seen.values()) <= 2
    assert twice <= set(batches[0]) & set(batches[-1])


@given(trees(), shapes, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_design_gives_different_figures_as_long_as_it_has_them(
    codes: Codes, shape: BatchShape, epoch: int
) -> None:
    available = Counter(codes[:, -1].tolist())
    for batch in epoch_batches(codes, shape, seed=5, epoch=epoch):
        for rows in batch.reshape(-1, shape.figures):
            design = int(codes[rows[0], -1])
            assert len(set(rows.tolist())) == min(shape.figures, available[design])


def test_where_the_counts_divide_every_batch_has_the_shape_and_every_design_is_seen_once() -> None:
    codes, shape = tree(3, 4, 8, 5), BatchShape(3, 2, 4, 3)
    batches = epoch_batches(codes, shape, seed=0, epoch=0)
    assert len(batches) == 4
    for batch in batches:
        picked = codes[batch]
        assert len(np.unique(picked[:, 0])) == 3
        for wanted, level, above in ((2, 1, 0), (4, 2, 1)):
            for code in np.unique(picked[:, above]):
                assert len(np.unique(picked[picked[:, above] == code, level])) == wanted
        assert len(np.unique(batch)) == len(batch) == 3 * 2 * 4 * 3
    assert sorted(codes[np.concatenate(batches), -1][::3].tolist()) == list(range(96))


def test_with_more_classes_than_asked_a_batch_has_as_many_as_asked() -> None:
    codes, shape = tree(6, 4, 8, 2), BatchShape(3, 2, 4, 2)
    for epoch in range(5):
        batches = epoch_batches(codes, shape, seed=0, epoch=epoch)
        assert len(batches) == 8
        for batch in batches[:-2]:  # the last ones take what is left
            assert len(np.unique(codes[batch, 0])) == 3


def test_a_subclass_is_dealt_out_evenly_so_that_no_design_is_alone() -> None:
    codes = tree(1, 1, 5, 1)
    codes = np.concatenate([codes + offset for offset in (0, 10, 20, 30, 40, 50)])
    for epoch in range(10):  # 30 designs; groups of 3 and 2, never 4 and 1
        batches = epoch_batches(codes, BatchShape(3, 1, 4, 2), seed=0, epoch=epoch)
        alone = [
            count for batch in batches for count in Counter(codes[batch[::2], 1].tolist()).values()
        ].count(1)
        assert alone <= 2 * (len(batches) - 1)  # cut where a batch ends


def test_a_class_of_one_design_is_seen_once_an_epoch_beside_other_classes() -> None:
    codes = np.concatenate([tree(2, 2, 20, 2), tree(1, 1, 1, 2) + 100])
    shape = BatchShape(2, 2, 5, 2)  # 81 designs in batches of 20
    for epoch in range(10):
        batches = [
            designs_of(codes, batch, shape)
            for batch in epoch_batches(codes, shape, seed=0, epoch=epoch)
        ]
        with_it = [batch for batch in batches if 100 in batch]
        assert 1 <= len(with_it) <= 2 and all(len(batch) == 20 for batch in batches)


def test_a_class_of_one_subclass_gives_one_group_and_others_take_the_free_places() -> None:
    single, others = tree(1, 1, 8, 1), tree(6, 2, 16, 1) + 10  # others: 6 classes
    codes = np.concatenate([single, others])
    shape = BatchShape(2, 2, 4, 2)
    for batch in epoch_batches(codes, shape, seed=1, epoch=0)[:-2]:
        classes = Counter(codes[batch[::2], 0].tolist())
        assert sum(classes.values()) == 16
        assert classes[0] <= 4


def test_a_large_class_is_spread_over_the_epoch_in_its_proportion() -> None:
    codes = np.concatenate([tree(1, 20, 16, 1), tree(20, 2, 8, 1) + 1000])  # 320 and 320 designs
    shape = BatchShape(4, 2, 4, 2)
    for epoch in range(3):
        batches = epoch_batches(codes, shape, seed=0, epoch=epoch)
        shares = [(codes[batch[::2], 0] == 0).mean() for batch in batches]
        assert max(shares[:-1]) <= 0.75  # two blocks of four in a batch, or three
        assert np.mean(shares) == pytest.approx(0.5)


def test_with_fewer_classes_than_asked_the_places_are_filled_by_those_there_are() -> None:
    codes, shape = tree(2, 3, 10, 2), BatchShape(6, 2, 2, 2)  # 24 places, 2 classes
    for batch in epoch_batches(codes, shape, seed=0, epoch=0):
        assert len(np.unique(codes[batch, 0])) == 2
        assert len(np.unique(codes[batch, -1])) == 24


def test_with_fewer_designs_than_places_one_batch_has_them_all_once() -> None:
    codes = tree(2, 2, 2, 3)
    [batch] = epoch_batches(codes, BatchShape(6, 2, 4, 2), seed=0, epoch=0)
    assert sorted(codes[batch, -1].tolist()) == sorted([*range(8), *range(8)])


def test_a_design_with_one_figure_gives_it_twice() -> None:
    codes = tree(1, 1, 4, 1)
    [batch] = epoch_batches(codes, BatchShape(1, 1, 4, 2), seed=0, epoch=0)
    assert sorted(batch.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_no_figures_give_no_batches() -> None:
    assert epoch_batches(np.empty((0, 3), np.int32), BatchShape(2, 2, 2, 2), seed=0, epoch=0) == []


def test_unknown_subclasses_of_two_classes_are_two_groups() -> None:
    codes = tree(4, 1, 8, 1)
    codes[:, 1] = -1
    as_known = tree(4, 1, 8, 1)
    shape = BatchShape(4, 1, 2, 2)
    for epoch in range(3):
        unknown = epoch_batches(codes, shape, seed=0, epoch=epoch)
        known = epoch_batches(as_known, shape, seed=0, epoch=epoch)
        assert [b.tolist() for b in unknown] == [b.tolist() for b in known]


def test_designs_of_unknown_class_are_one_class() -> None:
    codes = tree(4, 2, 8, 1)
    codes[codes[:, 0] == 3, :2] = -1
    for batch in epoch_batches(codes, BatchShape(4, 2, 2, 2), seed=0, epoch=0)[:-2]:
        assert (codes[batch[::2], 0] == -1).sum() <= 4


def test_a_batch_has_far_more_pairs_of_a_subclass_than_a_random_one() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.zipf(1.7, 120).clip(1, 30)  # as uneven as patent classes are
    subclass = np.repeat(np.arange(len(sizes)), sizes)
    codes = np.stack([subclass % 15, subclass, np.arange(len(subclass))], axis=1).astype(np.int32)
    shape = BatchShape(6, 2, 4, 2)

    def pairs(batches: list[RowNumbers], level: int) -> float:
        counts = [np.unique(codes[batch, level], return_counts=True)[1] for batch in batches]
        return float(np.mean([(count * (count - 1) // 2).sum() for count in counts]))

    planned = [batch[::2] for batch in epoch_batches(codes, shape, seed=0, epoch=0)]
    random = np.array_split(rng.permutation(len(codes)), len(planned))
    assert pairs(planned, 1) > 2 * pairs(random, 1)
    assert pairs(planned, 0) > 1.3 * pairs(random, 0)


def test_equal_seed_and_epoch_give_equal_batches_and_others_do_not() -> None:
    def plan(seed: int, epoch: int) -> list[list[int]]:
        shape = BatchShape(2, 2, 2, 2)
        return [b.tolist() for b in epoch_batches(tree(4, 3, 5, 3), shape, seed=seed, epoch=epoch)]

    assert plan(1, 2) == plan(1, 2)
    assert plan(1, 2) != plan(1, 3)
    assert plan(1, 2) != plan(2, 2)
