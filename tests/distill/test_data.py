"""Drawings in memory: the very arrays of `fit`, schemes apart, a fair split, a true cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from distill import cutting
from distill.config import TrainConfig
from distill.data import Drawings, load_drawings
from edge_retrieval.drawing import Preprocessing, cut_sheet, fit_batch
from edge_retrieval.errors import SourceError
from edge_retrieval.sources import Design, open_source

CONFIG = TrainConfig(size=32)


def draw_tree(root: Path, designs: int = 12, figures: int = 2) -> Path:
    """Boxes, crosses and rings: class/subclass/design/figure.png."""
    for number in range(designs):
        kind = number % 3
        folder = root / f"kind{kind}" / f"sort{number % 6}" / f"D{number:04d}7"
        folder.mkdir(parents=True)
        for figure in range(figures):
            image = Image.new("L", (150, 120), 255)
            pen = ImageDraw.Draw(image)
            box = (10 + 2 * figure, 10, 90 + 4 * number, 100)
            if kind == 0:
                pen.rectangle(box, outline=0, width=3)
            elif kind == 1:
                pen.ellipse(box, outline=0, width=3)
            else:
                pen.line(box, fill=0, width=3)
                pen.line((box[0], box[3], box[2], box[1]), fill=0, width=3)
            image.save(folder / f"{figure}.png")
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def drawings(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Drawings:
    return load_drawings([tree], CONFIG, cache=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("channels", [1, 3])
def test_figures_are_those_of_fit_bit_for_bit(tree: Path, tmp_path: Path, channels: int) -> None:
    config = TrainConfig(size=32, channels=channels)
    found = load_drawings([tree], config, cache=tmp_path)
    figures = [
        figure
        for design in open_source(tree)
        if isinstance(design, Design)
        for sheet in design.sheets
        for figure in cut_sheet(sheet.read(), where=sheet.where, boxes=sheet.boxes)
    ]
    expected = fit_batch(figures, Preprocessing(size=32, channels=channels))
    assert np.array_equal(found.images(np.arange(len(found))), expected)


def test_codes_follow_the_folders(drawings: Drawings) -> None:
    [scheme] = drawings.schemes
    assert scheme.levels == ("class", "subclass", "design")
    assert [len(np.unique(column)) for column in scheme.codes.T] == [3, 6, 12]
    assert len(drawings) == 24


def test_two_sources_are_two_schemes(tree: Path, tmp_path: Path) -> None:
    other = draw_tree(tmp_path / "other", designs=3)
    found = load_drawings([tree, other], CONFIG, cache=tmp_path / "cache")
    assert len({scheme.name for scheme in found.schemes}) == 2
    rows = np.concatenate([scheme.rows for scheme in found.schemes])
    assert sorted(rows.tolist()) == list(range(len(found))) == list(range(30))


def test_a_second_start_reads_the_cache_and_a_changed_source_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = draw_tree(tmp_path / "tree", designs=3), tmp_path / "cache"
    first = load_drawings([root], CONFIG, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(cutting, "cut_sheet", lambda *_, **__: pytest.fail("cut again"))
        second = load_drawings([root], CONFIG, cache=cache)
    assert np.array_equal(first.fitted[:], second.fitted[:])
    assert np.array_equal(first.masters[:], second.masters[:])
    assert (first.designs, first.digest) == (second.designs, second.digest)
    (next(root.rglob("1.png"))).unlink()
    assert len(load_drawings([root], CONFIG, cache=cache)) == len(first) - 1


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    root, cache = draw_tree(tmp_path / "tree", designs=3), tmp_path / "cache"
    first = load_drawings([root], CONFIG, cache=cache)
    [folder] = cache.iterdir()
    for name in ("masters.npy", "fitted.npy", "said.json"):
        whole = (folder / name).read_bytes()
        for content in (b"", whole[:-5], whole + b"more", whole[:8] + b"\0" * (len(whole) - 8)):
            (folder / name).write_bytes(content)
            again = load_drawings([root], CONFIG, cache=cache)
            assert np.array_equal(first.fitted[:], again.fitted[:])
            assert first.digest == again.digest
        (folder / name).unlink()
        assert len(load_drawings([root], CONFIG, cache=cache)) == len(first)


def test_what_cannot_be_read_is_told_and_the_rest_is_used(tmp_path: Path) -> None:
    root = draw_tree(tmp_path / "tree", designs=3)
    broken = root / "kind0" / "sort0" / "D00007" / "0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    for _ in range(2):  # the second time from the cache
        found = load_drawings([root], CONFIG, cache=tmp_path / "cache")
        assert len(found) == 5
        [problem] = found.problems
        assert "0.png" in problem.where and problem.reason


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError):
        load_drawings([tmp_path / "empty"], CONFIG, cache=tmp_path / "cache")
    with pytest.raises(SourceError):
        load_drawings([], CONFIG, cache=tmp_path / "cache")


def test_a_split_is_by_design_complete_and_repeatable(drawings: Drawings) -> None:
    [training], [held_out] = drawings.split(0.25, 0)
    designs = np.array(drawings.designs)
    assert not set(designs[training.rows]) & set(designs[held_out.rows])
    assert len(training.rows) + len(held_out.rows) == len(drawings)
    assert len(set(designs[held_out.rows])) == 3
    assert np.array_equal(drawings.split(0.25, 0)[1][0].rows, held_out.rows)
    assert not np.array_equal(drawings.split(0.25, 1)[1][0].rows, held_out.rows)
    assert drawings.split(0.0, 0)[1] == ()


def test_consecutive_numbers_stay_on_one_side(drawings: Drawings) -> None:
    numbers = tuple(f"USD{900000 + row // 2}" for row in range(len(drawings)))
    siblings = Drawings(
        drawings.masters, drawings.fitted, drawings.schemes, numbers, (), drawings.preprocessing
    )
    for seed in range(5):
        training, held_out = siblings.split(0.3, seed)
        blocks = [{numbers[row][:-1] for row in side[0].rows} for side in (training, held_out)]
        assert not blocks[0] & blocks[1]
