"""Cells: what is learnt of each part of a drawing, against loops, and where it lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.batches import Batches, epoch_steps
from distill.cells import CellMap, cell_features, mirrored
from distill.config import TrainConfig
from distill.data import load_drawings
from distill.ensemble import fit_ensemble, open_ensemble
from distill.model import make_student
from distill.objective import Objective
from distill.teacher import Teacher, open_teacher
from distill.train import train
from distill.variants import make_variants
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.errors import ConfigError

SETTINGS = TrainConfig(
    backbone="test_efficientnet", pool="levels", size=64, dim=16, classes=2, subclasses=2,
    designs=2, figures=2, threads=1, held_out=0.3, lr=4e-3, seed=1, steps=4, teacher="spoken",
    variants=20, variant_batch=6, cells=4,
)  # fmt: skip
TEACHER = """
dim = 12
[[members]]
backbone = "test_efficientnet"
pool = "levels"
size = 64
[[members]]
backbone = "test_efficientnet"
pool = "levels"
size = 96
seed = 3
"""


def some_maps(count: int = 2) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(count, 3, 28, 28), torch.randn(count, 5, 14, 14)]


@pytest.mark.parametrize("side", [1, 2, 5, 7, 14])
def test_a_cell_is_mean_and_deviation_over_its_places_by_loops(side: int) -> None:
    """A place on a border counts by the share that lies inside; finer maps count as the coarsest
    one does, since their places are joined to its first.
    """
    maps = some_maps()
    found = cell_features(maps, side)  # (2, side * side, 16)
    assert found.shape == (2, side * side, 16)
    for number, (row, column) in enumerate((r, c) for r in range(side) for c in range(side)):
        wanted = []
        for level in maps:
            joined = level.shape[-1] // 14
            total, square = torch.zeros(2, 2, level.shape[1])
            weight = 0.0
            for y in range(14):
                for x in range(14):
                    high = min((row + 1) * 14 / side, y + 1) - max(row * 14 / side, y)
                    wide = min((column + 1) * 14 / side, x + 1) - max(column * 14 / side, x)
                    share = max(high, 0) * max(wide, 0) / joined**2
                    for dy in range(joined):
                        for dx in range(joined):
                            value = level[:, :, y * joined + dy, x * joined + dx]
                            total = total + share * value
                            square = square + share * value**2
                            weight += share
            mean = total / weight
            variance = square / weight - mean**2
            wanted += [mean, (variance.clamp(min=0) + 1e-4).sqrt()]
        torch.testing.assert_close(found[:, number], torch.cat(wanted, 1), rtol=1e-4, atol=1e-4)


def test_one_cell_is_what_the_pooling_says_of_the_whole() -> None:
    student = make_student(SETTINGS).eval()
    images = torch.randn(3, 1, 64, 64)
    with torch.no_grad():
        rows, maps = student.with_maps(images)
        torch.testing.assert_close(rows, student(images))
        whole = student.backbone.norm(cell_features(maps, 1)[:, 0])  # type: ignore[operator]
        torch.testing.assert_close(whole, student.backbone(images), rtol=1e-3, atol=1e-4)


def test_cells_of_mirrored_maps_are_the_mirrored_cells() -> None:
    maps = some_maps()
    turned = cell_features([level.flip(-1) for level in maps], 5)
    torch.testing.assert_close(turned, mirrored(cell_features(maps, 5), 5), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def fitted(source: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = tmp_path_factory.mktemp("recipe") / "teacher.toml"
    recipe.write_text(TEACHER, encoding="utf-8")
    return fit_ensemble(recipe, [source], recipe.parent / "teacher", cache=cache)


def test_a_fitted_teacher_says_of_one_cell_what_it_says_of_the_drawing(fitted: Path) -> None:
    network, _ = open_ensemble(fitted)
    images = np.random.default_rng(0).uniform(-1, 1, (3, 1, 96, 96)).astype(np.float32)
    rows, cells = network.embed_cells(images, 1)
    assert np.allclose(rows, network.embed(images), atol=1e-5)
    assert cells.shape == (3, 1, 12)
    own = cells[:, 0] / np.linalg.norm(cells[:, 0], axis=1, keepdims=True)
    assert np.allclose(own, rows, atol=1e-3)
    for side in (3, 5):  # of maps of 2 and of 3 places a side
        assert network.embed_cells(images, side)[1].shape == (3, side * side, 12)


def ink(images: np.ndarray, side: int) -> np.ndarray:
    """``(N, side * side, 1)``: the ink of every cell."""
    part = images.shape[-1] // side
    means = images.reshape(len(images), side, part, side, part).mean((2, 4))
    cells: np.ndarray = (1 - means).reshape(len(images), side * side, 1).astype(np.float32)
    return cells


def sees_ink(images: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    rows = images.reshape(len(images), 4, 16, 4, 16).mean((2, 4)).reshape(len(images), 16) + 2
    return rows.astype(np.float32), ink(images, side)


def test_a_cell_of_a_variant_stays_where_the_teacher_saw_it(source: Path, cache: Path) -> None:
    """However the student's copy is changed: mirrored, the cells are mirrored too."""
    teacher = Teacher(
        "spoken", Preprocessing(size=64), "ink", lambda x: sees_ink(x, 4)[0], True, True, sees_ink
    )
    config = replace(SETTINGS, variants=60, variant_batch=30, erase=0.0, dashes=0.0, binarise=0.0)
    drawings = load_drawings([source], config, cache=cache)
    made = make_variants(teacher, [source], drawings, drawings.schemes, config, cache=cache)
    assert made.cells is not None and made.cells.shape == (60, 16, 1)
    steps = epoch_steps(config, drawings.schemes, epoch=0, done=0)
    batch = Batches(steps, drawings.schemes, drawings, config, epoch=0, variants=made)[0]
    assert batch.cells.shape == (30, 16, 1)
    shown = ink(batch.images[-30:].numpy(), 4)
    sides = 0
    for own, told in zip(shown[:, :, 0], batch.cells.numpy()[:, :, 0], strict=True):
        assert np.corrcoef(own, told)[0, 1] > 0.9
        turned = told.reshape(4, 4)[:, ::-1].ravel()
        sides += np.corrcoef(own, told)[0, 1] > np.corrcoef(own, turned)[0, 1] + 0.01
    assert sides > 15  # or every variant looks the same mirrored, and nothing was shown
    again = make_variants(teacher, [source], drawings, drawings.schemes, config, cache=cache)
    assert again.cells is not None and np.array_equal(again.cells, made.cells)


