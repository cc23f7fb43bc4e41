"""Quantization-aware distillation moves a network to where INT8 gives what FP32 gave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill import qat as module
from distill.augment import augment
from distill.config import TrainConfig
from distill.cut_drawings import CutDrawings
from distill.data import load_drawings
from distill.model import Student, load_student
from distill.qat import QatSettings, quantization_aware
from distill.train import train
from edge_retrieval.errors import BundleError, ConfigError

CONFIG = TrainConfig(
    backbone="test_efficientnet", size=32, dim=16, steps=12, classes=3, subclasses=2, designs=2,
    figures=2, threads=1, held_out=0.0,
)  # fmt: skip
SHORT = QatSettings(steps=3, batch=8, drawings=100)


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "plain"
    train(CONFIG, [source], out)
    return out


@pytest.fixture(scope="module")
def student(run: Path) -> Student:
    return load_student(run)[0]


@pytest.fixture(scope="module")
def cut(run: Path) -> CutDrawings:
    return CutDrawings.read(run, CONFIG)


def weights_of(student: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in student.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_an_untrained_way_of_rounding_is_learned(student: Student, cut: CutDrawings) -> None:
    lines: list[str] = []
    settings = QatSettings(steps=60, batch=24, lr=2e-3, drawings=100, per_channel=False)
    quantization_aware(student, CONFIG, cut, settings, tell=lines.append)
    [line] = lines
    before, after = (float(word) for word in line.replace(",", "").split() if word[:2] in "0.1.")
    assert 1 - after < 0.7 * (1 - before)


def test_what_comes_out_is_an_ordinary_fp32_network_near_the_one_that_went_in(
    student: Student, cut: CutDrawings
) -> None:
    before = weights_of(student)
    learned = quantization_aware(student, CONFIG, cut, SHORT)
    assert same(weights_of(student), before)
    assert isinstance(learned, Student) and not learned.training
    again = Student(CONFIG)
    again.load_state_dict(learned.state_dict())
    images = torch.from_numpy(cut.images(cut.training[:20]))
    with torch.no_grad():
        given, wanted = again.eval()(images), student(images)
        assert torch.equal(learned(images), given)
    assert not torch.equal(given, wanted)
    assert functional.cosine_similarity(given, wanted).min() > 0.98
    for part in learned.modules():
        assert not part._forward_hooks and not part._forward_pre_hooks
        assert not hasattr(part, "parametrizations")


def test_weights_are_not_left_rounded(student: Student, cut: CutDrawings) -> None:
    learned = quantization_aware(student, CONFIG, cut, replace(SHORT, float_ends=False))
    [row] = learned.projection.weight[:1].detach()
    assert len(torch.unique(row / row.abs().max() * 64 % 1.0)) > 0.8 * len(row)


def test_equal_settings_give_equal_weights_and_another_seed_others(
    student: Student, cut: CutDrawings
) -> None:
    first, again, other = (
        weights_of(quantization_aware(student, CONFIG, cut, replace(SHORT, seed=seed)))
        for seed in (0, 0, 1)
    )
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize(
    ("backbone", "pool", "size"),
    [
        ("mobilenetv3_small_100", "avg", 32),
        ("mobilenetv4_conv_small", "avg", 32),
        ("resnet18", "gem", 32),
        ("lcnet_050", "avg", 32),
        ("vit_tiny_patch16_224", "avg", 32),
        ("test_vit", "gem", 32),
    ],
)
def test_every_kind_of_network_can_learn_it(
    cut: CutDrawings, backbone: str, pool: str, size: int
) -> None:
    config = replace(CONFIG, backbone=backbone, pool=pool, size=size)
    student = Student(config).eval()
    learned = quantization_aware(student, config, cut, replace(SHORT, steps=1, batch=2))
    if learned is not None:  # one step may well serve nothing
        found = weights_of(learned)
        assert all(torch.isfinite(tensor.float()).all() for tensor in found.values())
        assert not same(found, weights_of(student))


def test_a_way_that_leads_away_from_fp32_is_not_taken(student: Student, cut: CutDrawings) -> None:
    lines: list[str] = []
    wild = replace(SHORT, lr=0.9)
    assert quantization_aware(student, CONFIG, cut, wild, tell=lines.append) is None
    assert "left as it was" in lines[0]


def test_only_training_drawings_are_learned_from_and_labels_are_not_looked_at(
    source: Path, student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, held_out=0.2, steps=1)
    train(config, [source], tmp_path / "run")
    cut = CutDrawings.read(tmp_path / "run", config)
    seen: set[bytes] = set()

    def watched(masters: Any, *rest: Any) -> Any:
        seen.update(master.tobytes() for master in masters)
        return augment(masters, *rest)

    monkeypatch.setattr(module, "augment", watched)
    monkeypatch.setattr(module, "choose_calibration", lambda *_: np.arange(20))  # few suffice here
    quantization_aware(student, config, cut, replace(SHORT, steps=20))
    held = {master.tobytes() for master in cut.masters[cut.held_out]}
    assert held and not seen & held
    assert seen == {master.tobytes() for master in cut.masters[cut.training]}
    bare = replace(cut, training_schemes=(), held_schemes=())
    assert quantization_aware(student, config, bare, SHORT)


def test_progress_is_shown_of_every_step(student: Student, cut: CutDrawings) -> None:
    seen: list[tuple[str, int | None, int]] = []

    def track(items: Iterable[Any], description: str, total: int | None = None) -> Iterable[Any]:
        found = list(items)
        seen.append((description, total, len(found)))
        return found

    quantization_aware(student, CONFIG, cut, SHORT, track=track)
    assert seen == [("Quantization-aware", 3, 3)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("batch", 1), ("lr", 0.0), ("lr", 2.0), ("temperature", 0.0),
     ("similarity_weight", -1.0), ("percentile", 10.0), ("drawings", 99)],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    changed: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError):
        replace(SHORT, **changed)


def test_too_few_training_drawings_are_one_clear_error(student: Student, cut: CutDrawings) -> None:
    few = replace(cut, training=cut.training[:50])
    with pytest.raises(ConfigError, match="too few to calibrate"):
        quantization_aware(student, CONFIG, few, SHORT)


def test_a_training_that_diverges_is_one_clear_error(
    student: Student, cut: CutDrawings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "regression_loss", lambda given, _: given.sum() * torch.nan)
    with pytest.raises(BundleError, match="diverged at step 1") as caught:
        quantization_aware(student, CONFIG, cut, SHORT)
    assert caught.value.hint == "lower lr"


def test_light_augmentation_hides_no_lines(source: Path, tmp_path: Path) -> None:
    drawings = load_drawings([source], CONFIG, cache=tmp_path)
    light = module._lightly(replace(CONFIG, erase=1.0, dashes=1.0, photo=1.0, tilt=8.0))
    assert (light.erase, light.dashes, light.photo, light.tilt) == (0.0, 0.0, 0.0, 4.0)
    seeds = np.arange(len(drawings), dtype=np.uint64)
    found = augment(drawings.masters[:], light, seeds)
    assert found.shape == (len(drawings), CONFIG.size, CONFIG.size)
