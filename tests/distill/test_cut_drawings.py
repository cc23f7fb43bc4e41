"""An export reads the drawings that its run trained on, held out where they were, and no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.config import TrainConfig
from distill.cut_drawings import LEAST_GATED, CutDrawings
from distill.data import Scheme, load_drawings
from distill.drawing_cache import CutDesign, write_cut
from distill.train import train
from edge_retrieval.errors import ConfigError

CONFIG = TrainConfig(
    backbone="test_efficientnet", size=32, dim=8, held_out=0.2, steps=1, classes=2, subclasses=1,
    designs=2, figures=2, threads=1,
)  # fmt: skip


def write_source(cache: Path, key: str, mark: str, designs: int = 60, size: int = 32) -> None:
    """Write a cache folder of two figures a design; a third of the designs has one only."""
    rng = np.random.default_rng([*mark.encode(), designs])
    cut = []
    for number in range(designs):
        squares = rng.integers(0, 256, (1 if number % 3 == 0 else 2, size, size), np.uint8)
        labels = (f"{number % 4:02d}", f"{number % 4:02d}-{number % 8:02d}")
        design = CutDesign(f"{mark}{number:04d}0", labels, "here", len(squares))
        cut.append((design, [(square, square) for square in squares]))
    write_cut(cache / key, cut, (size, size))


def digest_of(run: Path, cache: str = "cache") -> str:
    """Return the digest of the only source of a run's cache."""
    import hashlib

    from distill.drawing_cache import read_cut

    [folder] = [path for path in (run / cache).iterdir() if path.is_dir()]
    return hashlib.sha256(read_cut(folder).digest.encode()).hexdigest()


