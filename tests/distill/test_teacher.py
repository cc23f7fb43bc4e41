"""A teacher: opened from anything, its embeddings computed once and found again."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distill import teacher as module
from distill.config import TrainConfig
from distill.data import load_drawings
from distill.export import ExportSettings, export_run
from distill.model import load_student, make_features, make_student
from distill.teacher import open_teacher, teacher_embeddings
from distill.train import train
from edge_retrieval.errors import ConfigError
from edge_retrieval.metrics import leave_one_out

TINY = TrainConfig(
    backbone="test_efficientnet", size=32, dim=16, epochs=2, classes=3, subclasses=2, designs=3,
    figures=2, threads=1, held_out=0.3, lr=4e-3, seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that sees twice as many pixels a side as the student."""
    out = tmp_path_factory.mktemp("runs") / "teacher"
    train(replace(TINY, size=64, dim=24), [source], out)
    return out


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipes") / "bare.toml"
    replace(TINY, size=64, channels=3, seed=5).save(file)
    return file


def embeddings_of(named: Path, source: Path, cache: Path) -> np.ndarray:
    drawings = load_drawings([source], TINY, cache=cache, labelled=False)
    return teacher_embeddings(open_teacher(str(named)), [source], drawings, TINY, cache=cache)


def test_a_run_a_bundle_and_a_recipe_can_teach(
    source: Path, cache: Path, run: Path, recipe: Path, tmp_path: Path
) -> None:
    export_run(run, tmp_path, ExportSettings(formats=("onnx",)), name="t")
    by_run = embeddings_of(run, source, cache)
    by_bundle = embeddings_of(tmp_path / "t-fp32", source, cache)
    bare = embeddings_of(recipe, source, cache)
    assert by_run.shape == by_bundle.shape == (108, 24)
    assert np.allclose(by_run, by_bundle, atol=1e-4)
    assert len(bare) == 108
    for rows in (by_run, bare):
        assert rows.dtype == np.float32
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_a_teacher_sees_figures_at_its_own_size_as_they_are_and_mirrored(
    source: Path, cache: Path, run: Path
) -> None:
    student, config = load_student(run)
    large = load_drawings([source], config, cache=cache)
    images = large.images(np.arange(len(large)))
    with torch.inference_mode():
        both = student(torch.from_numpy(images)) + student(
            torch.from_numpy(np.ascontiguousarray(images[..., ::-1]))
        )
    expected = torch.nn.functional.normalize(both - both.mean(0)).numpy()
    assert np.allclose(embeddings_of(run, source, cache), expected, atol=1e-4)


def test_bare_features_are_centred_and_half_whitened(
    source: Path, cache: Path, recipe: Path
) -> None:
    """By plain loops: what is kept of each principal direction is the root of its own spread."""
    config = TrainConfig.load(recipe)
    large = load_drawings([source], config, cache=cache)
    images = large.images(np.arange(len(large)))
    features = make_features(config)
    rows = []
    for image in images:
        sides = []
        for shown in (image, np.ascontiguousarray(image[..., ::-1])):
            with torch.inference_mode():
                side = features(torch.from_numpy(shown[None]))[0].double().numpy()
            sides.append(side / np.linalg.norm(side))
        rows.append(sides[0] + sides[1])
    table = np.stack(rows)
    table = table - table.mean(axis=0)
    _, singular, directions = np.linalg.svd(table, full_matrices=False)
    deviation = singular / np.sqrt(len(table))
    kept = deviation**2 > 1e-9 * deviation[0] ** 2
    expected = table @ directions[kept].T / np.sqrt(deviation[kept])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = embeddings_of(recipe, source, cache)
    assert np.allclose(found @ found.T, expected @ expected.T, atol=2e-3)


