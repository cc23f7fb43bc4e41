"""The range of an activation holds what its method says, and every value is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from distill.onnx_file import export_fp32
from distill.ranges import BINS, METHODS, MOST_CUT, Histogram, Histograms
from edge_retrieval.arrays import Images


def histogram(values: NDArray[np.float64]) -> Histogram:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    return Histogram(low, high, np.histogram(values, BINS, (low, high))[0])


def with_outlier() -> NDArray[np.float64]:
    return np.append(np.random.default_rng(0).normal(size=100_000), 60.0)


def test_min_max_holds_all_and_the_others_drop_the_outlier() -> None:
    values = with_outlier()
    found = histogram(values)
    assert found.range_by("min-max") == (values.min(), 60.0)
    for method in ("percentile", "entropy", "error"):
        low, high = found.range_by(method, 99.9)
        assert -5 < low < -2, method
        assert 2 < high < 60, method


def test_a_percentile_cuts_as_many_on_either_side() -> None:
    values = with_outlier()
    low, high = histogram(values).range_by("percentile", 99.0)
    width = (60.0 - values.min()) / BINS
    assert low == pytest.approx(np.percentile(values, 0.5), abs=width)
    assert high == pytest.approx(np.percentile(values, 99.5), abs=width)


def test_the_range_of_least_error_is_better_than_its_neighbours() -> None:
    values = with_outlier()

    def error(low: float, high: float) -> float:
        step = (high - low) / 255
        rounded = low + step * np.round((np.clip(values, low, high) - low) / step)
        return float(((values - rounded) ** 2).sum())

    low, high = histogram(values).range_by("error")
    least = error(low, high)
    assert least < error(values.min(), 60.0)
    assert least < error(low, high * 1.3)
    assert least < error(low * 1.3, high)


@pytest.mark.parametrize("method", METHODS)
def test_zero_is_in_every_range_and_little_is_cut(method: str) -> None:
    rng = np.random.default_rng(1)
    for values in (rng.exponential(size=5000), -rng.exponential(size=5000), rng.normal(size=5000)):
        low, high = histogram(values).range_by(method, 99.9)
        assert low <= 0.0 <= high
        assert low < high
        if method != "percentile":
            assert (values > high).mean() <= MOST_CUT + 0.001
            assert (values < low).mean() <= MOST_CUT + 0.001


@pytest.mark.parametrize("method", METHODS)
def test_an_activation_that_is_always_zero_has_a_range_of_nothing(method: str) -> None:
    assert Histogram(0.0, 0.0, np.zeros(BINS, np.int64)).range_by(method, 99.9) == (0.0, 0.0)


def test_every_value_of_every_drawing_is_counted(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.ReLU(), nn.Flatten())
    torch.nn.init.normal_(network[0].weight, generator=torch.Generator().manual_seed(0))
    export_fp32(network, size=8, channels=1, dim=108, path=tmp_path / "fp32.onnx")
    images: Images = np.random.default_rng(2).normal(size=(21, 1, 8, 8)).astype(np.float32)
    histograms = Histograms(tmp_path / "fp32.onnx", images)
    import onnx

    [conv] = [n for n in onnx.load(tmp_path / "fp32.onnx").graph.node if n.op_type == "Conv"]
    found = histograms.of(["images", conv.output[0]])
    with torch.no_grad():
        expected = network[0](torch.from_numpy(images)).numpy()
    for name, values in (("images", images), (conv.output[0], expected)):
        one = found[name]
        assert one.counts.sum() == values.size
        assert one.low == pytest.approx(values.min(), abs=1e-5)
        assert one.high == pytest.approx(values.max(), abs=1e-5)
        plain = np.histogram(values, BINS, (one.low, one.high))[0]
        assert np.abs(np.cumsum(plain) - np.cumsum(one.counts)).max() <= 3  # rounding at an edge
