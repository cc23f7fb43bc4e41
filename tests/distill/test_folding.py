"""Batch norms are found by running a network, and folded without changing what it computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from distill.config import TrainConfig
from distill.folding import find_layers, fold_norms
from distill.model import Student, make_student
from edge_retrieval.errors import BundleError

EXAMPLE = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
BACKBONES = {
    "mobilenetv3_small_100": "avg",
    "mobilenetv4_conv_small": "avg",
    "resnet18": "gem",
    "lcnet_050": "avg",
    "vit_tiny_patch16_224": "avg",
    "test_efficientnet": "avg",
}


def lived_in(config: TrainConfig) -> Student:
    """Return a network whose batch norms hold numbers of their own, as after a training."""
    student = make_student(config)
    generator = torch.Generator().manual_seed(1)
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            for tensor in (module.weight, module.running_var):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 1.5, generator=generator)
            for tensor in (module.bias, module.running_mean):
                assert tensor is not None
                nn.init.normal_(tensor, 0, 0.2, generator=generator)
    return student.eval()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_folded_network_computes_the_same_from_weights_of_the_same_names(backbone: str) -> None:
    config = TrainConfig(backbone=backbone, size=64, dim=16, pool=BACKBONES[backbone])
    student = lived_in(config)
    with torch.no_grad():
        before = student(EXAMPLE)
    names = list(student.state_dict())
    layers = find_layers(student, EXAMPLE)
    assert fold_norms(student, layers, EXAMPLE) < 1e-5
    again = Student(config).eval()
    again.load_state_dict(student.state_dict())
    assert list(student.state_dict()) == names
    with torch.no_grad():
        assert torch.allclose(again(EXAMPLE), before, atol=1e-5)
    norms = {module for module in student.modules() if isinstance(module, nn.BatchNorm2d)}
    assert norms | {student.norm} == {layer.norm for layer in layers} - {None}
    for layer in layers:
        if layer.norm is not None:
            assert torch.all(layer.norm.weight == 1)  # type: ignore[arg-type]
            assert torch.all(layer.norm.running_mean == 0)  # type: ignore[arg-type]


def test_layers_come_in_the_order_of_their_calls_and_know_their_relu() -> None:
    student = make_student(TrainConfig(backbone="resnet18", size=64, dim=16, pool="gem"))
    layers = find_layers(student, EXAMPLE)
    body: nn.Module = student.backbone
    first = body.get_submodule("layer1.0")
    assert [layer.product for layer in layers[:3]] == [body.conv1, first.conv1, first.conv2]
    assert [layer.rectified for layer in layers[:3]] == [True, True, False]
    assert layers[-1].product is student.projection
    assert layers[-1].norm is student.norm


class Forked(nn.Module):
    """A convolution that two read: its batch norm cannot be folded away."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        nn.init.constant_(self.norm.weight, 3.0)

    def forward(self, images: Tensor) -> Tensor:
        made = self.convolution(images)
        both: Tensor = self.norm(made) + made
        return both


def test_a_convolution_that_another_reads_beside_its_norm_is_refused() -> None:
    model = Forked()
    with pytest.raises(BundleError, match="folding the batch norms changes") as caught:
        fold_norms(model, find_layers(model, EXAMPLE), EXAMPLE)
    assert "--qat" in caught.value.hint


class Twice(nn.Module):
    """A layer that is called twice has no one range of inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.last = nn.Linear(64, 64, bias=False), nn.Linear(64, 2)
        self.norm = nn.BatchNorm1d(2, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        rows: Tensor = self.shared(self.shared(images.mean((1, 2))))
        return self.norm(self.last(rows))  # type: ignore[no-any-return]


def test_a_layer_that_is_called_twice_is_left_out_and_a_norm_without_weights_is_folded() -> None:
    model = Twice().eval()
    layers = find_layers(model, EXAMPLE)
    assert [layer.product for layer in layers] == [model.last]
    assert model.norm.running_mean is not None
    model.norm.running_mean.fill_(0.3)
    assert fold_norms(model, layers, EXAMPLE) < 1e-5
