"""The student and the encoder made of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from distill import backbone as backbone_module
from distill._timm import timm
from distill.backbone import make_backbone
from distill.config import TrainConfig
from distill.export import export_fp32
from distill.model import (
    TorchEncoder,
    load_student,
    make_features,
    make_student,
    preprocessing_of,
)
from distill.pooling import GeM, Levels, network_of
from edge_retrieval.errors import ConfigError

TINY = TrainConfig(backbone="test_efficientnet", size=32, dim=16)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small wait for threads far longer than they compute, on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(count: int, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, channels, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_embeddings_are_rows_of_length_one_however_many(channels: int) -> None:
    config = TrainConfig(backbone="test_efficientnet", size=32, dim=16, channels=channels)
    encoder = TorchEncoder(make_student(config), preprocessing_of(config), batch=3)
    rows = encoder.embed(images(7, channels))
    assert rows.shape == (7, 16) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert encoder.embed(images(0, channels)).shape == (0, 16)


def test_a_row_depends_on_its_figure_alone() -> None:
    encoder = TorchEncoder(make_student(TINY), preprocessing_of(TINY))
    together = encoder.embed(images(5))
    alone = np.concatenate([encoder.embed(image[None]) for image in images(5)])
    assert np.allclose(together, alone, atol=1e-5)


def test_embedding_leaves_a_training_network_in_training() -> None:
    student = make_student(TINY).train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    TorchEncoder(student, preprocessing_of(TINY)).embed(images(4))
    assert student.training
    assert all(torch.equal(before[name], v) for name, v in student.state_dict().items())


def test_equal_configs_start_equal_and_leave_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, second = make_student(TINY), make_student(TINY)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = make_student(TrainConfig(backbone="test_efficientnet", size=32, dim=16, seed=1))
    print_of = [TorchEncoder(s, preprocessing_of(TINY)).fingerprint for s in (first, second, other)]
    assert print_of[0] == print_of[1] != print_of[2]


@pytest.mark.parametrize("channels, size, pool", [(1, 128, "gem"), (3, 384, "avg")])
@pytest.mark.parametrize(
    "name",
    ["lcnet_050", "mobilenetv3_small_100", "mobilenetv4_conv_small", "resnet18",
     "vit_tiny_patch16_224"],
)  # fmt: skip
def test_every_backbone_that_we_speak_of_takes_all_sizes_channels_and_poolings(
    name: str, channels: int, size: int, pool: str
) -> None:
    config = TrainConfig(backbone=name, size=size, channels=channels, pool=pool, dim=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        student = make_student(config).eval()
    with torch.no_grad():
        rows = student(torch.randn(2, channels, size, size))
    assert rows.shape == (2, 8)
    assert torch.allclose(rows.norm(dim=1), torch.ones(2), atol=1e-5)


@pytest.mark.parametrize(
    "wrong, near",
    [("mobilenetv3_smal_100", "mobilenetv3_small_100"), ("resnet_18", "resnet18"),
     ("##", "mobilenetv3_small_100"), ("hf-hub:someone/model", "")],
)  # fmt: skip
def test_an_unknown_backbone_is_told_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(ConfigError, match=wrong) as caught:
        make_student(TrainConfig(backbone=wrong))
    assert near in caught.value.hint


def test_an_unknown_tag_of_a_backbone_is_told() -> None:
    with pytest.raises(ConfigError, match="nope"):
        make_student(TrainConfig(backbone="test_efficientnet.nope", size=32))


def test_arguments_reach_the_network_of_timm() -> None:
    wide = make_student(TrainConfig(backbone="mobilenetv1_100", size=32))
    narrow = make_student(
        TrainConfig(
            backbone="mobilenetv1_100",
            backbone_args='channel_multiplier = 0.25, pad_type = "same"',
            size=32,
        )
    )
    assert narrow.projection.in_features * 4 == wide.projection.in_features
    dropping = make_student(
        TrainConfig(backbone="test_vit", backbone_args="drop_path_rate = 0.5", size=32)
    )
    assert any(getattr(module, "drop_prob", 0) for module in dropping.modules())


def test_a_list_of_arguments_makes_a_network_of_another_width() -> None:
    half = make_student(
        TrainConfig(backbone="resnet10t", size=32, backbone_args="channels = [8, 16, 24, 40]")
    )
    assert half.projection.in_features == 40


@pytest.mark.parametrize(
    "args, said",
    [
        ("width = ", "backbone_args"),
        ("drop_rate = 0.1\nlr = 2", "backbone_args"),
        ("drop_rate = 0.1 }, other = { a = 1", "backbone_args"),
        ("drop_rate = 0.1 }\nother = { a = 1", "more than one"),
        ("drop_rate = [0.5, 1]", "drop_rate"),
        ("drop_rate = []", "drop_rate"),
        ("drop_rate = nan", "drop_rate"),
        ("no_such_thing = 3", "no_such_thing"),
        ("in_chans = 3", "in_chans"),
        ("pretrained = true", "pretrained"),
    ],
)
def test_wrong_arguments_are_told(args: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        make_student(TrainConfig(backbone="test_efficientnet", size=32, backbone_args=args))
    assert caught.value.hint and "\n" not in str(caught.value).replace(args, "")


def test_a_size_that_is_no_whole_number_of_patches_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="120") as caught:
        make_student(TrainConfig(backbone="test_vit", size=120))
    assert "112 or 128" in caught.value.hint


def test_generalized_mean_is_that_of_its_formula_and_between_mean_and_maximum() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 3, 4, 5, generator=generator) - 0.2
    for power in (1.0, 3.0, 6.0):
        found = GeM(power=power)(features)
        assert found.shape == (2, 3)
        for figure in range(2):
            for channel in range(3):
                values = [max(v, 1e-6) for v in features[figure, channel].flatten().tolist()]
                expected = (sum(v**power for v in values) / len(values)) ** (1 / power)
                assert found[figure, channel].item() == pytest.approx(expected, rel=1e-4)
    assert torch.allclose(GeM(power=200.0)(features), features.amax((2, 3)), rtol=0.02)


def test_generalized_mean_has_the_gradients_of_its_formula() -> None:
    plain = (torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.1).double()
    features, same = (plain.float().requires_grad_(), plain.clone().requires_grad_())
    pool, power = GeM(), torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    pool(features).square().sum().backward()
    expected = same.pow(power).mean((2, 3)).pow(1 / power)
    expected.square().sum().backward()
    assert features.grad is not None and same.grad is not None
    assert pool.p.grad is not None and power.grad is not None
    assert torch.allclose(features.grad.double(), same.grad, rtol=1e-4)
    assert torch.allclose(pool.p.grad.double(), power.grad, rtol=1e-4)


@pytest.mark.parametrize("scale", [0.0, 1e-8, 1.0, 1e30])
def test_generalized_mean_stays_finite_in_bf16(scale: float) -> None:
    pool = GeM(power=20.0)
    features = (torch.rand(2, 3, 4, 4) * scale).bfloat16().requires_grad_()
    pooled = pool(features)
    pooled.float().mean().backward()
    assert pooled.dtype == torch.bfloat16 and pooled.isfinite().all()
    assert features.grad is not None and features.grad.isfinite().all()
    assert pool.p.grad is not None and pool.p.grad.isfinite().all()


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_convnext", "test_vit"])
def test_a_student_with_generalized_mean_learns_its_power_in_bf16(backbone: str) -> None:
    student = make_student(TrainConfig(backbone=backbone, size=64, dim=8, pool="gem")).train()
    with torch.autocast("cpu", torch.bfloat16):
        rows = student(torch.rand(4, 1, 64, 64) * 2 - 1)
    assert rows.dtype == torch.float32
    assert torch.allclose(rows.norm(dim=1), torch.ones(4), atol=1e-5)
    rows[:, 0].sum().backward()
    [power] = [p for name, p in student.named_parameters() if name.endswith(".p")]
    assert power.grad is not None and power.grad.isfinite().all() and power.grad.any()


def test_a_transformer_pools_its_patches_and_not_its_class_token() -> None:
    student = make_student(TrainConfig(backbone="test_vit", size=32, dim=8)).eval()
    inputs = torch.from_numpy(images(2))
    with torch.no_grad():
        tokens = student.backbone.forward_features(inputs)  # type: ignore[operator]
        assert torch.allclose(student.backbone(inputs), tokens[:, 1:].mean(1), atol=1e-5)
    own = TrainConfig(backbone="test_vit", size=32, dim=8, backbone_args='global_pool = "token"')
    backbone = make_student(own).backbone.eval()
    with torch.no_grad():
        tokens = backbone.forward_features(inputs)  # type: ignore[operator]
        assert torch.allclose(backbone(inputs), tokens[:, 0], atol=1e-5)


def test_a_family_without_a_place_for_generalized_mean_is_told() -> None:
    with pytest.raises(ConfigError, match="levit_128s") as caught:
        make_student(TrainConfig(backbone="levit_128s", size=128, pool="gem"))
    assert "avg" in caught.value.hint


def test_generalized_mean_is_exported(tmp_path: Path) -> None:
    config = TrainConfig(backbone="test_resnet", size=32, dim=8, pool="gem")
    worst = export_fp32(
        make_student(config), size=32, channels=1, dim=8, path=tmp_path / "model.onnx"
    )
    assert worst < 1e-5


def test_features_are_those_of_the_bare_backbone() -> None:
    features = make_features(TINY)
    assert not features.training
    inputs = torch.from_numpy(images(3))
    with torch.no_grad():
        assert torch.equal(features(inputs), make_student(TINY).backbone.eval()(inputs))


def test_weights_of_timm_get_the_colours_that_they_were_trained_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    create = backbone_module.timm.create_model

    def offline(name: str, *, pretrained: bool, **args: Any) -> torch.nn.Module:
        asked.append(pretrained)
        return create(name, **args)

    monkeypatch.setattr(backbone_module.timm, "create_model", offline)
    config = TrainConfig(backbone="test_efficientnet", size=32, weights="timm")
    features = make_features(config)
    assert asked[-1]
    inner = features.get_submodule("backbone")
    about = inner.pretrained_cfg
    mean, std = (torch.tensor(about[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    grey = torch.from_numpy(images(2))
    photo = ((grey + 1) / 2).repeat(1, 3, 1, 1)
    with torch.no_grad():
        expected = inner((photo - mean) / std)
        assert torch.allclose(features(grey), expected, atol=1e-5)
        assert torch.allclose(features(grey.repeat(1, 3, 1, 1)), expected, atol=1e-5)


def test_weights_that_timm_cannot_give_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    create = backbone_module.timm.create_model

    def unplugged(name: str, *, pretrained: bool, **args: Any) -> torch.nn.Module:
        if pretrained:
            raise OSError("no route to host")
        model: torch.nn.Module = create(name, **args)
        return model

    monkeypatch.setattr(backbone_module.timm, "create_model", unplugged)
    with pytest.raises(ConfigError, match="no route to host") as caught:
        make_student(TrainConfig(backbone="test_efficientnet", size=32, weights="timm"))
    assert "FILE" in caught.value.hint


def test_backbone_weights_come_from_a_file_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    student, file = make_student(TINY), tmp_path / "w.safetensors"
    save_file({k: v.contiguous() for k, v in student.backbone.state_dict().items()}, file)
    loaded = make_student(
        TrainConfig(backbone="test_efficientnet", size=32, dim=16, seed=3, weights=str(file))
    )
    for name, value in student.backbone.state_dict().items():
        assert torch.equal(loaded.backbone.state_dict()[name], value)
    with pytest.raises(ConfigError, match=r"w\.safetensors"):
        make_student(TrainConfig(backbone="test_resnet", size=32, weights=str(file)))
    file.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"w\.safetensors"):
        make_student(TrainConfig(backbone="test_efficientnet", size=32, weights=str(file)))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_student(tmp_path)
    TINY.save(tmp_path / "config.toml")
    with pytest.raises(ConfigError, match="best"):
        load_student(tmp_path)


def test_a_run_starts_from_the_checkpoint_of_a_run_at_another_size(tmp_path: Path) -> None:
    small = TrainConfig(backbone="test_efficientnet", size=32, dim=16, seed=3)
    first = make_student(small)
    with torch.no_grad():
        first.projection.weight.fill_(0.25)
    file = tmp_path / "best.safetensors"
    save_file(first.state_dict(), file)
    later = make_student(
        TrainConfig(backbone="test_efficientnet", size=64, dim=16, seed=4, weights=str(file))
    )
    for name, value in later.state_dict().items():
        assert torch.equal(value, first.state_dict()[name]), name


LEVELS = replace(TINY, pool="levels")


def test_levels_are_means_and_deviations_of_every_map_from_a_quarter_of_the_side_on() -> None:
    backbone = make_backbone(LEVELS).eval()
    drawings = torch.randn(3, 1, LEVELS.size, LEVELS.size)
    found = backbone(drawings)
    network = network_of(backbone)
    parts = []
    with torch.no_grad():
        for level in network.forward_intermediates(drawings, intermediates_only=True):
            if level.shape[-1] * 4 <= LEVELS.size:
                for values in (level.mean((2, 3)), (level.var((2, 3), correction=0) + 1e-4).sqrt()):
                    parts.append(values)
    assert torch.allclose(found, torch.cat(parts, 1) / (1 + 1e-5) ** 0.5, atol=1e-5)


def test_weights_of_a_whole_network_fit_its_levels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model(LEVELS.backbone, in_chans=1, num_classes=5)
    file = tmp_path / "whole.pt"
    torch.save(whole.state_dict(), file)
    filled = make_student(replace(LEVELS, weights=str(file))).backbone
    own = network_of(filled).state_dict()
    assert own
    assert all(torch.equal(own[name], whole.state_dict()[name]) for name in own)


def test_a_network_that_does_not_tell_its_maps_has_no_levels() -> None:
    with pytest.raises(ConfigError, match="does not tell its maps"):
        Levels(torch.nn.Linear(2, 2), name="linear")


def test_a_symmetric_network_embeds_mirror_drawings_alike_and_trains_on_one_side() -> None:
    student = make_student(replace(TINY, symmetric=True))
    plain = make_student(TINY)
    drawings = torch.randn(4, 1, TINY.size, TINY.size)
    student.eval()
    plain.eval()
    with torch.no_grad():
        rows = student(drawings)
        assert torch.allclose(rows, student(drawings.flip(-1)), atol=1e-5)
        assert torch.allclose(rows[1:2], student(drawings[1:2]), atol=1e-5)
        assert not torch.allclose(plain(drawings), plain(drawings.flip(-1)), atol=1e-3)
        one, other = (
            plain.norm(plain.projection(plain.backbone(x))) for x in (drawings, drawings.flip(-1))
        )
        assert torch.allclose(rows, torch.nn.functional.normalize(one + other), atol=1e-5)
    student.train()
    plain.train()
    assert torch.equal(student(drawings), plain(drawings))
