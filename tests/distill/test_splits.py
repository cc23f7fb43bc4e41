"""The splits of `models/splits` are what the script draws, and no command steps over them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.split import (
    GAP,
    SPLITS,
    WANTED,
    designs_of,
    drawn,
    families_text,
    groups,
    held_families,
    split_text,
)
from distill.config import TrainConfig
from distill.cut_drawings import CutDrawings
from distill.data import load_drawings
from distill.leaks import load_seen
from distill.synthetic import FAMILIES
from distill.teacher import Teacher, teacher_embeddings
from distill.train import train
from edge_retrieval import cli
from edge_retrieval.design_number import us_digits
from edge_retrieval.errors import ConfigError, SourceError
from edge_retrieval.split import read_split

PATENTS = SPLITS / "uspto-multiview.toml"
TINY = TrainConfig(
    backbone="test_efficientnet", size=32, dim=8, steps=1, classes=2, subclasses=1, designs=2,
    figures=2, threads=1, held_out=0.2,
)  # fmt: skip
TEST = tuple(f"D{number}0" for number in (1, 2, 3, 4, 5, 6))
VALIDATION = tuple(f"D{number}0" for number in (7, 8, 9, 10, 11, 12))


# --- the files -----------------------------------------------------------------------------------


def test_parts_are_disjoint_and_siblings_stay_together() -> None:
    split = read_split(PATENTS)  # refuses a design that is named twice
    assert {part: len(own) for part, own in split.parts.items()} == {
        "train": 46, "validation": 14, "test": 44,
    }  # fmt: skip
    designs = [number for own in split.parts.values() for number in own]
    for one in designs:
        for other in designs:
            if abs(int(us_digits(one)) - int(us_digits(other))) <= GAP:
                assert split.part_of(one) == split.part_of(other), (one, other)


def test_the_file_is_what_the_script_draws(real_data: Path) -> None:
    designs = designs_of(real_data / "uspto-multiview")
    assert PATENTS.read_text(encoding="utf-8") == split_text(drawn(designs))
    assert read_split(PATENTS).parts == {p: tuple(own) for p, own in drawn(designs).items()}
    assert sorted(n for own in drawn(designs[::-1]).values() for n in own) == designs


def test_no_part_is_filled_beyond_what_was_wanted_and_groups_are_whole() -> None:
    numbers = [f"USD{n:07d}" for n in np.random.default_rng(0).integers(1, 20_000, 150).tolist()]
    numbers = sorted(set(numbers))
    parts = drawn(numbers)
    for part, wanted in WANTED.items():
        assert len(parts[part]) <= wanted
    for group in groups(numbers):
        assert sum(set(group) <= set(own) for own in parts.values()) == 1


def test_held_families_exist_are_of_ten_classes_and_leave_others_of_each() -> None:
    made = SPLITS / "made.toml"
    assert made.read_text(encoding="utf-8") == families_text(held_families())
    held = held_families()
    assert set(held) <= set(FAMILIES) and len({key[:2] for key in held}) == len(held) == 10
    left = {key[:2] for key in FAMILIES if key not in held}
    assert {key[:2] for key in held} <= left


# --- training, export, evaluation ----------------------------------------------------------------


@pytest.fixture(scope="module")
def split_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("splits") / "shapes.toml"
    file.write_text(f"validation = {[*VALIDATION]}\ntest = {[*TEST]}\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_what_a_split_gives_elsewhere_is_never_trained_on(
    source: Path, split_file: Path, cache: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    split = read_split(split_file)
    out = tmp_path / "run"
    train(TINY, [source], out, split=split, cache=cache, tell=told.append)
    seen = set(load_seen(out / "seen.npz")[1])
    assert seen and not seen & {*TEST, *VALIDATION}
    assert [line for line in told if line.startswith("left out")] == [
        "left out of the training: 12 designs that shapes.toml does not give to train on"
    ]
    said = json.loads((out / "provenance.json").read_text())
    held, trained = (said[side]["shapes0"]["design"] for side in ("held_out", "training"))
    assert held + trained == 36 - 12
    assert said["left_out"] == [line for line in told if line.startswith("left out")]
    assert (out / "split.toml").read_text() == split_file.read_text()
    with pytest.raises(ConfigError, match="other drawings"):  # a resume without it
        train(replace(TINY), [source], out, cache=cache, resume=True)


def test_validation_uses_its_own_part_alone_and_an_export_reads_the_same(
    source: Path, split_file: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    split = read_split(split_file)
    out = tmp_path / "run"
    train(TINY, [source], out, validation=[source], split=split, tell=told.append)
    said = json.loads((out / "provenance.json").read_text())
    assert said["training"]["shapes0"]["design"] == 24
    assert said["held_out"]["shapes0"]["design"] == 6
    assert any("left out of the validation: 30 designs" in line for line in told)
    cut = CutDrawings.read(out, TINY)
    assert {cut.designs[row] for row in cut.held_out} == {*VALIDATION}
    assert not {cut.designs[row] for row in cut.training} & {*TEST, *VALIDATION}
    assert len(cut.training) == 24 * 3
    assert set(cut.to_gate(limit=18).designs) == {*VALIDATION}


def test_what_is_left_out_has_no_part_in_what_a_teacher_tells(
    source: Path, split_file: Path, cache: Path, tmp_path: Path
) -> None:
    keep, _ = read_split(split_file).sides()
    whole = load_drawings([source], TINY, cache=cache)
    some = load_drawings([source], TINY, cache=cache, keep=keep)
    assert some.digest != whole.digest and some.parts == whole.parts and some.left_out == 12
    rows = [row for row, number in enumerate(whole.designs) if keep(number)]
    assert np.array_equal(some.fitted[:], whole.fitted[rows])
    assert np.array_equal(some.masters[:], whole.masters[rows])
    assert np.array_equal(some.signatures, whole.signatures[rows])
    assert np.array_equal(some.schemes[0].rows, np.arange(len(rows)))
    shown: list[int] = []

    def embed(images: np.ndarray) -> np.ndarray:
        shown.append(len(images))
        return images.reshape(len(images), -1)[:, :40].copy()

    teacher = Teacher("plain", some.preprocessing, "1", embed, is_trained=True)
    found = teacher_embeddings(teacher, [source], some, TINY, cache=tmp_path)
    assert len(found) == len(some) == sum(shown) / 2


def test_a_part_of_which_a_source_has_nothing_is_one_clear_error(
    source: Path, cache: Path, tmp_path: Path
) -> None:
    file = tmp_path / "s.toml"
    file.write_text('validation = ["USD1"]\n', encoding="utf-8")
    with pytest.raises(SourceError, match="wanted part of the split"):
        train(
            TINY, [source], tmp_path / "run", validation=[source], split=read_split(file),
            cache=cache,
        )  # fmt: skip


def test_the_command_line_measures_one_part_of_a_run_and_trains_without_it(
    source: Path,
    split_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edge-ret", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return (code, *capsys.readouterr())

    settings = [f"--set={name}={getattr(TINY, name)}" for name in (
        "backbone", "size", "dim", "steps", "classes", "subclasses", "designs", "figures",
    )]  # fmt: skip
    out = tmp_path / "run"
    code, _, err = call("train", "--data", source, "--split", split_file, "-o", out, *settings)
    assert code == 0 and "left out of the training: 12 designs" in err
    assert call("eval", out, "--data", source)[0] == 1  # most of it was trained on
    code, said, err = call("eval", out, "--data", source, "--split", split_file, "--json")
    found = json.loads(said)
    assert code == 0 and found["split"] == "test part of shapes.toml" and not found["leaks"]
    assert found["counts"]["designs"] == 6 and found["counts"]["other_parts"] == 30
    assert {table["gallery"] for table in found["figures"]} == {17}
    code, _, err = call(
        "eval", out, "--data", source, "--split", split_file, "--part", "validation"
    )
    assert code == 0 and "validation part" in err and "left out: 30 designs" in err
    assert call("eval", out, "--data", source, "--part", "test")[0] == 2
    code, _, err = call("eval", out, "--data", source, "--split", split_file, "--part", "train")
    assert code == 1 and "hint:" in err
