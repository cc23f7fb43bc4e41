"""Augmentation: each figure by its own seed; whole, as dark as `fit` draws it, still a drawing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from distill.augment import Squares, augment
from distill.config import TrainConfig
from edge_retrieval.drawing import Preprocessing, fit

GEOMETRY = ("mirror", "tilt", "shrink", "stretch")
INK = ("strokes", "contrast", "erase", "dashes", "specks", "binarise", "photo")
STILL = TrainConfig().with_settings([f"{name}=0" for name in (*GEOMETRY, *INK)])


def only(**settings: float) -> TrainConfig:
    """Return settings under which nothing else changes a figure."""
    return STILL.with_settings([f"{name}={value}" for name, value in settings.items()])


def square(image: Image.Image, size: int) -> Squares:
    plain = Preprocessing(size=size, mean=0.0, std=1.0)
    whole: Squares = np.rint(fit(np.asarray(image), plain)[0] * 255).astype(np.uint8)
    return whole


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    """Sheets of line drawings: thick, thin and hatched, wide and tall."""
    rng = np.random.default_rng(0)
    images = []
    for width, height, stroke in ((900, 600, 3), (500, 1100, 5), (700, 700, 2), (420, 400, 4)):
        image = Image.new("L", (width, height), 255)
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, 0, width - 1, height - 1), outline=0, width=stroke)
        pen.ellipse((50, 60, width - 90, height - 40), outline=0, width=stroke)
        for _ in range(8):
            pen.line([tuple(rng.uniform(0, (width, height))) for _ in "12"], 0, stroke)
        for y in range(height // 2, height // 2 + 80, 12):
            pen.line((width // 3, y, width // 2, y), fill=0, width=stroke)
        images.append(image)
    return images


@pytest.fixture(scope="module")
def masters(drawn: list[Image.Image]) -> Squares:
    return np.stack([square(image, 192) for image in drawn])


def seeds(count: int, start: int = 0) -> NDArray[np.uint64]:
    return np.arange(start, start + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


EVERYTHING = TrainConfig(erase=0.5, dashes=0.5, specks=0.5, binarise=0.4, photo=0.4)


def test_a_figure_depends_on_its_master_and_seed_alone(masters: Squares) -> None:
    many, numbers = np.tile(masters, (6, 1, 1)), seeds(24)
    together = augment(many, EVERYTHING, numbers)
    assert together.shape == (24, 128, 128) and together.dtype == np.uint8
    for row in range(24):
        [alone] = augment(many[row : row + 1], EVERYTHING, numbers[row : row + 1])
        assert np.array_equal(alone, together[row])
    order = np.random.default_rng(1).permutation(24)
    assert np.array_equal(augment(many[order], EVERYTHING, numbers[order]), together[order])


def test_another_seed_gives_another_figure(masters: Squares) -> None:
    config = TrainConfig()
    figures = augment(np.repeat(masters[:1], 20, axis=0), config, seeds(20))
    assert len({figure.tobytes() for figure in figures}) == 20


def test_masters_are_left_as_they_were(masters: Squares) -> None:
    before = masters.copy()
    augment(masters, EVERYTHING, seeds(len(masters)))
    assert np.array_equal(masters, before)


@pytest.mark.parametrize(("size", "tolerance"), [(128, 0.06), (192, 0.08), (64, 0.25)])
def test_without_strength_a_figure_is_almost_what_fit_gives(
    drawn: list[Image.Image], size: int, tolerance: float
) -> None:
    """As dark, too; in a small figure of thin lines close to one another a little darker."""
    large = np.stack([square(image, round(size * 1.5)) for image in drawn])
    fitted = np.stack([square(image, size) for image in drawn]).astype(float)
    plain = augment(large, only(size=size), seeds(len(drawn))).astype(float)
    assert np.abs(plain - fitted).mean() < 16
    assert (255 - plain).mean() == pytest.approx((255 - fitted).mean(), rel=tolerance)


def test_without_strength_a_master_of_the_input_size_stays_as_it_is(masters: Squares) -> None:
    same = augment(masters, only(size=192), seeds(len(masters))).astype(int)
    assert np.abs(same - masters).max() < 16  # paler ink is lost


def test_faint_lines_stay_visible() -> None:
    for grey in (40, 128, 200, 225):
        master = np.full((1, 192, 192), 255, np.uint8)
        master[:, 90:94] = grey
        [figure] = augment(master, STILL, seeds(1))
        assert int(figure[60:64].min()) == pytest.approx(grey, abs=4)


def test_mirror_alone_mirrors(masters: Squares) -> None:
    plain = augment(masters, STILL, seeds(4)).astype(int)
    turned = augment(masters, only(mirror=1), seeds(4)).astype(int)
    assert np.abs(turned[:, :, ::-1] - plain).mean() < 3
    assert np.abs(turned - plain).mean() > 10


def test_geometry_never_crops_a_figure() -> None:
    """The frame of a square stays inside: mirrored, tilted, stretched, shrunk, shifted."""
    master = np.full((1, 192, 192), 255, np.uint8)
    master[:, :6] = master[:, -6:] = master[:, :, :6] = master[:, :, -6:] = 0
    config = only(mirror=0.5, tilt=20, shrink=0.3, stretch=0.3)
    for figure in augment(np.repeat(master, 12, axis=0), config, seeds(12)):
        # A frame of four whole sides encloses the middle: nothing leaks out of it.
        ink = np.argwhere(figure < 128)
        reached = np.zeros(figure.shape, bool)
        todo = [tuple(ink.mean(axis=0).astype(int))]
        while todo:
            y, x = todo.pop()
            assert 0 <= y < 128 and 0 <= x < 128, "the frame is open"
            if not reached[y, x] and figure[y, x] > 200:
                reached[y, x] = True
                todo += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        assert reached.any()


def test_geometry_never_enlarges(masters: Squares) -> None:
    config = only(tilt=10, shrink=0.3, stretch=0.3, mirror=0.5)
    inked = np.argwhere(masters[0] < 128)
    limit = np.ptp(inked, axis=0) * 128 / 192 + 3
    tilted = limit + np.ptp(inked, axis=0)[::-1] * 128 / 192 * np.sin(np.radians(10))
    for figure in augment(np.repeat(masters[:1], 20, axis=0), config, seeds(20)):
        assert (np.ptp(np.argwhere(figure < 128), axis=0) <= tilted).all()


def test_strokes_both_thicken_and_thin(masters: Squares) -> None:
    plain = (255 - augment(masters[:1], STILL, seeds(1)).astype(float)).sum()
    changed = augment(np.repeat(masters[:1], 30, axis=0), only(strokes=1), seeds(30))
    ratio = (255 - changed.astype(float)).sum(axis=(1, 2)) / plain
    assert ratio.min() < 0.9 and ratio.max() > 1.3
    assert ratio.min() > 0.4  # a line of one pixel is still there


@pytest.mark.parametrize("kind", ["erase", "dashes"])
def test_parts_go_missing_and_nothing_is_added(masters: Squares, kind: str) -> None:
    plain = augment(np.tile(masters, (5, 1, 1)), STILL, seeds(20)).astype(int)
    changed = augment(np.tile(masters, (5, 1, 1)), only(**{kind: 1}), seeds(20)).astype(int)
    assert ((changed == plain) | (changed == 255)).all()
    lost = 1 - (255 - changed).sum(axis=(1, 2)) / (255 - plain).sum(axis=(1, 2))
    assert (lost > 0).mean() > 0.8
    assert lost.max() < 0.6


def test_dashes_break_a_line_whichever_way_it_runs() -> None:
    across = np.full((1, 192, 192), 255, np.uint8)
    across[:, 94:97, 10:-10] = 0
    for master, axis in ((across, 0), (across.transpose(0, 2, 1), 1)):
        figures = augment(np.repeat(master, 20, axis=0), only(dashes=1), seeds(20))
        profiles = figures.min(axis=axis + 1)[:, 8:-8]  # darkest across the line, along it
        gaps = (profiles == 255).sum(axis=1)
        assert np.median(gaps) > 5  # of 112
        assert gaps.max() < 90


def test_specks_are_few_and_only_darken(masters: Squares) -> None:
    plain = augment(masters, STILL, seeds(4)).astype(int)
    changed = augment(masters, only(specks=1), seeds(4)).astype(int)
    assert (changed <= plain).all()
    assert 0 < (changed < plain).mean() < 0.005


def test_contrast_keeps_paper_white_and_ink_darker_than_paper(masters: Squares) -> None:
    plain = augment(masters, STILL, seeds(4))
    changed = augment(masters, only(contrast=1), seeds(4))
    assert (changed[plain == 255] == 255).all()
    assert (changed[plain < 40] < 140).all()
    assert not np.array_equal(plain, changed)


def test_binarise_gives_black_and_white_and_keeps_the_figure(masters: Squares) -> None:
    pale = (255 - (255 - masters.astype(int)) // 3).astype(np.uint8)  # as thin lines come out
    for figures in (masters, pale):
        plain = augment(np.tile(figures, (5, 1, 1)), STILL, seeds(20)).astype(int)
        changed = augment(np.tile(figures, (5, 1, 1)), only(binarise=1), seeds(20))
        assert set(np.unique(changed).tolist()) == {0, 255}
        inked = (plain < 245).sum(axis=(1, 2))
        black = (changed == 0).sum(axis=(1, 2))
        assert (black > 0.2 * inked).all() and (black <= inked).all()


def test_a_photo_is_grey_yet_the_lines_are_darker_than_the_paper_beside_them(
    masters: Squares,
) -> None:
    plain = augment(np.tile(masters, (3, 1, 1)), STILL, seeds(12)).astype(float)
    photos = augment(np.tile(masters, (3, 1, 1)), only(photo=1), seeds(12)).astype(float)
    for figure, photo in zip(plain, photos, strict=True):
        assert len(np.unique(photo)) > 50
        assert np.corrcoef(figure.ravel(), photo.ravel())[0, 1] > 0.5
        assert photo[figure == 255].mean() - photo[figure < 100].mean() > 40


def test_a_photo_is_never_binarised(masters: Squares) -> None:
    """One threshold over uneven light would black out half of it."""
    for figure in augment(masters, only(photo=1, binarise=1), seeds(4)):
        assert len(np.unique(figure)) > 50


@pytest.mark.parametrize("grey", [0, 255])
@pytest.mark.parametrize(("size", "side"), [(16, 16), (16, 24), (64, 64), (64, 128)])
def test_blank_and_black_masters_of_any_size_pass(grey: int, size: int, side: int) -> None:
    config = TrainConfig(size=size, erase=1, dashes=1, specks=1, binarise=0.5, photo=0.5)
    figures = augment(np.full((12, side, side), grey, np.uint8), config, seeds(12))
    assert figures.shape == (12, size, size)
    still = augment(np.full((1, side, side), grey, np.uint8), only(size=size), seeds(1))
    assert (still == grey).all()


def test_no_masters_give_no_figures() -> None:
    assert augment(np.empty((0, 24, 24), np.uint8), only(size=16), seeds(0)).shape == (0, 16, 16)
