"""The projection fitted anew: the run stays a run, and finds more of what it was fitted on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.config import TrainConfig
from distill.cut_drawings import CutDrawings
from distill.data import load_drawings
from distill.ensemble import discriminant, with_mirrored
from distill.model import TorchEncoder, load_student, preprocessing_of
from distill.refit import refit
from distill.train import train
from edge_retrieval.errors import ConfigError
from edge_retrieval.metrics import leave_one_out

TINY = TrainConfig(
    backbone="test_efficientnet", pool="levels", symmetric=True, size=32, dim=16, steps=4,
    classes=3, subclasses=2, designs=3, figures=2, threads=1, held_out=0.3, seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    train(TINY, [source], out)
    return out


@pytest.fixture(scope="module")
def fitted(run: Path, source: Path) -> Path:
    return refit(run, [source], run.parent / "fitted", shrinkage=0.3, cache=run / "cache")


def patent_map(run: Path, source: Path, cache: Path) -> float:
    student, config = load_student(run)
    drawings = load_drawings([source], config, cache=cache)
    [scheme] = drawings.schemes
    rows = TorchEncoder(student, preprocessing_of(config)).embed(drawings.images(scheme.rows))
    [score] = [
        s for s in leave_one_out(rows, scheme.codes, scheme.levels) if s.level == scheme.levels[-1]
    ]
    return score.values["mAP"]


def test_what_it_was_fitted_on_is_found_better(run: Path, fitted: Path, source: Path) -> None:
    cache = run / "cache"
    assert patent_map(fitted, source, cache) > patent_map(run, source, cache) + 0.05


def test_the_network_computes_the_map_of_the_discriminant(
    run: Path, fitted: Path, source: Path
) -> None:
    student, config = load_student(fitted)
    drawings = load_drawings([source], config, cache=run / "cache")
    images = torch.from_numpy(drawings.images(np.arange(len(drawings))))
    with torch.inference_mode():
        plain, mirrored = student.backbone(images), student.backbone(images.flip(-1))
        rows = student(images).numpy()
    features = torch.cat([plain, mirrored]).numpy()
    schemes = [with_mirrored(scheme, len(drawings)) for scheme in drawings.schemes]
    found = discriminant(features, schemes, dim=16, shrinkage=0.3)
    mean = (features[: len(drawings)] + features[len(drawings) :]).astype(np.float64) / 2
    wanted = (mean - found["shift"]) / found["scale"] @ found["directions"]
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert np.abs(rows - wanted).max() < 2e-3


def test_a_network_may_be_refitted_at_a_finer_size(run: Path, source: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    finer = refit(
        run, [source], tmp_path / "f", shrinkage=0.3, size=48, trained=[source], cache=cache
    )
    (finer / "cache").symlink_to(cache)
    assert CutDrawings.read(finer, load_student(finer)[1]).squares.shape[1:] == (48, 48)
    with pytest.raises(ConfigError, match="cut anew"):
        refit(run, [source], tmp_path / "g", shrinkage=0.3, size=48, cache=cache)
    student, config = load_student(finer)
    assert config.size == 48
    assert load_student(run)[1].size == 32
    drawings = load_drawings([source], config, cache=tmp_path / "cache")
    assert drawings.images(np.arange(1)).shape == (1, 1, 48, 48)
    before, _ = load_student(run, checkpoint="last")
    for name, value in before.backbone.state_dict().items():
        assert torch.equal(value, student.backbone.state_dict()[name])
    plain = patent_map(finer, source, tmp_path / "cache")
    assert plain > patent_map(run, source, run / "cache")


def test_the_backbone_and_what_the_run_has_seen_stay(run: Path, fitted: Path) -> None:
    before, _ = load_student(run, checkpoint="last")
    after, _ = load_student(fitted)
    for name, value in before.backbone.state_dict().items():
        assert torch.equal(value, after.backbone.state_dict()[name])
    assert (fitted / "seen.npz").read_bytes() == (run / "seen.npz").read_bytes()
    said = json.loads((fitted / "provenance.json").read_text())
    assert said["refitted"]["shrinkage"] == 0.3


def test_too_few_drawings_for_so_many_numbers_are_refused(source: Path, tmp_path: Path) -> None:
    wide = TrainConfig(**{**vars(TINY), "dim": 300})
    train(wide, [source], tmp_path / "wide")
    with pytest.raises(ConfigError, match="directions"):
        refit(
            tmp_path / "wide", [source], tmp_path / "out", shrinkage=0.3,
            cache=tmp_path / "wide" / "cache",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
