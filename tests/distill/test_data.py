"""Drawings in memory: the very arrays of `fit`, schemes apart, a fair split, a true cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from distill import data
from distill.augment import augment
from distill.config import TrainConfig
from distill.data import Drawings, load_drawings
from edge_retrieval.drawing import Preprocessing, cut_sheet, fit_batch
from edge_retrieval.errors import SourceError
from edge_retrieval.sources import Design, open_source

CONFIG = TrainConfig(size=32)
GEOMETRY = ("mirror", "tilt", "shrink", "stretch")
INK = ("strokes", "contrast", "erase", "dashes", "specks")


def draw_tree(root: Path, designs: int = 12, figures: int = 2) -> Path:
    """Boxes, crosses and rings: class/subclass/design/figure.png."""
    for number in range(designs):
        kind = number % 3
        folder = root / f"kind{kind}" / f"sort{number % 6}" / f"D{number:04d}7"
        folder.mkdir(parents=True)
        for figure in range(figures):
            image = Image.new("L", (150, 120), 255)
            pen = ImageDraw.Draw(image)
            box = (10 + 2 * figure, 10, 90 + 4 * number, 100)
            if kind == 0:
                pen.rectangle(box, outline=0, width=3)
            elif kind == 1:
                pen.ellipse(box, outline=0, width=3)
            else:
                pen.line(box, fill=0, width=3)
                pen.line((box[0], box[3], box[2], box[1]), fill=0, width=3)
            image.save(folder / f"{figure}.png")
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def drawings(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Drawings:
    return load_drawings([tree], CONFIG, cache=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("channels", [1, 3])
def test_figures_are_those_of_fit_bit_for_bit(tree: Path, tmp_path: Path, channels: int) -> None:
    config = TrainConfig(size=32, channels=channels)
    found = load_drawings([tree], config, cache=tmp_path)
    figures = [
        figure
        for design in open_source(tree)
        if isinstance(design, Design)
        for sheet in design.sheets
        for figure in cut_sheet(sheet.read(), where=sheet.where, boxes=sheet.boxes)
    ]
    expected = fit_batch(figures, Preprocessing(size=32, channels=channels))
    assert np.array_equal(found.images(np.arange(len(found))), expected)


def test_codes_follow_the_folders(drawings: Drawings) -> None:
    [scheme] = drawings.schemes
    assert scheme.levels == ("class", "subclass", "design")
    assert [len(np.unique(column)) for column in scheme.codes.T] == [3, 6, 12]
    assert len(drawings) == 24


def test_two_sources_are_two_schemes(tree: Path, tmp_path: Path) -> None:
    other = draw_tree(tmp_path / "other", designs=3)
    found = load_drawings([tree, other], CONFIG, cache=tmp_path / "cache")
    assert len({scheme.name for scheme in found.schemes}) == 2
    rows = np.concatenate([scheme.rows for scheme in found.schemes])
    assert sorted(rows.tolist()) == list(range(len(found))) == list(range(30))


def test_a_second_start_reads_the_cache_and_a_changed_source_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = draw_tree(tmp_path / "tree", designs=3), tmp_path / "cache"
    first = load_drawings([root], CONFIG, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(data, "cut_sheet", lambda *_, **__: pytest.fail("cut again"))
        second = load_drawings([root], CONFIG, cache=cache)
    assert np.array_equal(first.fitted, second.fitted)
    assert np.array_equal(first.masters, second.masters)
    assert first.designs == second.designs
    (next(root.rglob("1.png"))).unlink()
    assert len(load_drawings([root], CONFIG, cache=cache)) == len(first) - 1


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    root, cache = draw_tree(tmp_path / "tree", designs=3), tmp_path / "cache"
    first = load_drawings([root], CONFIG, cache=cache)
    [file] = cache.iterdir()
    for content in (b"", file.read_bytes()[:-500]):
        file.write_bytes(content)
        again = load_drawings([root], CONFIG, cache=cache)
        assert np.array_equal(first.fitted, again.fitted)


def test_what_cannot_be_read_is_told_and_the_rest_is_used(tmp_path: Path) -> None:
    root = draw_tree(tmp_path / "tree", designs=3)
    broken = root / "kind0" / "sort0" / "D00007" / "0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    for _ in range(2):  # the second time from the cache
        found = load_drawings([root], CONFIG, cache=tmp_path / "cache")
        assert len(found) == 5
        [problem] = found.problems
        assert "0.png" in problem.where and problem.reason


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError):
        load_drawings([tmp_path / "empty"], CONFIG, cache=tmp_path / "cache")
    with pytest.raises(SourceError):
        load_drawings([], CONFIG, cache=tmp_path / "cache")


def test_a_split_is_by_design_complete_and_repeatable(drawings: Drawings) -> None:
    [training], [held_out] = drawings.split(0.25, 0)
    designs = np.array(drawings.designs)
    assert not set(designs[training.rows]) & set(designs[held_out.rows])
    assert len(training.rows) + len(held_out.rows) == len(drawings)
    assert len(set(designs[held_out.rows])) == 3
    assert np.array_equal(drawings.split(0.25, 0)[1][0].rows, held_out.rows)
    assert not np.array_equal(drawings.split(0.25, 1)[1][0].rows, held_out.rows)
    assert drawings.split(0.0, 0)[1] == ()


def test_consecutive_numbers_stay_on_one_side(drawings: Drawings) -> None:
    numbers = tuple(f"USD{900000 + row // 2}" for row in range(len(drawings)))
    siblings = Drawings(
        drawings.masters, drawings.fitted, drawings.schemes, numbers, (), drawings.preprocessing
    )
    for seed in range(5):
        training, held_out = siblings.split(0.3, seed)
        blocks = [{numbers[row][:-1] for row in side[0].rows} for side in (training, held_out)]
        assert not blocks[0] & blocks[1]


def test_augmentation_repeats_by_its_generator_and_changes_figures(drawings: Drawings) -> None:
    once = augment(drawings.masters, CONFIG, np.random.default_rng(5))
    again = augment(drawings.masters, CONFIG, np.random.default_rng(5))
    other = augment(drawings.masters, CONFIG, np.random.default_rng(6))
    assert once.shape == drawings.fitted.shape and once.dtype == np.uint8
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_without_strength_augmentation_is_almost_fit(drawings: Drawings) -> None:
    still = CONFIG.with_settings([f"{name}=0" for name in (*GEOMETRY, *INK)])
    plain = augment(drawings.masters, still, np.random.default_rng(0)).astype(float)
    assert np.abs(plain - drawings.fitted).mean() < 12
    ink = 255 - plain, 255.0 - drawings.fitted
    assert ink[0].sum() == pytest.approx(ink[1].sum(), rel=0.15)  # lines do not fade


def test_geometry_never_crops_a_figure() -> None:
    """The frame of a square stays inside: mirrored, tilted, stretched, shrunk, shifted."""
    master = np.full((1, 192, 192), 255, np.uint8)
    master[:, :6] = master[:, -6:] = master[:, :, :6] = master[:, :, -6:] = 0
    config = TrainConfig(size=128, tilt=20).with_settings([f"{name}=0" for name in INK])
    for seed in range(20):
        [figure] = augment(master, config, np.random.default_rng(seed))
        corners = np.argwhere(figure < 128)
        assert (figure < 128).sum() > 1000
        # A frame of four whole sides encloses the middle: nothing leaks out of it.
        reached = np.zeros(figure.shape, bool)
        todo = [tuple(corners.mean(axis=0).astype(int))]
        while todo:
            y, x = todo.pop()
            assert 0 <= y < 128 and 0 <= x < 128, "the frame is open"
            if not reached[y, x] and figure[y, x] > 200:
                reached[y, x] = True
                todo += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        assert reached.any()