def test_cells_are_learnt() -> None:
    """The map alone, from maps that tell all: its error falls to a fraction."""
    config = replace(SETTINGS, cell_weight=2.0)
    objective = Objective(config, depths=[3], designs=[9], teacher_dim=6, features=16)
    maps = some_maps(24)
    wanted = cell_features(maps, 4) @ torch.randn(16, 6)
    wanted = (wanted - wanted.mean((0, 1))) / wanted.std((0, 1))
    assert isinstance(objective.cells, CellMap)
    optimizer = torch.optim.Adam(objective.cells.parameters(), lr=0.05)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = objective.cell_loss(maps, wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        error = float((objective.cells(maps) - wanted).square().mean())
    assert losses[0] > 1 and error < 0.05
    assert objective.cell_loss(maps, wanted).item() == pytest.approx(2 * error, rel=1e-5)


def test_a_training_with_cells_runs_and_says_what_it_lacks(
    source: Path, fitted: Path, cache: Path, tmp_path: Path
) -> None:
    config = replace(SETTINGS, teacher=str(fitted))
    train(config, [source], tmp_path / "with", cache=cache)
    train(replace(config, cells=0), [source], tmp_path / "without", cache=cache)
    weights = [(tmp_path / run / "last.safetensors").read_bytes() for run in ("with", "without")]
    assert weights[0] != weights[1]
    assert len(weights[0]) == len(weights[1])  # what ships has no cells in it
    plain = tmp_path / "plain.toml"
    plain.write_text(TEACHER.replace('"levels"', '"avg"'), encoding="utf-8")
    other = fit_ensemble(plain, [source], tmp_path / "plain", cache=cache)
    assert open_teacher(str(other)).embed_cells is None
    with pytest.raises(ConfigError, match="tells none"):
        train(replace(config, teacher=str(other)), [source], tmp_path / "no", cache=cache)


@pytest.mark.parametrize("change", [{"variants": 0}, {"pool": "avg"}, {"accumulate": 2}])
def test_cells_that_cannot_be_learnt_are_refused(change: dict[str, int | str]) -> None:
    with pytest.raises(ConfigError, match="cells"):
        replace(SETTINGS, **change)  # type: ignore[arg-type]
