"""A teacher of frozen networks: what its map keeps, and that it is kept on disk as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from distill.config import TrainConfig
from distill.data import Scheme, load_drawings
from distill.ensemble import (
    ABOUT,
    WEIGHTS,
    EnsembleConfig,
    discriminant,
    fit_ensemble,
    open_ensemble,
)
from distill.teacher import open_teacher, teacher_embeddings
from edge_retrieval.errors import ConfigError
from edge_retrieval.split import read_split

RECIPE = """
dim = 12
shrinkage = 0.5
[[members]]
backbone = "test_efficientnet"
pool = "levels"
size = 32
[[members]]
backbone = "test_efficientnet"
pool = "levels"
size = 48
seed = 3
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    file.write_text(RECIPE)
    return file


@pytest.fixture(scope="module")
def fitted(recipe: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit_ensemble(recipe, [source], tmp_path_factory.mktemp("fit") / "teacher")


def scheme_of(designs: np.ndarray, name: str = "one", start: int = 0) -> Scheme:
    rows = np.arange(start, start + len(designs))
    return Scheme(name, ("design",), designs[:, None].astype(np.int32), rows)


def test_the_map_turns_away_from_what_differs_within_designs() -> None:
    rng = np.random.default_rng(0)
    designs = np.repeat(np.arange(40), 5)
    features = rng.normal(size=(200, 6))
    features[:, 0] = rng.normal(size=40)[designs] + rng.normal(0, 0.1, 200)  # tells designs apart
    features[:, 1] = 10 * rng.normal(size=200)  # loud, and tells nothing
    found = discriminant(features.astype(np.float32), [scheme_of(designs)], dim=6, shrinkage=0.0)
    rows = (features - found["shift"]) / found["scale"] @ found["directions"]
    share = np.abs(np.corrcoef(rows.T, features.T)[:6, 6:])
    loudest = rows.var(0).argmax()
    assert share[loudest, 0] > 0.95
    assert share[loudest, 1] < 0.2


def test_the_map_is_fishers_discriminant_written_out_by_loops() -> None:
    rng = np.random.default_rng(1)
    designs = np.repeat(np.arange(12), 4)
    other = np.array([0, 0, 1, 2, 2, 2])
    features = rng.normal(size=(54, 5)).astype(np.float32)
    features[:48] += 2 * rng.normal(size=(12, 5))[designs]
    schemes = [scheme_of(designs), scheme_of(other, "two", 48)]
    found = discriminant(features, schemes, dim=5, shrinkage=0.3)

    rows = features.astype(float)
    standard = (rows - rows.mean(0)) / (rows.std(0) + 1e-4)
    total = sum(np.outer(row, row) for row in standard) / len(standard)
    within = np.zeros((5, 5))
    for scheme, labels in zip(schemes, (designs, other), strict=True):
        scatter, free = np.zeros((5, 5)), 0
        for design in set(labels.tolist()):
            own = standard[scheme.rows][labels == design]
            if len(own) > 1:
                scatter += sum(np.outer(r - own.mean(0), r - own.mean(0)) for r in own)
                free += len(own) - 1
        within += scatter / free / 2
    white = np.linalg.inv(np.linalg.cholesky(total))
    inside = white @ within @ white.T
    inside = 0.7 * inside + 0.3 * np.trace(inside) / 5 * np.eye(5)
    shares, axes = np.linalg.eigh(inside)
    metric = white.T @ axes @ np.diag(np.maximum(1 - shares, 1e-2) / shares) @ axes.T @ white
    assert np.allclose(found["directions"] @ found["directions"].T, metric, rtol=1e-6, atol=1e-8)


def test_designs_of_one_figure_each_tell_no_scatter() -> None:
    with pytest.raises(ConfigError, match="no design has two figures"):
        discriminant(
            np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32),
            [scheme_of(np.arange(9))],
            dim=3,
            shrinkage=0.5,
        )


def test_a_fitted_teacher_embeds_as_it_was_fitted_and_a_row_hangs_on_its_drawing_alone(
    fitted: Path, source: Path, tmp_path: Path
) -> None:
    network, _ = open_ensemble(fitted)
    config = TrainConfig(size=network.size)
    drawings = load_drawings([source], config, cache=tmp_path)
    images = drawings.images(np.arange(10))
    rows = network.embed(images)
    assert rows.shape == (10, 12)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    again, _ = open_ensemble(fitted)
    # Not to the last bit: how BLAS adds hangs on how many rows there are, on some processors.
    assert np.allclose(again.embed(images[3:5]), rows[3:5], rtol=0, atol=1e-6)


def test_its_embeddings_are_those_that_a_student_is_given(
    fitted: Path, source: Path, tmp_path: Path
) -> None:
    config = TrainConfig(size=24)
    drawings = load_drawings([source], config, cache=tmp_path)
    given = teacher_embeddings(
        open_teacher(str(fitted)), [source], drawings, config, cache=tmp_path
    )
    network, _ = open_ensemble(fitted)
    seen = load_drawings([source], TrainConfig(size=network.size), cache=tmp_path)
    assert np.allclose(given, network.embed(seen.images(np.arange(len(seen)))), atol=1e-6)


def test_students_of_two_sizes_share_what_the_teacher_said(
    fitted: Path, source: Path, tmp_path: Path
) -> None:
    for size in (24, 32):
        config = TrainConfig(size=size)
        drawings = load_drawings([source], config, cache=tmp_path)
        teacher_embeddings(open_teacher(str(fitted)), [source], drawings, config, cache=tmp_path)
    assert len(list(tmp_path.glob("teacher-*.npy"))) == 1


def test_designs_of_other_parts_of_a_split_are_not_fitted_on(
    recipe: Path, source: Path, tmp_path: Path
) -> None:
    file = tmp_path / "split.toml"
    numbers = [f"D{number}0" for number in range(36)]
    file.write_text(
        f"seed = 0\ngap = 0\ntrain = {numbers[:30]}\nvalidation = {numbers[30:33]}\n"
        f"test = {numbers[33:]}\n"
    )
    out = fit_ensemble(recipe, [source], tmp_path / "teacher", split=read_split(file))
    said = json.loads((out / ABOUT).read_text())
    assert [one["figures"] for one in said["fitted_on"]] == [90]


@pytest.mark.parametrize("file", [ABOUT, WEIGHTS])
def test_a_damaged_teacher_is_refused(
    recipe: Path, source: Path, tmp_path: Path, file: str
) -> None:
    out = fit_ensemble(recipe, [source], tmp_path / "teacher")
    data = bytearray((out / file).read_bytes())
    data[len(data) // 2 :] = b""
    (out / file).write_bytes(data)
    with pytest.raises(ConfigError, match=file):
        open_ensemble(out)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dim = 3", "no members"),
        ("dimm = 3\n[[members]]\nsize = 32", "no setting 'dimm'"),
        ("dim = 1\n[[members]]\nsize = 32", "dim = 1"),
        ('[[members]]\nweights = "absent.pt"', "no such weights"),
        ("[[members]]\nsise = 32", "no setting 'sise'"),
        ("dim = ", "not a recipe"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        EnsembleConfig.load(file)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
