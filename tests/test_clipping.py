"""Layers that lose values are found in the bytes of a quantized network, without onnx."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_retrieval.arrays import Images
from edge_retrieval.clipping import _lost, clipped_layers, quantized_pairs
from edge_retrieval.drawing import fit_batch
from edge_retrieval.errors import BundleError
from tests import fakes


@pytest.fixture(scope="module")
def images() -> Images:
    drawings = [fakes.pixels_of(fakes.drawing(i)) for i in range(3)]
    return fit_batch(drawings, fakes.PREPROCESSING)


def test_every_value_that_is_quantized_is_found_with_what_becomes_of_it() -> None:
    pairs = quantized_pairs(fakes.INT8.read_bytes())
    assert pairs == [("images", "images_after"), ("hidden", "hidden_after")]


def test_a_network_in_float_has_none(images: Images) -> None:
    assert quantized_pairs(fakes.MODEL.read_bytes()) == []
    assert clipped_layers(fakes.MODEL, images) == []


def test_a_network_with_ranges_that_hold_its_values_loses_none(images: Images) -> None:
    assert clipped_layers(fakes.INT8, images) == []


def test_a_range_that_is_too_narrow_is_found_with_the_share_that_it_loses(images: Images) -> None:
    hidden = fakes.Int8Encoder().hidden(images)
    share = float((hidden > 255 * fakes.STEP / 5 * 1.01).mean())
    [found] = clipped_layers(fakes.CLIPPED, images)
    assert found.name == "hidden"
    assert found.share == pytest.approx(share, abs=0.01)


def test_a_relu_that_was_folded_into_the_rounding_loses_nothing() -> None:
    before = np.linspace(-5, 9, 1001, dtype=np.float32)
    relu = np.clip(before, 0, None)
    assert _lost(before, relu) == 0.0
    assert _lost(before, np.clip(before, 0, 6)) == 0.0
    assert _lost(before, np.clip(before, 0, 3)) == pytest.approx(6 / 14, abs=0.01)
    assert _lost(before, np.clip(before, -1, None)) == pytest.approx(4 / 14, abs=0.01)


@pytest.mark.parametrize("data", [b"\xff" * 40, b"no network", fakes.INT8.read_bytes()[:-7]])
def test_bytes_that_are_no_network_are_one_clear_error(
    data: bytes, tmp_path: Path, images: Images
) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(BundleError):
        clipped_layers(tmp_path / "model.onnx", images)


def test_the_pinned_networks_are_those_that_the_script_writes(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    fakes.write_int8(tmp_path / fakes.INT8.name)
    fakes.write_int8(tmp_path / fakes.CLIPPED.name, clipped=True)
    fakes.write_int8(tmp_path / fakes.REDUCED.name, reduced=True)
    for path in (fakes.INT8, fakes.CLIPPED, fakes.REDUCED):
        assert quantized_pairs((tmp_path / path.name).read_bytes()) == quantized_pairs(
            path.read_bytes()
        )
