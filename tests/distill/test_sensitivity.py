"""The layer that 8 bits hurt most is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from distill.onnx_file import export_fp32, runner
from distill.quantize import LEAST_DRAWINGS, Recipe, quantize_int8
from distill.ranges import Histograms
from distill.sensitivity import DRAWINGS, embedded, loss, rank_layers, some
from edge_retrieval.arrays import Images

DIM = 8


def images(count: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).normal(size=(count, 1, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five products; what the fourth takes has one channel a hundred times as large as others."""
    generator = torch.Generator().manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        uneven := nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        next_one := nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, DIM),
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    with torch.no_grad():
        uneven.weight[0] *= 100
        next_one.weight[:, 0] /= 100
    path = tmp_path_factory.mktemp("sensitivity") / "fp32.onnx"
    export_fp32(network, size=16, channels=1, dim=DIM, path=path)
    return path


def test_the_layer_whose_input_is_uneven_is_ranked_first(fp32: Path) -> None:
    calibration = images(LEAST_DRAWINGS)
    recipe = Recipe(calibration="min-max", float_outputs=("Conv",))
    ranked = rank_layers(fp32, recipe, calibration, Histograms(fp32, calibration))
    products = [n.name for n in onnx.load(fp32).graph.node if n.op_type in ("Conv", "Gemm")]
    assert {name for name, _ in ranked} == set(products[1:-1]), "the ends are in float"
    assert ranked[0][0] == products[3]
    losses = [one for _, one in ranked]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 2 * losses[1]


def test_what_is_in_float_already_is_not_ranked(fp32: Path) -> None:
    calibration = images(LEAST_DRAWINGS)
    histograms = Histograms(fp32, calibration)
    [first, *rest] = rank_layers(fp32, Recipe(), calibration, histograms)
    again = rank_layers(fp32, Recipe(float_nodes=(first[0],)), calibration, histograms)
    assert {name for name, _ in again} == {name for name, _ in rest}


def test_the_loss_is_one_minus_the_mean_cosine(fp32: Path, tmp_path: Path) -> None:
    shown = images(20, seed=2)
    reference = embedded(runner(fp32), shown)
    assert loss(fp32, reference, shown) == pytest.approx(0.0, abs=1e-6)
    assert loss(fp32, -reference, shown) == pytest.approx(2.0, abs=1e-6)
    quantize_int8(fp32, tmp_path / "int8.onnx", images(LEAST_DRAWINGS), Recipe())
    run = runner(tmp_path / "int8.onnx")
    cosines = [float(run(shown[i : i + 1])[0] @ reference[i]) for i in range(20)]
    assert loss(tmp_path / "int8.onnx", reference, shown) == pytest.approx(
        1 - np.mean(cosines), abs=1e-5
    )


def test_some_drawings_are_spread_over_all() -> None:
    every = images(300)
    shown = some(every)
    assert len(shown) == DRAWINGS
    assert np.array_equal(shown[0], every[0])
    assert np.array_equal(shown[-1], every[-1])
    assert len(some(every[:10])) == 10
