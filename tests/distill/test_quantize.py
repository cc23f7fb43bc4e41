"""INT8 stays near FP32, is calibrated on every class, and is quiet about it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from distill.onnx_file import export_fp32, runner
from distill.quantize import (
    LEAST_DRAWINGS,
    PRODUCTS,
    Recipe,
    choose_calibration,
    quantize_int8,
    warn_of_few,
)
from distill.ranges import METHODS, Histograms
from edge_retrieval.arrays import Images
from edge_retrieval.bundle import Bundle, save_bundle
from edge_retrieval.drawing import Preprocessing, fit_batch
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import BundleError, ConfigError

PREPROCESSING = Preprocessing(size=32)
DIM = 16


def drawings(count: int, seed: int = 0) -> Images:
    """Random polylines."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(seed)
    figures = []
    for _ in range(count):
        page = Image.new("L", (30, 30), 255)
        points = [tuple(point) for point in rng.integers(0, 30, (5, 2)).tolist()]
        ImageDraw.Draw(page).line(points, fill=0, width=2)
        figures.append(np.asarray(page))
    return fit_batch(figures, PREPROCESSING)


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with what MobileNet is made of, as ONNX."""
    generator = torch.Generator().manual_seed(5)
    network = nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=2, padding=1),
        nn.BatchNorm2d(12, momentum=None),
        nn.Hardswish(),
        nn.Conv2d(12, 12, 3, stride=2, padding=1, groups=12),
        nn.ReLU(),
        nn.Conv2d(12, 24, 1),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, DIM),
        norm := nn.BatchNorm1d(DIM, momentum=None),
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    nn.init.ones_(norm.weight)
    nn.init.zeros_(norm.bias)
    # Without the statistics of drawings all embeddings are almost equal, and any INT8 looks right.
    network.train()(torch.from_numpy(drawings(200, seed=9)))
    path = tmp_path_factory.mktemp("fp32") / "fp32.onnx"
    assert export_fp32(network, size=32, channels=1, dim=DIM, path=path) < 1e-5
    return path


def bundle(folder: Path, model: Path) -> Bundle:
    return save_bundle(
        folder,
        name="made",
        precision="fp32",
        model=model,
        preprocessing=PREPROCESSING,
        levels=("design",),
        golden_images=np.full((1, 4, 4), 255, np.uint8),
        golden_embeddings=np.eye(DIM, dtype=np.float32)[:1],
        golden_tolerance=-1.0,
        provenance={},
    )


@pytest.fixture(scope="module")
def quantized(fp32: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    quantize_int8(fp32, path, drawings(LEAST_DRAWINGS), Recipe())
    return path


def test_int8_is_near_fp32_where_drawings_are_far_from_each_other(
    fp32: Path, quantized: Path, tmp_path: Path
) -> None:
    first = load_encoder(bundle(tmp_path / "a", fp32), threads=1)
    second = load_encoder(bundle(tmp_path / "b", quantized), threads=1)
    shown = drawings(60, seed=1)
    rows, found = first.embed(shown), second.embed(shown)
    assert abs((rows @ rows.T).mean()) < 0.1  # the cosine that a wrong network would have
    assert (rows * found).sum(axis=1).mean() > 0.95


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def weights_of(path: Path) -> list[NDArray[Any]]:
    """Return what is dequantized and no scalar: weights, and biases in 32 bits."""
    found = tensors(path)
    nodes = onnx.load(path).graph.node
    taken = (found.get(node.input[0]) for node in nodes if node.op_type == "DequantizeLinear")
    return [values for values in taken if values is not None]


def test_weights_and_activations_are_8_bit(quantized: Path) -> None:
    weights = weights_of(quantized)
    assert {str(values.dtype) for values in weights} == {"int8", "int32"}
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(quantized).graph.node)
    for values in weights:
        if values.dtype == np.int8:
            assert abs(values.astype(int)).max() <= 64, "reduce_range: 7 bits"


def test_the_kinds_of_the_recipe_are_those_of_the_file(fp32: Path, tmp_path: Path) -> None:
    recipe = Recipe(activations="s8", weights="u8", reduce_range=False)
    quantize_int8(fp32, tmp_path / "int8.onnx", drawings(LEAST_DRAWINGS), recipe)
    assert {str(v.dtype) for v in weights_of(tmp_path / "int8.onnx")} == {"uint8", "int32"}
    found = tensors(tmp_path / "int8.onnx")
    nodes = onnx.load(tmp_path / "int8.onnx").graph.node
    zeros = [found[node.input[2]] for node in nodes if node.op_type == "QuantizeLinear"]
    assert {str(zero.dtype) for zero in zeros} == {"int8"}
    assert not any(zero.any() for zero in zeros), "symmetric"


def count(path: Path, kind: str) -> int:
    return sum(node.op_type == kind for node in onnx.load(path).graph.node)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(float_outputs=PRODUCTS),
        Recipe(float_bias=True),
        Recipe(float_ends=False, float_nodes=("node_conv2d_1",)),
    ],
    ids=str,
)
def test_what_a_recipe_leaves_in_float_is_not_quantized(
    recipe: Recipe, fp32: Path, quantized: Path, tmp_path: Path
) -> None:
    [middle] = [node.name for node in onnx.load(fp32).graph.node if node.op_type == "Conv"][1:-1]
    if recipe.float_nodes:
        recipe = replace(recipe, float_nodes=(middle,))
        whole = replace(recipe, float_nodes=())
        quantize_int8(fp32, tmp_path / "whole.onnx", drawings(LEAST_DRAWINGS), whole)
        quantized = tmp_path / "whole.onnx"
    quantize_int8(fp32, tmp_path / "int8.onnx", drawings(LEAST_DRAWINGS), recipe)
    assert count(tmp_path / "int8.onnx", "DequantizeLinear") < count(quantized, "DequantizeLinear")


def test_a_pooled_convolution_stays_in_float_if_asked(tmp_path: Path) -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.Conv2d(8, 8, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(8, 16, 1),
        nn.Flatten(),
        nn.Linear(16, DIM),
    )
    source = tmp_path / "fp32.onnx"
    export_fp32(network, size=32, channels=1, dim=DIM, path=source)
    found = []
    for pooled in (False, True):
        quantize_int8(
            source, tmp_path / "x.onnx", drawings(LEAST_DRAWINGS), Recipe(float_pooled=pooled)
        )
        found.append(len([v for v in weights_of(tmp_path / "x.onnx") if v.dtype == np.int8]))
    assert found == [2, 1]


def test_products_of_two_activations_stay_in_float_if_asked(tmp_path: Path) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.out = nn.Conv2d(1, 16, 8, stride=8), nn.Linear(16, DIM)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = self.tokens(images).flatten(2)  # (N, 16, 16)
            mixed = (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens
            rows: torch.Tensor = self.out(mixed.mean(2))
            return rows

    source = tmp_path / "fp32.onnx"
    export_fp32(Attention(), size=32, channels=1, dim=DIM, path=source)
    whole = Recipe(float_ends=False, float_outputs=PRODUCTS)
    for attention, quantized in ((True, 5), (False, 2)):
        recipe = replace(whole, attention=attention)
        quantize_int8(source, tmp_path / "x.onnx", drawings(LEAST_DRAWINGS), recipe)
        assert count(tmp_path / "x.onnx", "QuantizeLinear") == quantized


def test_what_keeps_a_divisor_from_zero_stays_in_float(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.next = nn.Conv2d(1, 8, 3, stride=2), nn.Conv2d(8, 8, 3, stride=2)
            self.out = nn.Linear(8, DIM)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = nn.functional.relu6(self.next(self.first(images)))
            most = maps.amax((1, 2, 3), keepdim=True).clamp(min=1e-6)
            rows: torch.Tensor = self.out((maps / most).mean((2, 3)))
            return rows

    source, target = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    export_fp32(Scaled(), size=32, channels=1, dim=DIM, path=source)
    recipe = Recipe(operators=(*PRODUCTS, "Clip"))
    shown = drawings(LEAST_DRAWINGS)
    quantize_int8(source, target, shown, recipe)
    graph = onnx.load(target).graph
    maker = {name: node for node in graph.node for name in node.output}
    found = tensors(target)
    clips = [node for node in graph.node if node.op_type == "Clip"]
    guards = [node for node in clips if found[node.input[1]] > 0]
    assert len(guards) == 2, "of the maps, and of the length"
    for node in guards:
        assert maker[node.input[0]].op_type != "DequantizeLinear"
    assert np.isfinite(runner(target)(np.full_like(shown[:3], 1.0))).all()


def test_histograms_are_collected_once_for_all_recipes(
    fp32: Path, quantized: Path, tmp_path: Path
) -> None:
    images = drawings(LEAST_DRAWINGS)
    histograms = Histograms(fp32, images)
    quantize_int8(fp32, tmp_path / "first.onnx", images, Recipe(), histograms=histograms)
    assert (tmp_path / "first.onnx").read_bytes() == quantized.read_bytes()
    known = dict(histograms.of(()), **histograms._known)
    quantize_int8(
        fp32, tmp_path / "next.onnx", images, Recipe(calibration="error"), histograms=histograms
    )
    assert all(histograms._known[name] is one for name, one in known.items())


def test_both_runtimes_run_one_file_alike(quantized: Path, fp32: Path, tmp_path: Path) -> None:
    packed = bundle(tmp_path / "b", quantized)
    shown = drawings(40, seed=3)
    first = load_encoder(packed, backend="onnx", threads=1).embed(shown)
    second = load_encoder(packed, backend="openvino", threads=1).embed(shown)
    assert (first * second).sum(axis=1).min() > 0.98


def test_few_drawings_are_warned_of() -> None:
    assert warn_of_few(300) is None
    assert "only 299 drawings" in (warn_of_few(299) or "")


def test_a_row_of_an_int8_batch_equals_a_batch_of_one(quantized: Path, tmp_path: Path) -> None:
    encoder = load_encoder(bundle(tmp_path / "b", quantized), threads=2)
    batch = drawings(11, seed=2)
    alone = np.concatenate([encoder.embed(batch[i : i + 1]) for i in range(len(batch))])
    assert np.allclose(encoder.embed(batch), alone, atol=1e-5)


def test_equal_recipes_give_equal_bytes(fp32: Path, quantized: Path, tmp_path: Path) -> None:
    quantize_int8(fp32, tmp_path / "again.onnx", drawings(LEAST_DRAWINGS), Recipe())
    assert (tmp_path / "again.onnx").read_bytes() == quantized.read_bytes()


@pytest.mark.parametrize(
    "recipe",
    [
        *(Recipe(calibration=name) for name in METHODS),
        Recipe(per_channel=False),
        Recipe(float_ends=False),
        Recipe(operators=()),
        Recipe(operators=("Conv", "Gemm")),
    ],
    ids=str,
)
def test_every_recipe_gives_a_network_that_runs(recipe: Recipe, fp32: Path, tmp_path: Path) -> None:
    images = drawings(LEAST_DRAWINGS + 3)  # the last chunk is a part of one
    quantize_int8(fp32, tmp_path / "int8.onnx", images, recipe)
    onnx.checker.check_model(onnx.load(tmp_path / "int8.onnx"), full_check=True)
    first = load_encoder(bundle(tmp_path / "a", fp32), threads=1)
    second = load_encoder(bundle(tmp_path / "b", tmp_path / "int8.onnx"), threads=1)
    # Coarse recipes lose much on random weights: the last norm magnifies what was rounded.
    assert (first.embed(images[:20]) * second.embed(images[:20])).sum(axis=1).mean() > 0.5


def test_nothing_is_printed_and_the_root_logger_is_left_alone(
    fp32: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), list(root.filters), root.level)
    quantize_int8(fp32, tmp_path / "int8.onnx", drawings(LEAST_DRAWINGS), Recipe())
    assert (list(root.handlers), list(root.filters), root.level) == before
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_too_few_drawings_are_refused(fp32: Path, tmp_path: Path) -> None:
    few = drawings(LEAST_DRAWINGS - 1)
    with pytest.raises(ConfigError, match="too few to calibrate"):
        quantize_int8(fp32, tmp_path / "int8.onnx", few, Recipe())
    with pytest.raises(ConfigError, match="too few to calibrate") as caught:
        choose_calibration(np.zeros(LEAST_DRAWINGS - 1, np.int32), Recipe())
    assert "without --int8" in caught.value.hint


def test_a_network_that_cannot_be_quantized_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no network")
    with pytest.raises(BundleError, match=r"no\.onnx"):
        quantize_int8(tmp_path / "no.onnx", tmp_path / "x", drawings(LEAST_DRAWINGS), Recipe())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"calibration": "magic"},
        {"activations": "s4"},
        {"weights": "fp8"},
        {"percentile": 0.0},
        {"percentile": 101.0},
        {"drawings": 3},
    ],
    ids=str,
)
def test_a_recipe_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(Recipe(), **wrong)  # type: ignore[arg-type]
    assert caught.value.hint


def test_calibration_shows_every_class_as_evenly_as_it_can() -> None:
    labels = np.repeat(np.arange(4, dtype=np.int32), [500, 200, 60, 3])
    np.random.default_rng(0).shuffle(labels)
    rows = choose_calibration(labels, Recipe(drawings=203))
    assert len(set(rows.tolist())) == 203
    counts = np.bincount(labels[rows])
    assert counts.sum() == 203
    assert counts[3] == 3
    assert counts[2] == 60
    assert abs(int(counts[0]) - int(counts[1])) <= 1


def test_calibration_is_decided_by_its_seed() -> None:
    labels = np.zeros(1000, np.int32)
    first = choose_calibration(labels, Recipe(seed=1))
    assert len(first) == 300
    assert np.array_equal(first, choose_calibration(labels, Recipe(seed=1)))
    assert not np.array_equal(first, choose_calibration(labels, Recipe(seed=2)))
    assert len(choose_calibration(labels[:120], Recipe())) == 120