def test_embeddings_are_computed_once(
    source: Path, cache: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = embeddings_of(recipe, source, cache)

    def computes(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(module, "_both", computes)
    assert np.array_equal(embeddings_of(recipe, source, cache), first)


def test_damaged_embeddings_are_computed_again(
    source: Path, cache: Path, recipe: Path, tmp_path: Path
) -> None:
    own = tmp_path / "cache"
    first = embeddings_of(recipe, source, own)
    [file] = own.glob("teacher-*.npy")
    whole = file.read_bytes()
    file.write_bytes(whole[:300])
    assert np.array_equal(embeddings_of(recipe, source, own), first)
    assert file.read_bytes() == whole


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    source: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.np, "save", full)
    with pytest.raises(ConfigError, match="No space left"):
        embeddings_of(recipe, source, tmp_path)
    assert not list(tmp_path.glob("teacher-*"))


def test_one_figure_alone_can_be_shown_to_a_teacher(
    source: Path, recipe: Path, tmp_path: Path
) -> None:
    """Nothing tells it from others; that it is too little to train on is said later."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "0.png").symlink_to(next(source.rglob("*.png")))
    assert not embeddings_of(recipe, tmp_path / "one", tmp_path / "cache").any()


def test_a_teacher_that_gives_no_numbers_is_refused(
    source: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module._both
    monkeypatch.setattr(module, "_both", lambda *given: [part * np.nan for part in real(*given)])
    with pytest.raises(ConfigError, match="not finite"):
        embeddings_of(recipe, source, tmp_path)


def test_a_student_learns_its_teachers_neighbours_without_any_label(
    source: Path, cache: Path, run: Path, tmp_path: Path
) -> None:
    """Designs without a class are welcome, and pure distillation brings the student nearer."""
    unlabelled = tmp_path / "unlabelled"
    unlabelled.mkdir()
    for folder in sorted(source.glob("*/*/D*")):
        (unlabelled / folder.name).symlink_to(folder)
    unchanged = dict.fromkeys(
        ("tilt", "shrink", "stretch", "strokes", "contrast", "erase", "dashes", "specks",
         "binarise"), 0.0,
    )  # fmt: skip
    config = replace(
        TINY, teacher=str(run), label_weight=0, steps=150, validate_every=150, lr=1e-2, **unchanged
    )
    result = train(config, [unlabelled], tmp_path / "student", cache=cache)
    assert result.steps == 150
    drawings = load_drawings([unlabelled], config, cache=cache, labelled=False)
    wanted = teacher_embeddings(open_teacher(str(run)), [unlabelled], drawings, TINY, cache=cache)
    images = torch.from_numpy(drawings.images(np.arange(len(drawings))))
    agreement = []
    for student in (load_student(tmp_path / "student")[0], make_student(config).eval()):
        with torch.inference_mode():
            rows = student(images).numpy()
        agreement.append(np.corrcoef((rows @ rows.T).ravel(), (wanted @ wanted.T).ravel())[0, 1])
    assert agreement[0] > agreement[1] + 0.1


@pytest.mark.parametrize("named", ["/no/such/folder", "no_such_network", "missing.toml"])
def test_what_cannot_teach_is_one_clear_error(named: str) -> None:
    with pytest.raises(ConfigError):
        open_teacher(named)


def test_a_teacher_without_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match="teacher"):
        TrainConfig(teacher="somewhere", regression_weight=0, similarity_weight=0)


@pytest.mark.real
def test_imagenet_features_find_more_real_designs_half_whitened(
    real_data: Path, tmp_path: Path
) -> None:
    """Some of the real multi-view designs, at a small size."""
    file = tmp_path / "bare.toml"
    TrainConfig(
        backbone="mobilenetv1_100",
        backbone_args='channel_multiplier = 0.5, pad_type = "same"',
        weights=str(real_data / "weights" / "mobilenetv1_050_imagenet.fp16.pt"),
        size=64, channels=3, seed=5,
    ).save(file)  # fmt: skip
    some = tmp_path / "some"
    (some / "sheets").mkdir(parents=True)
    lines = (real_data / "uspto-multiview" / "metadata.csv").read_text().splitlines()
    kept = lines[:161]
    (some / "metadata.csv").write_text("\n".join(kept) + "\n")
    for line in kept[1:]:
        name = line.split(",")[0]
        target = some / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(real_data / "uspto-multiview" / name)
    config = replace(TINY, size=32)
    drawings = load_drawings([some], config, cache=tmp_path)
    teacher = open_teacher(str(file))
    scheme = drawings.schemes[0]
    scores = []
    for one in (teacher, replace(teacher, is_trained=True, fingerprint="plain")):
        rows = teacher_embeddings(one, [some], drawings, config, cache=tmp_path)[scheme.rows]
        found = leave_one_out(rows, scheme.codes, scheme.levels)
        scores += [s.values["mAP"] for s in found if s.level == "design"]
    assert scores[0] > scores[1] > 0.2
