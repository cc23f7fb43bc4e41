"""The whole line, from a recipe to a bundle that knows what its scores mean."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from distill.line import Line, _lend, reproduce
from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import ConfigError

TEACHER = """
dim = 12
[[members]]
backbone = "test_efficientnet"
pool = "levels"
size = 32
"""
PASS = """
[[passes]]
backbone = "test_efficientnet"
pool = "levels"
symmetric = true
size = 32
dim = 16
prefixes = [8, 16]
classes = 2
subclasses = 2
designs = 2
steps = 6
"""
RECIPE = f"""
split = "split.toml"
teacher = "teacher.toml"
[made]
designs = 40
views = 3
size = 64
seed = 1
{PASS}
{PASS}
teacher = "fitted"
[calibration]
parts = ["validation", "test"]
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes") / "tiny"
    folder.mkdir()
    numbers = [f"D{number}0" for number in range(36)]
    (folder / "split.toml").write_text(
        f"seed = 0\ngap = 0\ntrain = {numbers[:12]}\nvalidation = {numbers[12:24]}\n"
        f"test = {numbers[24:]}\n"
    )
    (folder / "teacher.toml").write_text(TEACHER)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder / "recipe.toml"


@pytest.fixture(scope="module")
def work(recipe: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("work")
    reproduce(Line.load(recipe), [source], out, validation=source, threads=1)
    return out


def test_a_recipe_becomes_a_bundle_with_strengths_and_prefixes(work: Path) -> None:
    bundle = Bundle.open(work / "bundles" / "tiny-fp32")
    assert bundle.prefixes == (8,)
    assert bundle.calibration is not None
    rows = load_encoder(bundle).embed(np.zeros((2, 1, 32, 32), np.float32))
    assert rows.shape == (2, 16)


def test_the_second_pass_starts_from_the_first_and_is_taught(work: Path) -> None:
    said = (work / "runs" / "tiny-2" / "config.toml").read_text()
    assert str(work / "runs" / "tiny-1" / "last.safetensors") in said
    assert f'teacher = "{work / "teacher"}"' in said


def test_the_same_command_again_keeps_what_is_finished(
    recipe: Path, work: Path, source: Path, tmp_path: Path
) -> None:
    before = (work / "made" / "metadata.csv").stat().st_mtime_ns
    weights = (work / "runs" / "tiny-2" / "last.safetensors").read_bytes()
    said: list[str] = []
    reproduce(Line.load(recipe), [source], work, validation=source, threads=1, tell=said.append)
    assert (work / "made" / "metadata.csv").stat().st_mtime_ns == before
    assert (work / "runs" / "tiny-2" / "last.safetensors").read_bytes() == weights
    assert not any(line.startswith(("drawing", "fitting")) for line in said)


def test_half_made_drawings_are_made_again(recipe: Path, source: Path, tmp_path: Path) -> None:
    (tmp_path / "made.partial").mkdir()
    (tmp_path / "made.partial" / "rest").write_text("of a killed process")
    line = Line.load(recipe)
    with pytest.raises(ConfigError):  # after the drawings: no such source to fit the teacher on
        reproduce(
            Line(**{**vars(line), "teacher": tmp_path / "absent"}), [source], tmp_path, threads=1
        )
    assert (tmp_path / "made" / "metadata.csv").is_file()
    assert not (tmp_path / "made" / "rest").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("splitt = 'x'", "no setting 'splitt'"),
        ("", r"no \[\[passes\]\]"),
        ("[[passes]]\nsteps = 1\nbackbon = 'x'", "no setting 'backbon'"),
        ("[[passes]]\nteacher = 'fitted'", "no teacher to fit"),
        ("[[passes", "not a recipe"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        Line.load(file)


def test_parts_that_the_recipe_draws_must_be_given(
    recipe: Path, source: Path, tmp_path: Path
) -> None:
    shutil.copytree(recipe.parent, tmp_path / "parts")
    file = tmp_path / "parts" / "recipe.toml"
    file.write_text(
        "[ldraw]\ndesigns = 3\n"
        + RECIPE.replace('split = "split.toml"', "", 1)
        .replace('teacher = "teacher.toml"', "", 1)
        .replace('teacher = "fitted"', "")
    )
    with pytest.raises(ConfigError, match="draws LDraw parts") as caught:
        reproduce(Line.load(file), [source], tmp_path / "out")
    assert "--ldraw" in str(caught.value.hint)


def test_the_recipes_that_ship_can_be_read() -> None:
    models = Path(__file__).parents[2] / "models"
    for file in models.glob("*/recipe.toml"):
        if file.parent.name != "teacher":
            assert Line.load(file).passes
    assert (models / "teacher" / "recipe.toml").is_file()


def test_a_recipe_may_go_on_from_the_passes_of_another(recipe: Path) -> None:
    own = recipe.parent.parent / "large"
    own.mkdir()
    file = own / "recipe.toml"
    teacher = 'teacher = "../tiny/teacher.toml"\n'
    file.write_text(f'after = "../tiny/{recipe.name}"\n{teacher}{PASS}lr = 1e-4\n')
    line = Line.load(file)
    assert [name for name, _ in line.passes] == ["tiny-1", "tiny-2", "large-1"]
    assert line.passes[:2] == Line.load(recipe).passes
    assert line.passes[2][1].lr == 1e-4
    finer = own / "finer.toml"
    finer.write_text(f'after = "../tiny/{recipe.name}"\n{teacher}[refit]\nsize = 48\n')
    assert Line.load(finer).passes == Line.load(recipe).passes
    assert Line.load(finer).size == 48
    finer.write_text(f'after = "../tiny/{recipe.name}"\n{teacher}[refit]\nsise = 48\n')
    with pytest.raises(ConfigError, match="sise"):
        Line.load(finer)
    finer.write_text(f'after = "../tiny/{recipe.name}"\n{teacher}[refit]\nsize = 47\n')
    with pytest.raises(ConfigError, match="size = 47"):
        Line.load(finer)
    third = own / "third.toml"
    third.write_text(f'after = "recipe.toml"\n{PASS}')
    with pytest.raises(ConfigError, match="after another recipe itself"):
        Line.load(third)


def test_a_run_has_the_drawings_also_where_no_links_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    (tmp_path / "cache" / "made").mkdir(parents=True)
    (tmp_path / "cache" / "made" / "squares.npy").write_bytes(b"drawings")
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(Path, "symlink_to", refuse)
    for _ in range(2):  # what is there already is left
        _lend(tmp_path / "cache", tmp_path / "run" / "cache")
    assert (tmp_path / "run" / "cache" / "made" / "squares.npy").read_bytes() == b"drawings"
