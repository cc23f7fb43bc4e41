"""Drawings in memory: the very arrays of `fit`, schemes apart, a fair split, a true cache."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image, ImageDraw

from distill import cutting, drawing_cache
from distill.augment import Squares
from distill.config import TrainConfig
from distill.data import Drawings, Scheme, joined, load_drawings
from distill.drawing_cache import CutDesign, CutSource, Stack
from distill.leaks import signatures
from edge_retrieval.drawing import Preprocessing, cut_sheet, fit_batch
from edge_retrieval.errors import ConfigError, SourceError
from edge_retrieval.sources import Design, open_source

CONFIG = TrainConfig(size=32)
T = TypeVar("T")


def draw(seed: int, moved: int = 0) -> Image.Image:
    """Lines that no other seed draws."""
    image = Image.new("L", (150, 120), 255)
    corners = np.random.default_rng(seed).integers(10, 110, (7, 2)) + moved
    ImageDraw.Draw(image).line([(float(x), float(y)) for x, y in corners], fill=0, width=3)
    return image


def draw_tree(root: Path, designs: int = 12, figures: int = 2) -> Path:
    """class/subclass/design/figure.png"""
    for number in range(designs):
        folder = root / f"kind{number % 3}" / f"sort{number % 6}" / f"D{number:04d}7"
        folder.mkdir(parents=True)
        for figure in range(figures):
            draw(10 * number + figure).save(folder / f"{figure}.png")
    return root


def cut_of(*designs: tuple[str, str]) -> CutSource:
    """A source of designs (number, labels joined by a space), one small figure each."""
    squares = np.arange(len(designs) * 64, dtype=np.uint8).reshape(-1, 8, 8)
    kept = tuple(CutDesign(number, tuple(labels.split()), number, 1) for number, labels in designs)
    return CutSource(squares, squares, signatures(squares), kept, (), "digest")


def join(*sources: CutSource, one_scheme: bool = False, labelled: bool = True) -> Drawings:
    names = [f"source{number}" for number in range(len(sources))]
    found = joined(sources, names, Preprocessing(size=8), one_scheme=one_scheme, labelled=labelled)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def drawings(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Drawings:
    return load_drawings([tree], CONFIG, cache=tmp_path_factory.mktemp("cache"))


def test_drawings_that_show_nothing_are_told_apart_from_designs_without_a_class(
    tmp_path: Path,
) -> None:
    (tmp_path / "blank" / "kind" / "D1").mkdir(parents=True)
    Image.new("L", (50, 50), 255).save(tmp_path / "blank" / "kind" / "D1" / "0.png")
    with pytest.raises(SourceError, match=r"0\.png"):
        load_drawings([tmp_path / "blank"], CONFIG, cache=tmp_path / "cache")


def test_another_process_may_finish_its_cache_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was writing is gone when its age is asked."""
    (tmp_path / ".key.new-abc").mkdir()
    real = Path.iterdir

    def gone(path: Path) -> object:
        if path.name == ".key.new-abc":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", gone)
    drawing_cache.write_cut(tmp_path / "key", [], (48, 32))
    assert (tmp_path / "key" / "said.json").is_file()


def test_every_scheme_has_a_name_of_its_own(tmp_path: Path) -> None:
    """The first source is called as the second would be, to tell it from its namesake."""
    sources = [draw_tree(tmp_path / name, designs=2) for name in ("a/x-1", "b/x", "c/x")]
    schemes = load_drawings(sources, CONFIG, cache=tmp_path / "cache").schemes
    assert len({scheme.name for scheme in schemes}) == 3


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
    assert np.array_equal(second.signatures, signatures(second.fitted))
    (next(root.rglob("1.png"))).unlink()
    assert len(load_drawings([root], CONFIG, cache=cache)) == len(first) - 1


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    root, cache = draw_tree(tmp_path / "tree", designs=3), tmp_path / "cache"
    first = load_drawings([root], CONFIG, cache=cache)
    [folder] = cache.iterdir()
    for name in ("masters.npy", "fitted.npy", "signatures.npy", "said.json"):
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
    (tmp_path / "loose").mkdir()
    draw(1).save(tmp_path / "loose" / "1.png")
    with pytest.raises(SourceError, match="no drawing of a labelled design"):
        load_drawings([tmp_path / "loose"], CONFIG, cache=tmp_path / "cache")
    found = load_drawings([tmp_path / "loose"], CONFIG, cache=tmp_path / "cache", labelled=False)
    assert found.schemes[0].levels == ("design",)


