"""Fake quantization rounds as INT8 does, lets gradients through, and leaves without a trace."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.config import TrainConfig
from distill.fake_quant import Activation, FakeQuantized, Rounded
from distill.folding import find_layers, fold_norms
from distill.model import Student, make_student

EXAMPLE = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def quantized(backbone: str, *, products: bool = True) -> tuple[Student, FakeQuantized]:
    student = make_student(TrainConfig(backbone=backbone, size=32, dim=8)).eval()
    layers = find_layers(student, EXAMPLE)
    fold_norms(student, layers, EXAMPLE)
    fake = FakeQuantized(student, layers, per_channel=True, reduce_range=True, products=products)
    fake.calibrate([EXAMPLE, EXAMPLE[:2]], 100.0)
    return student, fake


@pytest.mark.parametrize(("per_channel", "reduce_range"), [(True, True), (False, False)])
def test_a_rounded_weight_is_the_nearest_number_of_its_grid(
    per_channel: bool, reduce_range: bool
) -> None:
    weight = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    found = Rounded(per_channel=per_channel, reduce_range=reduce_range)(weight)
    most = 64 if reduce_range else 127
    for row, expected in zip(found, weight, strict=True):
        step = float((expected if per_channel else weight).abs().max()) / most
        for one, other in zip(row.flatten().tolist(), expected.flatten().tolist(), strict=True):
            assert one == pytest.approx(round(other / step) * step, abs=1e-6)
            assert abs(one / step) <= most + 1e-4


def test_a_weight_of_zeros_stays_zeros() -> None:
    for per_channel in (True, False):
        found = Rounded(per_channel=per_channel, reduce_range=True)(torch.zeros(2, 3))
        assert torch.equal(found, torch.zeros(2, 3))


def settled(values: Tensor, *, rectified: bool = False, percentile: float = 100.0) -> Activation:
    activation = Activation(rectified=rectified)
    activation.watch()
    assert activation(values) is values
    activation.settle(percentile)
    return activation


def test_an_activation_has_256_levels_zero_among_them_within_the_range_seen() -> None:
    activation = settled(torch.linspace(-1.0, 3.0, 5000))
    found = activation(torch.linspace(-2.0, 4.0, 5000))
    assert len(torch.unique(found)) == 256
    assert (float(found.min()), float(found.max())) == pytest.approx((-1.0, 3.0), abs=0.01)
    assert float(activation(torch.zeros(1))) == 0.0


def test_a_range_always_holds_zero_and_leaves_out_what_a_relu_takes_away() -> None:
    assert settled(torch.linspace(2.0, 3.0, 100)).low == 0.0
    assert settled(torch.linspace(-3.0, -2.0, 100)).high == 0.0
    activation = settled(torch.linspace(-3.0, 3.0, 100), rectified=True)
    assert torch.equal(activation(torch.tensor([-3.0, -0.1])), torch.zeros(2))


def test_a_percentile_leaves_out_the_same_share_at_either_end() -> None:
    activation = settled(torch.linspace(-100.0, 100.0, 10_001), percentile=90.0)
    assert (activation.low, activation.high) == pytest.approx((-90.0, 90.0), abs=0.5)


def test_a_gradient_passes_the_rounding_and_stops_where_a_value_is_clipped() -> None:
    activation = settled(torch.linspace(-1.0, 1.0, 100))
    values = torch.tensor([-5.0, -0.3, 0.0, 0.7, 5.0], requires_grad=True)
    activation(values).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_activations_are_rounded_as_torchs_own_fake_quantization_does() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, 5, 6, generator=generator) * 2
    activation = settled(torch.linspace(-1.5, 2.5, 1000))
    scale = (activation.high - activation.low) / 255
    ours, theirs = (values.clone().requires_grad_() for _ in range(2))
    found = activation(ours)
    expected = torch.fake_quantize_per_tensor_affine(
        theirs, scale, round(-activation.low / scale), 0, 255
    )
    assert torch.allclose(found, expected, atol=1e-6)
    weights = torch.randn(values.shape, generator=generator)
    for result in (found, expected):
        (result * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert ours.grad is not None and theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_vit"])
def test_a_network_under_fake_quantization_is_near_itself_and_every_layer_learns(
    backbone: str,
) -> None:
    _, fake = quantized(backbone)
    plain = make_student(TrainConfig(backbone=backbone, size=32, dim=8)).eval()
    found = fake(EXAMPLE)
    with torch.no_grad():
        expected = plain(EXAMPLE)
    assert not torch.equal(found, expected)
    assert functional.cosine_similarity(found, expected).min() > 0.8
    found.square().mul(torch.arange(8.0)).sum().backward()  # type: ignore[no-untyped-call]
    for layer in fake.layers:
        parts: Any = layer.product.parametrizations
        assert parts.weight.original.grad.abs().sum() > 0


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_vit"])
def test_what_is_removed_leaves_the_weights_as_they_were_and_nothing_else(backbone: str) -> None:
    student = make_student(TrainConfig(backbone=backbone, size=32, dim=8)).eval()
    layers = find_layers(student, EXAMPLE)
    before = copy.deepcopy(student.state_dict())
    with torch.no_grad():
        expected = student(EXAMPLE)
    fake = FakeQuantized(student, layers, per_channel=True, reduce_range=True, products=True)
    fake.calibrate([EXAMPLE], 99.99)
    fake.remove()
    assert set(student.state_dict()) == set(before)
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, before[name])
    with torch.no_grad():
        assert torch.equal(student(EXAMPLE), expected)
    for module in student.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
        assert "Parametrized" not in type(module).__name__


def test_attention_is_quantized_only_if_asked_for() -> None:
    with_products, without = (quantized("test_vit", products=wanted)[1] for wanted in (True, False))
    names = [name for name, _ in with_products.model.named_modules()]
    blocks = sum(name.endswith(".attn") for name in names)
    assert len(with_products.activations) == len(without.activations) + 5 * blocks > 5
    assert not torch.equal(with_products(EXAMPLE), without(EXAMPLE))


class Attending(nn.Module):
    """Attention with a mask and a scale of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))

    def forward(self, rows: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(
            rows, rows.flip(-1), rows * 2, self.mask, scale=0.7
        )


def test_attention_in_parts_is_torchs_own() -> None:
    rows = torch.randn(2, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    model = Attending()
    fake = FakeQuantized(model, [], per_channel=True, reduce_range=True, products=True)
    watched = fake(rows)  # no range is known yet: nothing is rounded
    assert np.allclose(watched, model(rows), atol=1e-5)
    fake.calibrate([rows], 100.0)
    rounded = fake(rows)
    assert not np.allclose(rounded, model(rows), atol=1e-5)
    assert np.allclose(rounded, model(rows), atol=0.1)
