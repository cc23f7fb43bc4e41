"""A figure fits into a square: whole, in its shape, its strokes visible, the same bits always."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_retrieval.drawing import (
    FIT_VERSION,
    FigureImage,
    Preprocessing,
    fit,
    fit_batch,
    from_png,
    to_png,
)
from edge_retrieval.drawing.fit import POWER, shrink
from edge_retrieval.errors import ConfigError, DrawingError
from edge_retrieval.sources.design import Box

RAW = Preprocessing(size=128, mean=0.0, std=1.0)


def blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width), 255, dtype=np.uint8)


def cross(height: int = 300, width: int = 512) -> np.ndarray:
    pixels = blank(height, width)
    pixels[height // 2 - 2 : height // 2 + 2] = 0
    pixels[:, width // 2 - 2 : width // 2 + 2] = 40
    return pixels


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 512), st.integers(1, 512), st.sampled_from([32, 96, 128, 224]), st.data())
def test_ink_at_all_four_ends_survives(height, width, size, data):
    pixels = blank(height, width)
    ends = [
        (0, data.draw(st.integers(0, width - 1))),
        (height - 1, data.draw(st.integers(0, width - 1))),
        (data.draw(st.integers(0, height - 1)), 0),
        (data.draw(st.integers(0, height - 1)), width - 1),
    ]
    for row, column in ends:
        pixels[row, column] = 0
    [image] = fit(pixels, Preprocessing(size=size, mean=0.0, std=1.0))
    inner = size - 2 * max(1, round(0.04 * size))
    rows, columns = np.nonzero(image < 0.99)
    long = max(height, width)
    tall, wide = max(1, round(height * inner / long)), max(1, round(width * inner / long))
    assert rows.max() - rows.min() + 1 == tall
    assert columns.max() - columns.min() + 1 == wide


def test_the_margin_is_paper_and_the_figure_is_centred():
    [image] = fit(np.zeros((512, 256), dtype=np.uint8), RAW)
    rows, columns = np.nonzero(image < 1)
    assert (rows.min(), 127 - rows.max()) == (5, 5)
    assert abs(columns.min() - (127 - columns.max())) <= 1
    assert columns.max() - columns.min() + 1 == 59


@pytest.mark.parametrize("channels", [1, 3])
def test_values_are_normalised_and_channels_equal(channels):
    settings_ = Preprocessing(size=64, channels=channels, mean=0.5, std=0.25)
    image = fit(cross(), settings_)
    assert image.shape == (channels, 64, 64)
    assert image.dtype == np.float32
    assert image.max() == 2.0  # paper: (1 - 0.5) / 0.25
    assert image.min() >= -2.0
    assert all(np.array_equal(image[0], plane) for plane in image)


def test_a_batch_holds_the_single_images_and_may_be_empty():
    figures = [cross(), cross(512, 30), FigureImage(cross(40, 40), Box(0, 0, 40, 40))]
    batch = fit_batch(figures, RAW)
    assert batch.shape == (3, 1, 128, 128)
    for row, figure in zip(batch, figures, strict=True):
        np.testing.assert_array_equal(row, fit(figure, RAW))
    assert fit_batch([], RAW).shape == (0, 1, 128, 128)


def test_bits_are_those_of_the_first_release():
    """Pinned: a bundle's vectors hold only for the very same pixels. Change FIT_VERSION with it."""
    images = fit_batch([cross(), cross(512, 100), cross(60, 50)], RAW)
    levels = np.rint(images * 255).astype(np.uint8)
    assert FIT_VERSION == 1
    assert hashlib.sha256(levels.tobytes()).hexdigest()[:16] == "020cb7b0f963f157"


def test_reduction_is_the_power_mean_of_ink():
    rng = np.random.default_rng(0)
    tones = np.repeat(rng.integers(0, 256, (12, 16)), 1, axis=1).astype(np.uint8)
    blocks = np.kron(tones, np.ones((16, 16), dtype=np.uint8))
    np.testing.assert_array_equal(shrink(blocks, (1, 1)).shape, (1, 1))
    even = shrink(np.full((64, 64), 137, dtype=np.uint8), (7, 9))
    assert (even == 137).all()
    stripes = blank(64, 64)
    stripes[:, ::8] = 0  # an eighth of all is ink
    small = shrink(stripes, (1, 1))
    slow = 255 - 255 * np.mean(((255 - stripes) / 255.0) ** POWER) ** (1 / POWER)
    assert abs(int(small[0, 0]) - slow) <= 6


def test_a_small_figure_is_enlarged_smoothly():
    pixels = blank(20, 20)
    pixels[:, 10:] = 0
    [image] = fit(pixels, RAW)
    steps = np.abs(np.diff(image[64, 8:-8]))
    assert steps.max() < 0.5


def test_a_figure_without_pixels_is_an_error():
    with pytest.raises(DrawingError):
        fit(np.zeros((0, 5), dtype=np.uint8), RAW)


def test_preprocessing_survives_json():
    settings_ = Preprocessing(size=96, channels=3, mean=0.9, std=0.2)
    assert Preprocessing.from_json(settings_.to_json()) == settings_
    assert Preprocessing.from_json({}) == Preprocessing()


@pytest.mark.parametrize(
    "wrong",
    [
        {"sise": 128},
        {"size": 4},
        {"size": "128"},
        {"size": 128.0},
        {"size": True},
        {"channels": 2},
        {"std": 0.0},
        {"mean": float("nan")},
        {"version": FIT_VERSION + 1},
        {"version": 0},
    ],
)
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ConfigError) as caught:
        Preprocessing.from_json(wrong)
    assert caught.value.hint


def test_a_png_of_a_figure_is_small_and_within_half_a_step_of_it():
    pixels = cross(500, 400)
    data = to_png(pixels)
    back = from_png(data)
    assert back.shape == pixels.shape
    assert np.abs(back.astype(int) - pixels).max() <= 9
    small = to_png(pixels, side=256)
    assert max(from_png(small).shape) == 256
    assert len(small) < 6000
    np.testing.assert_array_equal(from_png(to_png(back)), back)


@pytest.mark.parametrize("data", [b"", b"x" * 50, to_png(cross())[:60]])
def test_a_damaged_png_is_an_error(data):
    with pytest.raises(DrawingError):
        from_png(data)