def say(run: Path, **facts: Any) -> None:
    (run / "provenance.json").write_text(json.dumps(facts), "utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of an older version, with one source in its own cache."""
    write_source(tmp_path / "run" / "cache", "a", "A")
    say(tmp_path / "run", sources=["made.csv"], validation=[], drawings=digest_of(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture(scope="module")
def validated(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run with a validation source, whose cache other runs share: run, training, validation."""
    root = tmp_path_factory.mktemp("validated")
    halves = []
    for name, kinds in (("trained", ("kind0", "kind1")), ("other", ("kind2",))):
        for kind in kinds:
            shutil.copytree(source / kind, root / name / kind)
        halves.append(root / name)
    cache = root / "run" / "cache"
    train(CONFIG, [source], root / "before", cache=cache)
    train(CONFIG, halves[:1], root / "run", validation=halves[1:], cache=cache)
    write_source(cache, "0", "Z")
    return root / "run", halves[0], halves[1]


def squares_of(cut: CutDrawings, rows: np.ndarray[Any, Any]) -> list[bytes]:
    return [square.tobytes() for square in cut.squares[rows]]


def test_a_run_with_a_validation_source_trains_and_calibrates_on_its_own_sources_only(
    validated: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    run, *halves = validated
    cut = CutDrawings.read(run, CONFIG)
    for rows, half in ((cut.training, halves[0]), (cut.held_out, halves[1])):
        drawings = load_drawings([half], CONFIG, cache=tmp_path)
        assert squares_of(cut, rows) == [square.tobytes() for square in drawings.fitted[:]]
    assert not set(squares_of(cut, cut.training)) & set(squares_of(cut, cut.held_out))


def test_drawings_given_to_validate_with_are_the_held_out_schemes(
    validated: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    run, _, other = validated
    cut = CutDrawings.read(run, CONFIG)
    [expected] = load_drawings([other], CONFIG, cache=tmp_path).schemes
    [held] = cut.held_schemes
    assert (held.name, held.levels) == ("other", expected.levels)
    assert np.array_equal(held.codes, expected.codes)
    assert np.array_equal(held.rows, cut.held_out)
    assert not set(cut.classes[cut.held_out]) & set(cut.classes[cut.training])


def test_a_moved_run_reads_the_same(validated: tuple[Path, Path, Path], tmp_path: Path) -> None:
    run = validated[0]
    shutil.copytree(run, tmp_path / "moved", ignore=shutil.ignore_patterns("cache"))
    shutil.copytree(run / "cache", tmp_path / "kept elsewhere")
    (tmp_path / "moved" / "cache").symlink_to(tmp_path / "kept elsewhere")
    before, after = (CutDrawings.read(one, CONFIG) for one in (run, tmp_path / "moved"))
    for rows in (before.training, before.held_out):
        assert squares_of(before, rows) == squares_of(after, rows)


def test_the_split_is_the_one_that_was_trained_on(source: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(CONFIG, [source], run)
    drawings = load_drawings([source], CONFIG, cache=run / "cache")
    training, held = drawings.split(CONFIG.held_out, CONFIG.seed)
    cut = CutDrawings.read(run, CONFIG)
    for found, expected in ((cut.training_schemes, training), (cut.held_schemes, held)):
        assert [one.name for one in found] == [one.name for one in expected] == [source.stem]
        for one, other in zip(found, expected, strict=True):
            assert np.array_equal(one.rows, other.rows)
            assert np.array_equal(one.codes, other.codes)
    assert np.array_equal(cut.masters[cut.held_out], drawings.masters[cut.held_out])


def test_an_older_run_finds_its_sources_in_a_shared_cache_by_their_digest(run: Path) -> None:
    alone = CutDrawings.read(run, CONFIG)
    write_source(run / "cache", "0", "B")
    write_source(run / "cache", "z", "C", size=64)
    shared = CutDrawings.read(run, CONFIG)
    assert np.array_equal(shared.squares[:], alone.squares[:])
    assert shared.held_schemes[0].name == "made"


def test_what_an_older_run_validated_with_is_what_is_left_in_its_cache(run: Path) -> None:
    before = CutDrawings.read(run, CONFIG)
    write_source(run / "cache", "0", "B")
    say(run, **json.loads((run / "provenance.json").read_text()) | {"validation": ["b"]})
    cut = CutDrawings.read(run, CONFIG)
    assert np.array_equal(cut.squares[cut.training], before.squares[:])
    assert {scheme.name for scheme in cut.held_schemes} == {"b"}


def test_an_older_run_whose_validation_cannot_be_told_calibrates_on_its_own_sources(
    run: Path,
) -> None:
    for key in ("0", "1"):
        write_source(run / "cache", key, key)
    say(run, **json.loads((run / "provenance.json").read_text()) | {"validation": ["b"]})
    assert len(CutDrawings.read(run, CONFIG).squares) == 100


def test_a_run_that_says_nothing_of_its_drawings_takes_its_whole_cache(run: Path) -> None:
    write_source(run / "cache", "b", "B")
    for content in ("{}", "[]", "torn"):
        (run / "provenance.json").write_text(content)
        assert len(CutDrawings.read(run, CONFIG).squares) == 200
    (run / "provenance.json").unlink()
    assert len(CutDrawings.read(run, CONFIG).squares) == 200


def test_a_cache_without_the_runs_own_drawings_is_one_clear_error(run: Path) -> None:
    facts = json.loads((run / "provenance.json").read_text())
    for changed in ({"drawings": "0" * 64}, {"cut": {"sources": ["0" * 64], "validation": []}}):
        say(run, **facts | changed)
        write_source(run / "cache", "b", "B")
        with pytest.raises(ConfigError, match="no cut drawings") as caught:
            CutDrawings.read(run, CONFIG)
        assert "edge-ret train --resume" in caught.value.hint
    shutil.rmtree(run / "cache")
    with pytest.raises(ConfigError, match="no cut drawings"):
        CutDrawings.read(run, CONFIG)


def test_damage_matters_in_the_runs_own_sources_only(run: Path) -> None:
    write_source(run / "cache", "b", "B")
    for key, ends in (("b", False), ("a", True)):
        fitted = run / "cache" / key / "fitted.npy"
        fitted.write_bytes(fitted.read_bytes()[:-1])
        if not ends:
            assert len(CutDrawings.read(run, CONFIG).squares) == 100
            continue
        with pytest.raises(ConfigError, match="damaged"):
            CutDrawings.read(run, CONFIG)


def figures_of(scheme: Scheme) -> dict[int, int]:
    return dict(zip(*np.unique(scheme.codes[:, -1], return_counts=True), strict=True))


def test_the_gate_is_given_whole_designs_that_were_held_out(run: Path) -> None:
    cut = CutDrawings.read(run, replace(CONFIG, held_out=0.8))
    gate = cut.to_gate(70)
    assert gate.held_out and not gate.note
    assert 60 < len(gate.images) == len(gate.squares) <= 70
    assert gate.images.shape[1:] == (1, 32, 32)
    [scheme], [held] = gate.schemes, cut.held_schemes
    assert np.array_equal(np.sort(scheme.rows), np.arange(len(gate.images)))
    every = figures_of(held)
    assert all(every[design] == count for design, count in figures_of(scheme).items())
    for row, code in zip(scheme.rows, scheme.codes, strict=True):
        matching = cut.squares[held.rows[(held.codes == code).all(1)]]
        assert any(np.array_equal(gate.squares[row], square) for square in matching)


def test_the_gate_prefers_designs_that_can_be_found_and_shares_its_room_among_sources(
    run: Path,
) -> None:
    write_source(run / "cache", "b", "B", designs=200)
    say(run)
    cut = CutDrawings.read(run, replace(CONFIG, held_out=0.5))
    gate = cut.to_gate(60)
    assert [len(scheme.rows) for scheme in gate.schemes] == [30, 30]
    assert all(set(figures_of(scheme).values()) == {2} for scheme in gate.schemes)
    small, large = cut.to_gate(150).schemes
    assert len(small.rows) == len(cut.held_schemes[0].rows) < 60 < len(large.rows)


@pytest.mark.parametrize(
    ("held_out", "chosen", "said"),
    [
        (0.0, lambda cut: np.arange(20), "no drawings are held out"),
        (0.2, lambda cut: np.arange(20), "are held out: judged on"),
        (0.0, lambda cut: np.arange(len(cut.training)), "of which calibrated"),
    ],
)
def test_where_too_little_is_held_out_the_gate_takes_designs_that_did_not_calibrate_and_says_so(
    run: Path,
    held_out: float,
    chosen: Callable[[CutDrawings], np.ndarray[Any, Any]],
    said: str,
) -> None:
    cut = CutDrawings.read(run, replace(CONFIG, held_out=held_out))
    without = chosen(cut)
    gate = cut.to_gate(90, without=without)
    assert not gate.held_out
    assert said in gate.note
    assert LEAST_GATED <= len(gate.images) <= 90
    used = set(squares_of(cut, cut.training[without]))
    shown = [square.tobytes() for square in gate.squares]
    assert len(set(shown)) == len(shown)
    assert bool(used & set(shown)) == ("calibrated" in gate.note)
