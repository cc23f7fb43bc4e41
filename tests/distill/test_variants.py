"""Variants: changed drawings that a teacher alone speaks of."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import distill.train as training
from distill import variants as module
from distill.augment import halved
from distill.batches import Batches, epoch_steps
from distill.config import TrainConfig
from distill.data import Drawings, load_drawings, normalised
from distill.ensemble import fit_ensemble
from distill.objective import Labels, Objective
from distill.teacher import Teacher
from distill.train import train
from distill.variants import Variants, changed, make_variants
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.errors import ConfigError

TINY = TrainConfig(
    backbone="test_efficientnet", size=32, dim=16, classes=2, subclasses=2, designs=2, figures=2,
    threads=1, held_out=0.3, lr=4e-3, seed=1, steps=4, teacher="spoken",
    variants=20, variant_batch=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def drawings(source: Path, cache: Path) -> Drawings:
    return load_drawings([source], TINY, cache=cache)


def speaks(embed: Callable[[np.ndarray], np.ndarray], fingerprint: str = "t") -> Teacher:
    """A teacher at 64 px that says whatever it is told to."""
    return Teacher("spoken", Preprocessing(size=64), fingerprint, embed, True, knows_mirrored=True)


def coarse(images: np.ndarray) -> np.ndarray:
    """What a picture looks like from far away: 4 x 4 means."""
    return images.reshape(len(images), 4, 16, 4, 16).mean((2, 4)).reshape(len(images), 16) + 2.0


def made(
    source: Path,
    drawings: Drawings,
    cache: Path,
    teacher: Teacher | None = None,
    config: TrainConfig = TINY,
) -> Variants:
    training, _ = drawings.split(0.3, 1)
    return make_variants(
        teacher or speaks(coarse), [source], drawings, training, config, cache=cache
    )


def test_the_teacher_is_asked_about_the_very_pictures_that_the_student_is_shown(
    source: Path, drawings: Drawings, cache: Path
) -> None:
    seen: list[np.ndarray] = []

    def watched(images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return coarse(images)

    found = made(source, drawings, cache, speaks(watched, "watched"))
    shown = np.concatenate(seen)  # (V, 1, 64, 64)
    assert shown.shape == (20, 1, 64, 64)
    assert found.masters.shape == (20, 48, 48)
    assert found.targets.shape == (20, 16)
    assert np.allclose(np.linalg.norm(found.targets, axis=1), 1, atol=1e-6)
    # From far away a master of 48 px is what the teacher saw at 64.
    small = normalised(found.masters[:], Preprocessing(size=48))
    ink_seen = (1 - shown).reshape(20, 4, 16, 4, 16).sum((2, 4)) / 256
    ink_small = (1 - small).reshape(20, 4, 12, 4, 12).sum((2, 4)) / 144
    for one, other in zip(ink_seen, ink_small, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95


def test_variants_are_found_again_and_other_settings_make_others(
    source: Path, drawings: Drawings, tmp_path: Path
) -> None:
    asked = []

    def counted(images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return coarse(images)

    first = made(source, drawings, tmp_path, speaks(counted))
    again = made(source, drawings, tmp_path, speaks(counted))
    assert sum(asked) == 20
    assert np.array_equal(first.masters[:], again.masters[:])
    assert np.array_equal(first.targets, again.targets)
    other = made(source, drawings, tmp_path, speaks(counted), replace(TINY, seed=2))
    assert not np.array_equal(first.masters[:], other.masters[:])
    assert sum(asked) == 40


def test_a_student_of_another_size_asks_the_teacher_nothing_new(
    source: Path, drawings: Drawings, tmp_path: Path
) -> None:
    asked = []

    def counted(images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return coarse(images)

    first = made(source, drawings, tmp_path, speaks(counted))
    larger = replace(TINY, size=48)
    own = load_drawings([source], larger, cache=tmp_path)
    second = made(source, own, tmp_path, speaks(counted), larger)
    assert sum(asked) == 20
    assert second.masters.shape == (20, 72, 72)
    assert np.array_equal(first.targets, second.targets)


def test_a_damaged_file_of_variants_is_made_again(
    source: Path, drawings: Drawings, tmp_path: Path
) -> None:
    first = made(source, drawings, tmp_path)
    masters = first.masters[:]  # a copy: the file that it is mapped from is cut short now
    for file in tmp_path.glob("variants-*.npy"):
        file.write_bytes(file.read_bytes()[:200])
    again = made(source, drawings, tmp_path)
    assert np.array_equal(masters, again.masters[:])
    assert np.array_equal(first.targets, again.targets)


def test_variants_are_of_figures_that_are_trained_on_alone(
    source: Path, drawings: Drawings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = set()
    training, held = drawings.split(0.3, 1)
    large = load_drawings([source], replace(TINY, size=64), cache=tmp_path)
    row_of = {large.masters[[row]][0].tobytes(): row for row in range(len(large))}

    def watched(master: np.ndarray, *rest: object, **more: object) -> np.ndarray:
        taken.add(row_of[master.tobytes()])
        return changed(master, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "changed", watched)
    made(source, drawings, tmp_path, config=replace(TINY, variants=200))
    assert taken <= set(training[0].rows.tolist())
    assert not taken & set(held[0].rows.tolist())
    assert len(taken) > 40


def test_every_source_gives_as_many_variants(
    source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = tmp_path / "few"
    shutil.copytree(source / "kind0" / "sort0" / "D00", few / "x" / "y" / "D990")
    both = load_drawings([source, few], TINY, cache=cache)
    chosen: list[int] = []
    monkeypatch.setattr(module, "LAID_OVER", 0.0)

    def watched(master: np.ndarray, *rest: object, **more: object) -> np.ndarray:
        chosen.append(few_masters.get(master.tobytes(), -1))
        return changed(master, *rest, **more)  # type: ignore[arg-type]

    large = load_drawings([few], replace(TINY, size=64), cache=cache)
    few_masters = {large.masters[[row]][0].tobytes(): row for row in range(len(large))}
    # The copies are in the large source too, where they are 3 of 108.
    monkeypatch.setattr(module, "changed", watched)
    make_variants(
        speaks(coarse), [source, few], both, both.schemes, replace(TINY, variants=100), cache=cache
    )
    assert 50 <= sum(one >= 0 for one in chosen) <= 60


def test_a_slight_change_is_nearly_the_drawing_and_a_strong_one_is_not() -> None:
    master = np.full((96, 96), 255, np.uint8)
    master[20:76, 20:24] = master[20:24, 20:60] = master[72:76, 20:40] = 0  # not symmetrical
    plain = master.astype(float).reshape(4, 24, 4, 24).mean((1, 3))

    def distance(strongly: bool, seed: int) -> float:
        dice = np.random.default_rng(seed)
        square = halved(changed(master, 64, dice, strongly=strongly))
        assert square.shape == (64, 64)
        far = square.astype(float).reshape(4, 16, 4, 16).mean((1, 3))
        return float(min(np.abs(far - plain).mean(), np.abs(far[:, ::-1] - plain).mean()))

    slight = np.median([distance(False, seed) for seed in range(30)])
    strong = np.median([distance(True, seed) for seed in range(30)])
    assert slight < 0.8 * strong


def test_a_teacher_without_numbers_is_refused(
    source: Path, drawings: Drawings, tmp_path: Path
) -> None:
    def broken(images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 16), np.nan, np.float32)

    with pytest.raises(ConfigError, match="not finite"):
        made(source, drawings, tmp_path, speaks(broken))


def test_a_step_takes_a_batch_of_variants_and_each_comes_once_a_round(
    source: Path, drawings: Drawings, cache: Path
) -> None:
    config = replace(TINY, steps=0, variant_batch=7)
    steps = epoch_steps(config, drawings.schemes, epoch=0, done=0)
    order = np.concatenate([step[1] for step in steps])
    assert all(len(step) == 2 and len(step[1]) == 7 for step in steps)
    for start in range(0, len(order) - 19, 20):
        assert sorted(order[start : start + 20]) == list(range(20))
    variants = made(source, drawings, cache)
    batch = Batches(steps, drawings.schemes, drawings, config, epoch=0, variants=variants)[0]
    assert len(batch.images) == len(steps[0][0]) + 7
    assert (batch.rows[-7:] - len(drawings)).tolist() == steps[0][1].tolist()
    assert (batch.codes[-7:] == -1).all()
    assert (batch.scheme[-7:] == 1).all()


def test_variants_have_no_labels_and_their_teacher_counts(drawings: Drawings) -> None:
    config = replace(TINY, teacher="t", loss="hierarchical+arcface")
    objective = Objective(config, depths=[3], designs=[36], teacher_dim=8)
    labels = Objective(replace(config, teacher="", variants=0), depths=[3], designs=[36])
    torch.manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(10, 16))
    codes = torch.from_numpy(drawings.schemes[0].codes[:10].astype(np.int64))
    scheme = torch.tensor([0] * 6 + [1] * 4)
    other = codes.clone()
    other[6:] = -1
    assert torch.equal(
        labels(rows, Labels(codes, scheme)), labels(rows[:6], Labels(codes[:6], scheme[:6]))
    )
    wanted = torch.nn.functional.normalize(torch.randn(10, 8))
    turned = wanted.clone()
    turned[6:] *= -1
    assert objective(rows, Labels(other, scheme), wanted) != objective(
        rows, Labels(other, scheme), turned
    )


def test_a_teacher_that_is_not_fitted_is_refused(
    source: Path, drawings: Drawings, tmp_path: Path
) -> None:
    bare = replace(speaks(coarse), knows_mirrored=False)
    with pytest.raises(ConfigError, match="not a fitted one"):
        made(source, drawings, tmp_path, bare)


def test_variants_without_a_teacher_are_refused() -> None:
    with pytest.raises(ConfigError, match="no teacher"):
        TrainConfig(variants=10)


def test_a_training_with_variants_resumes_to_the_same_weights(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "teacher.toml"
    recipe.write_text('dim = 12\n[[members]]\nbackbone = "test_efficientnet"\nsize = 48\n')
    fitted = fit_ensemble(recipe, [source], tmp_path / "teacher", cache=tmp_path / "cache")
    config = replace(TINY, teacher=str(fitted), save_every=2)
    train(config, [source], tmp_path / "whole", cache=tmp_path / "cache")
    checked = training._check_finite
    steps = 0

    def interrupted(*args: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 4:
            raise KeyboardInterrupt
        checked(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "_check_finite", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, [source], tmp_path / "again", cache=tmp_path / "cache")
    monkeypatch.undo()
    train(config, [source], tmp_path / "again", cache=tmp_path / "cache", resume=True)
    weights = [(tmp_path / run / "last.safetensors").read_bytes() for run in ("whole", "again")]
    assert weights[0] == weights[1]