def test_a_missing_label_is_unknown_and_the_design_is_known() -> None:
    [scheme] = join(cut_of(("D1", "06 01"), ("D2", "06"), ("D3", "06 01"), ("D4", "07"))).schemes
    assert scheme.levels == ("class", "subclass", "design")
    assert scheme.codes.tolist() == [[0, 0, 0], [0, -1, 1], [0, 0, 2], [1, -1, 3]]


def test_equal_names_under_two_classes_are_two_subclasses() -> None:
    [scheme] = join(cut_of(("D1", "06 other"), ("D2", "07 other"))).schemes
    assert len(set(scheme.codes[:, 1].tolist())) == 2


def test_designs_without_a_class_are_told_of_or_kept() -> None:
    source = cut_of(("D1", "06 01"), ("D2", ""), ("D3", "07 01"))
    found = join(source)
    assert found.designs == ("D1", "D3") and len(found) == 2
    assert [problem.where for problem in found.problems] == ["D2"]
    assert np.array_equal(found.fitted[:], source.fitted[[0, 2]])
    kept = join(source, labelled=False)
    assert len(kept) == 3 and kept.problems == ()
    assert kept.schemes[0].codes.tolist() == [[0, 0, 0], [-1, -1, 1], [1, 1, 2]]


def test_one_number_in_two_sources_is_one_design_only_in_one_scheme() -> None:
    sources = cut_of(("D1", "06"), ("D2", "07")), cut_of(("D1", "06 01"), ("D3", "07 02"))
    apart = join(*sources)
    assert [scheme.codes[:, -1].tolist() for scheme in apart.schemes] == [[0, 1], [0, 1]]
    assert [scheme.levels for scheme in apart.schemes] == [
        ("level1", "design"),
        ("class", "subclass", "design"),
    ]
    [scheme] = join(*sources, one_scheme=True).schemes
    assert scheme.name == "all"
    assert scheme.codes.tolist() == [[0, 0, 0], [1, -1, 1], [0, 0, 0], [1, 1, 2]]
    assert scheme.rows.tolist() == [0, 1, 2, 3]


def test_where_two_sources_contradict_each_other_nothing_is_known_below() -> None:
    sources = cut_of(("D1", "06 01"), ("D2", "06 01")), cut_of(("D1", "06 02"), ("D2", "09 01"))
    [scheme] = join(*sources, one_scheme=True).schemes
    assert scheme.codes.tolist() == [[0, -1, 0], [-1, -1, 1]] * 2


def test_renumbered_designs_have_no_gaps_and_all_else_stays() -> None:
    codes = np.array([[4, 9], [4, 2], [-1, 9], [0, 5]], np.int32)
    scheme = Scheme("some", ("class", "design"), codes, np.array([3, 5, 7, 8]))
    dense = scheme.renumbered()
    assert dense.codes.tolist() == [[4, 2], [4, 0], [-1, 2], [0, 1]]
    assert (dense.name, dense.levels, dense.rows.tolist()) == ("some", scheme.levels, [3, 5, 7, 8])
    assert scheme.codes[0, 1] == 9


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = draw_tree(tmp_path / "tree", designs=3), tmp_path / "cache"
    append = drawing_cache._Growing.append

    def full(file: drawing_cache._Growing, row: Squares) -> None:
        if file.count > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(file, row)

    with monkeypatch.context() as patch:
        patch.setattr(drawing_cache._Growing, "append", full)
        with pytest.raises(ConfigError, match=r"cache: .*No space left") as caught:
            load_drawings([root], CONFIG, cache=cache)
    assert "kB" in caught.value.hint
    assert list(cache.iterdir()) == []
    assert len(load_drawings([root], CONFIG, cache=cache)) == 6


