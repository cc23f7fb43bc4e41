"""Weights from files, and batch norms that were folded away."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from distill.config import TrainConfig
from distill.model import make_features, make_student
from distill.weights import has_folded_norms, read_weights, unfold_norms
from edge_retrieval.errors import ConfigError

TINY = TrainConfig(backbone="test_efficientnet", size=32, dim=16)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small wait for threads far longer than they compute, on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawings(count: int, channels: int = 1, *, side: int = 32, seed: int = 0) -> Tensor:
    """White squares with a few black lines, -1 to 1."""
    rng = np.random.default_rng(seed)
    images = np.ones((count, 1, side, side), np.float32)
    for image in images:
        for _ in range(4):
            place, low = rng.integers(side), rng.integers(side // 2)
            image[0, place, low : low + side // 2] = -1
            image[0, low : low + side // 2, place] = -1
    return torch.from_numpy(images).repeat(1, channels, 1, 1)


def folded(channels: int = 1) -> nn.Module:
    """A network as after folding: identity statistics, all else in weights and biases."""
    model = make_student(TrainConfig(backbone="test_efficientnet", size=32, channels=channels))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator))
    return model.backbone.eval()


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def in_train_mode(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = copy.deepcopy(model).train()(images)
    return found


def save_pt(weights: object, file: Path) -> Path:
    torch.save(weights, file)
    return file


def test_folded_norms_are_told_from_new_and_from_trained_ones() -> None:
    new = make_student(TINY).backbone
    assert not has_folded_norms(new)
    model = folded()
    assert has_folded_norms(model)
    with torch.no_grad():
        model.train()(drawings(8))  # its running statistics move
    assert not has_folded_norms(model)
    assert not has_folded_norms(make_student(TrainConfig(backbone="test_vit", size=32)).backbone)


def test_unfolded_norms_are_the_same_function_and_now_in_train_mode_too() -> None:
    model, images = folded(), drawings(48)
    with torch.no_grad():
        expected = model(images)
        before = in_train_mode(model, images)
        unfold_norms(model, images.split(20))  # the last is smaller
        found = model(images)
    assert not has_folded_norms(model)
    assert torch.allclose(found, expected, atol=1e-4)
    after = in_train_mode(model, images)
    assert relative(after, expected) < 1e-2  # the very batch that was measured
    assert relative(before, expected) > 0.3


def test_statistics_are_those_of_all_batches_together() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    images = 1000 + drawings(13)  # far from 0: a difference of squares would lose all digits
    with torch.no_grad():
        seen = model[0](images).double()
    unfold_norms(model, [images[:5], images[5:6], images[6:]])
    norm = model[1]
    for channel in range(3):
        values = seen[:, channel].flatten().tolist()
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        assert norm.running_mean[channel].item() == pytest.approx(mean, rel=1e-5)
        assert norm.running_var[channel].item() == pytest.approx(variance, rel=1e-2)


def test_a_channel_that_never_changes_stays_finite_and_the_same() -> None:
    model, images = folded(), drawings(32)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight[0] = 0
        expected = model(images)
        unfold_norms(model, [images])
        found = model(images)
    assert torch.allclose(found, expected, atol=1e-4)
    trained = copy.deepcopy(model).train()
    other = drawings(32, seed=5)
    made = trained(other)
    made.square().mean().backward()
    gradients = [p.grad for p in trained.parameters() if p.grad is not None]
    assert made.isfinite().all() and all(g.isfinite().all() for g in gradients)
    with torch.no_grad():
        assert relative(made, model(other)) < 0.5


def test_unfolding_leaves_the_mode_and_no_hooks() -> None:
    model = folded().train()
    unfold_norms(model, [drawings(4)])
    assert model.training
    before = copy.deepcopy(model.eval().state_dict())
    with torch.no_grad():
        model(drawings(4, seed=2))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_state_dict_in_half_precision_with_a_classifier_is_loaded(tmp_path: Path) -> None:
    whole = make_student(TINY).backbone.state_dict()
    half = {k: v.half() if v.is_floating_point() else v for k, v in whole.items()}
    half["classifier.weight"] = torch.zeros(1001, 256).half()
    half["classifier.bias"] = torch.zeros(1001).half()
    for number, saved in enumerate((half, {"state_dict": half})):
        file = save_pt(saved, tmp_path / f"{number}.pt")
        config = TrainConfig(backbone="test_efficientnet", size=32, seed=3, weights=str(file))
        for model in (make_student(config).backbone, make_features(config)):
            for name, value in model.state_dict().items():
                assert value.dtype == whole[name].dtype
                assert torch.equal(value, half[name].to(value.dtype))


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_resnet", "test_vit"])
def test_grey_drawings_give_the_same_with_one_channel_as_with_three(
    backbone: str, tmp_path: Path
) -> None:
    made = {c: TrainConfig(backbone=backbone, size=32, channels=c) for c in (1, 3)}
    for trained, used in ((3, 1), (1, 3)):
        first = make_student(made[trained]).backbone.eval()
        file = save_pt(first.state_dict(), tmp_path / f"{trained}.pt")
        config = TrainConfig(backbone=backbone, size=32, channels=used, weights=str(file))
        other = make_student(config).backbone.eval()
        with torch.no_grad():
            expected, found = first(drawings(3, trained)), other(drawings(3, used))
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("as_run", [False, True])
def test_position_embeddings_of_another_size_are_resampled(as_run: bool, tmp_path: Path) -> None:
    first = make_student(TrainConfig(backbone="test_vit", size=32, dim=8))
    weights = first.state_dict() if as_run else first.backbone.state_dict()
    file = tmp_path / "vit.safetensors"
    save_file({k: v.contiguous() for k, v in weights.items()}, file)
    config = TrainConfig(backbone="test_vit", size=64, dim=8, weights=str(file))
    later = make_student(config)
    old, new = (s.backbone.get_parameter("pos_embed") for s in (first, later))
    assert old.shape[1] < new.shape[1]
    assert torch.equal(old[:, 0], new[:, 0])  # the class token's has no place
    assert torch.allclose(old[:, 1:].mean(), new[:, 1:].mean(), atol=1e-3)
    assert torch.equal(
        first.backbone.get_parameter("blocks.0.attn.qkv.weight"),
        later.backbone.get_parameter("blocks.0.attn.qkv.weight"),
    )
    assert later(drawings(2, side=64)).shape == (2, 8)


def test_gem_keeps_its_power_where_the_weights_know_none(tmp_path: Path) -> None:
    file = save_pt(make_student(TINY).state_dict(), tmp_path / "w.pt")
    config = TrainConfig(
        backbone="test_efficientnet", size=32, dim=16, pool="gem", weights=str(file)
    )
    assert make_student(config).backbone.get_parameter("global_pool.p").item() == 3


def test_a_checkpoint_of_another_backbone_is_told_in_one_line(tmp_path: Path) -> None:
    run = save_pt(make_student(TINY).state_dict(), tmp_path / "run.pt")
    bare = save_pt(make_student(TINY).backbone.state_dict(), tmp_path / "bare.pt")
    for file in (run, bare):
        with pytest.raises(ConfigError, match="of another backbone than test_resnet") as caught:
            make_student(TrainConfig(backbone="test_resnet", size=32, dim=16, weights=str(file)))
        assert "conv1.0.weight" in str(caught.value) and "\n" not in str(caught.value)
    wide = TrainConfig(backbone="test_efficientnet", size=32, dim=32, weights=str(run))
    with pytest.raises(ConfigError, match=r"another dim: 'projection.weight' is \(16, 256\)"):
        make_student(wide)
    narrow = {k: v for k, v in torch.load(bare).items() if k != "bn2.bias"}
    narrow["conv_stem.weight"] = torch.zeros(2, 1, 3, 3)
    file = save_pt(narrow, tmp_path / "cut.pt")
    with pytest.raises(ConfigError, match=r"lacks 'bn2.bias', and 1 more"):
        make_student(TrainConfig(backbone="test_efficientnet", size=32, weights=str(file)))


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="imagenet") as caught:
        read_weights(Path("imagenet"))
    assert '"timm"' in caught.value.hint
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("no weights", encoding="utf-8")
    save_pt([1, 2], tmp_path / "list.pt")
    save_pt({"epoch": 3}, tmp_path / "other.pt")
    save_pt(Path("x"), tmp_path / "object.pt")  # would run code: weights_only refuses it
    (tmp_path / "text.safetensors").write_text("no weights", encoding="utf-8")
    for file in tmp_path.iterdir():
        with pytest.raises(ConfigError, match=file.name):
            read_weights(file)


REAL = {
    "mobilenetv1_050": ("mobilenetv1_100", 'channel_multiplier = 0.5, pad_type = "same"'),
    "mobilenetv2_100": ("mobilenetv2_100", 'pad_type = "same"'),
}


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_imagenet_weights_without_norms_are_mended_on_real_drawings(
    name: str, real_data: Path
) -> None:
    backbone, args = REAL[name]
    file = real_data / "weights" / f"{name}_imagenet.fp16.pt"
    config = TrainConfig(backbone=backbone, backbone_args=args, size=64, weights=str(file))
    model = make_features(config)
    sheets = sorted((real_data / "uspto-2007").rglob("*.png"))[:24]
    squares = [Image.open(sheet).convert("L").resize((64, 64)) for sheet in sheets]
    images = torch.from_numpy(np.stack(squares)[:, None].astype(np.float32) / 127.5 - 1)
    assert has_folded_norms(model)
    with torch.no_grad():
        expected = model(images)
        before = in_train_mode(model, images)
        unfold_norms(model, images.split(16))
        assert torch.allclose(model(images), expected, atol=1e-3)
    after = in_train_mode(model, images)
    assert relative(after, expected) < 0.02
    assert relative(before, expected) > 0.5