def test_a_stopped_cut_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    root, cache = draw_tree(tmp_path / "tree", designs=6), tmp_path / "cache"

    def stopping(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
        for number, item in enumerate(items):
            if number == 4:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        load_drawings([root], CONFIG, cache=cache, track=stopping)
    assert list(cache.iterdir()) == []
    whole = load_drawings([root], CONFIG, cache=cache)
    [folder] = cache.iterdir()
    left = cache / f".{folder.name}.new-killed"  # as a kill -9 leaves it
    folder.rename(left)
    assert np.array_equal(load_drawings([root], CONFIG, cache=cache).fitted[:], whole.fitted[:])
    assert left.exists()  # its writer may still be at work
    for path in (left, *left.iterdir()):
        os.utime(path, (0, 0))
    (folder / "fitted.npy").unlink()
    load_drawings([root], CONFIG, cache=cache)
    assert [path.name for path in cache.iterdir()] == [folder.name]


def test_a_stack_indexes_as_one_array_would() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 256, (count, 4, 4), np.uint8) for count in (5, 0, 3)]
    plain, stack = np.concatenate(parts), Stack(parts)
    assert len(stack) == 8 and stack.shape == plain.shape
    for rows in ([7, 0, 4, 5, 5], [], [6], np.array([1, 6])):
        assert np.array_equal(stack[rows], plain[np.array(rows, int)])
    assert np.array_equal(stack[2:7:2], plain[2:7:2])
    some = stack.only(np.array([6, 1, 4]))
    assert some.shape == (3, 4, 4) and np.array_equal(some[[2, 0]], plain[[4, 6]])
    assert np.array_equal(some.only(np.array([1]))[:], plain[[1]])
    for wrong in ([8], [-1]):
        with pytest.raises(IndexError):
            stack[wrong]


def test_drawings_stay_on_the_disk_also_on_their_way_to_a_process(drawings: Drawings) -> None:
    sent = pickle.dumps(drawings.masters)
    assert len(sent) < 2000 < drawings.masters[:].nbytes
    assert np.array_equal(pickle.loads(sent)[:], drawings.masters[:])


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
    siblings = replace(drawings, designs=numbers)
    for seed in range(5):
        training, held_out = siblings.split(0.3, seed)
        blocks = [{numbers[row][:-1] for row in side[0].rows} for side in (training, held_out)]
        assert not blocks[0] & blocks[1]


def test_designs_that_share_half_of_their_figures_stay_on_one_side(tmp_path: Path) -> None:
    root = draw_tree(tmp_path / "tree", designs=12)
    for twin, of in ((3, 8), (8, 11)):
        folder = next(root.rglob(f"D{twin:04d}7"))
        for figure in ("0.png", "1.png"):
            original = next(root.rglob(f"D{of:04d}7")) / figure
            shutil.copy(original, folder / f"copy-{figure}")
    found = load_drawings([root], CONFIG, cache=tmp_path / "cache")
    numbers = np.array(found.designs)
    together = {"D00037", "D00087", "D00117"}
    sides = set()
    for seed in range(12):
        [training], [held_out] = found.split(0.4, seed)
        held = set(numbers[held_out.rows].tolist())
        assert held & together in (set(), together)
        assert len(held) <= 5 and not held & set(numbers[training.rows].tolist())
        sides.add(bool(held & together))
    assert sides == {True, False}


def test_shapes_that_are_all_alike_can_still_be_split(tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / "tree" / "class" / f"D{number}0"
        folder.mkdir(parents=True)
        image = Image.new("L", (150, 120), 255)
        ImageDraw.Draw(image).rectangle((10, 10, 100, 60 + 3 * number), outline=0, width=3)
        image.save(folder / "1.png")
    found = load_drawings([tmp_path / "tree"], CONFIG, cache=tmp_path / "cache")
    training, held_out = found.split(0.25, 0)
    assert training and held_out


@pytest.mark.real
def test_only_sibling_designs_are_joined_among_real_ones(real_data: Path, tmp_path: Path) -> None:
    found = load_drawings([real_data / "uspto-grants"], CONFIG, cache=tmp_path / "cache")
    [training], [held_out] = found.split(0.34, 0)
    assert len(training.rows) and len(held_out.rows)


def test_sources_of_links_are_told_apart_and_a_circle_of_links_ends(tmp_path: Path) -> None:
    tree = draw_tree(tmp_path / "tree")
    found = []
    for kind in ("kind0", "kind1"):
        source = tmp_path / f"only-{kind}"
        source.mkdir()
        (source / kind).symlink_to(tree / kind)
        found.append(load_drawings([source], CONFIG, cache=tmp_path / "cache"))
    assert not set(found[0].designs) & set(found[1].designs)
    shutil.rmtree(tree / "kind0" / "sort0")
    again = load_drawings([tmp_path / "only-kind0"], CONFIG, cache=tmp_path / "cache")
    assert len(again) < len(found[0])
    before = cutting._files(tree)
    (tree / "kind1" / "above").symlink_to(tree)
    assert sorted(cutting._files(tree)) == sorted(before)
