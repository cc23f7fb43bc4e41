"""Near-duplicates: copies are found however they were scanned, other designs are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from distill import leaks
from distill.augment import Squares
from distill.config import TrainConfig
from distill.data import load_drawings
from distill.drawing_cache import Stack
from distill.leaks import (
    NEAR,
    Signatures,
    find_leaks,
    linked,
    load_seen,
    near_pairs,
    refuse_leaks,
    save_seen,
    signatures,
    twins,
)
from edge_retrieval.drawing import Preprocessing, cut_sheet, fit
from edge_retrieval.errors import ConfigError, EvaluationError
from edge_retrieval.sources import Design, open_source

PLAIN = Preprocessing(size=96, mean=0.0, std=1.0)
Change = Callable[[Image.Image], Image.Image]


def page(seed: int) -> Image.Image:
    """A drawing of ten lines and a ring."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (420, 330), 255)
    pen = ImageDraw.Draw(image)
    for x0, y0, x1, y1 in rng.integers(20, 310, (10, 4)).tolist():
        pen.line((x0, y0, x1, y1), fill=0, width=3)
    x, y = rng.integers(40, 200, 2).tolist()
    pen.ellipse((x, y, x + 90, y + 60), outline=0, width=3)
    return image


def square(image: Image.Image) -> Squares:
    fitted: Squares = np.rint(fit(np.asarray(image), PLAIN)[0] * 255).astype(np.uint8)
    return fitted


def shifted(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.pad(np.asarray(image), ((0, 2), (2, 0)), constant_values=255))


def scanned(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 7 // 10, image.height * 7 // 10), Image.Resampling.BICUBIC)


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(1))


def thickened(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.MinFilter(3))


COPIES: tuple[Change, ...] = (shifted, scanned, blurred, thickened)


@pytest.mark.parametrize("change", COPIES)
def test_copies_are_found_and_other_drawings_are_not(change: Change) -> None:
    pages = [page(seed) for seed in range(40)]
    first = signatures(np.stack([square(image) for image in pages]))
    second = signatures(np.stack([square(change(image)) for image in pages]))
    similarity = first.astype(np.float32) @ second.astype(np.float32).T
    copies = np.diag(similarity)
    assert (copies >= NEAR).mean() >= 0.95
    assert (similarity - np.diag(copies)).max() < NEAR


def test_a_signature_is_small_has_length_one_and_stands_for_its_figure_alone() -> None:
    squares = np.stack([square(page(seed)) for seed in range(5)])
    found = signatures(squares)
    assert found.dtype == np.float16 and found[0].nbytes < 600
    assert np.allclose(np.linalg.norm(found.astype(float), axis=1), 1, atol=2e-3)
    assert np.array_equal(found[3:4], signatures(squares[3:4]))
    assert np.array_equal(found, signatures(Stack([squares[:2], squares[2:]])))
    blank = signatures(np.full((1, 32, 32), 255, np.uint8))
    assert np.isfinite(blank).all()


def random_signatures(count: int, seed: int) -> Signatures:
    rows = np.random.default_rng(seed).normal(0.3, 1, (count, leaks.WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def nudged(rows: Signatures, strength: float) -> Signatures:
    noise = np.random.default_rng(9).normal(size=rows.shape) * strength / np.sqrt(rows.shape[1])
    moved = rows + noise
    return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float16)


def test_pairs_are_those_of_plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "CHUNK", 28)  # several parts
    first = random_signatures(50, 0)
    second = np.concatenate([nudged(first[10:30], 0.2), random_signatures(20, 1)])
    found = {
        (int(i), int(j))
        for pairs in near_pairs(first, second, threshold=0.9)
        for i, j in zip(pairs.first, pairs.second, strict=True)
    }
    expected = {
        (i, j)
        for i, one in enumerate(first.astype(np.float32))
        for j, other in enumerate(second.astype(np.float32))
        if float(one @ other) >= 0.9
    }
    assert found == expected == {(10 + n, n) for n in range(20)}


def test_of_large_sets_the_likely_pairs_are_compared_and_copies_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leaks, "MOST_AT_ONCE", 300)
    monkeypatch.setattr(leaks, "BUCKET", 8)
    first = random_signatures(1000, 0)
    second = np.concatenate([random_signatures(700, 1), nudged(first[500:800], 0.15)])
    compared = 0
    found = set()
    all_pairs = leaks._all_pairs

    def counted(one: Signatures, other: Signatures, threshold: float) -> object:
        nonlocal compared
        compared += len(one) * len(other)
        return all_pairs(one, other, threshold)

    monkeypatch.setattr(leaks, "_all_pairs", counted)
    for pairs in near_pairs(first, second):
        found |= set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    copies = {(500 + n, 700 + n) for n in range(300)}
    assert found <= copies and len(found) >= 297
    assert compared < 0.5 * 1000 * 1000


def test_a_leak_is_one_number_or_one_drawing() -> None:
    trained = random_signatures(6, 0)
    tested = np.concatenate([random_signatures(3, 1), nudged(trained[[4, 5, 5]], 0.1)])
    found = find_leaks(
        trained, ["A", "A", "B", "B", "C", "C"], tested, ["X", "A", "Y", "Z", "Z", "Z"]
    )
    assert [(leak.trained, leak.tested) for leak in found] == [("A", "A"), ("C", "Z")]
    assert found[0].similarity == 1 > found[1].similarity > NEAR


def test_a_leak_is_refused_by_name_and_none_is_not() -> None:
    trained, other = random_signatures(3, 0), random_signatures(3, 1)
    refuse_leaks(trained, ["A", "B", "C"], other, ["X", "Y", "Z"])
    refuse_leaks(trained, ["A", "B", "C"], other[:0], [])
    with pytest.raises(EvaluationError, match=r"1 design .*: C itself$"):
        refuse_leaks(trained, ["A", "B", "C"], other, ["X", "Y", "C"])
    with pytest.raises(EvaluationError, match=r"2 designs .* cosine 0\.99\d, and others") as caught:
        refuse_leaks(trained, ["A", "B", "C"], nudged(trained, 0.1)[:2], ["X", "Y"])
    assert caught.value.hint


def test_groups_are_linked_through_others() -> None:
    """Eight designs of a figure each, in seven groups: 1 is 2's twin, 3 is 4's and 7's."""
    rows = random_signatures(8, 0)
    rows[[1, 3]] = nudged(rows[[2, 4]], 0.1)
    rows[7] = nudged(rows[3:4], 0.05)[0]
    groups = np.array([0, 1, 2, 2, 3, 4, 5, 6])
    alone = np.arange(8)
    assert linked(rows, alone, groups).tolist() == [0, 1, 1, 1, 1, 4, 5, 1]
    assert linked(rows, alone, groups, threshold=1.1).tolist() == groups.tolist()


def test_designs_are_twins_by_half_of_the_figures_of_either() -> None:
    """By loops over all pairs of designs and of figures."""
    rng = np.random.default_rng(0)
    first, second = random_signatures(30, 1), random_signatures(24, 2)
    copied = rng.permutation(24)[:14]
    second[copied] = nudged(first[rng.integers(0, 30, 14)], 0.05)
    one, other = np.sort(rng.integers(0, 6, 30)), np.sort(rng.integers(0, 9, 24))
    one[:6], other[:9] = range(6), range(9)  # each design has a figure
    found, cosine = twins(first, one, second, other)
    near = first.astype(np.float64) @ second.astype(np.float64).T >= NEAR
    expected = set()
    for a in range(6):
        for b in range(9):
            block = near[one == a][:, other == b]
            if max(block.any(1).mean(), block.any(0).mean()) >= 0.5:
                expected.add((a, b))
    assert {tuple(pair) for pair in found.tolist()} == expected
    assert 0 < len(expected) < near.any(0).sum()
    assert (cosine >= NEAR).all()


def test_one_shared_bottom_view_makes_no_twins_but_a_front_page_does() -> None:
    views = random_signatures(8, 3)
    other = random_signatures(4, 4)
    other[3] = views[3]  # two designs of four views, both standing on a disc
    four = np.zeros(4, np.int64)
    assert len(twins(views[:4], four, other, four)[0]) == 0
    front = views[:1], np.zeros(1, np.int64)
    assert twins(views[:4], four, *front)[0].tolist() == [[0, 0]]
    assert twins(*front, views[:4], four)[0].tolist() == [[0, 0]]


def test_what_was_seen_is_kept_and_damage_is_told(tmp_path: Path) -> None:
    file = tmp_path / "seen.npz"
    rows = random_signatures(3, 0)
    save_seen(file, rows, ["USD1", "Stuhl-ä", "D/3"])
    found, designs = load_seen(file)
    assert np.array_equal(found, rows) and designs == ("USD1", "Stuhl-ä", "D/3")
    assert [path.name for path in tmp_path.iterdir()] == ["seen.npz"]
    whole = file.read_bytes()
    for content in (b"", b"no archive", whole[:-30], whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="damaged"):
            load_seen(file)
    with pytest.raises(ConfigError, match="not there"):
        load_seen(tmp_path / "none.npz")
    with pytest.raises(ConfigError, match="cannot be written"):
        save_seen(tmp_path / "none" / "seen.npz", rows, ["a", "b", "c"])


@pytest.mark.real
def test_real_drawings_of_other_designs_are_apart_and_their_copies_are_not(
    real_data: Path, tmp_path: Path
) -> None:
    source = real_data / "uspto-grants"
    drawings = load_drawings([source], TrainConfig(size=128), cache=tmp_path)
    numbers = np.array(drawings.designs)
    rows = drawings.signatures.astype(np.float32)
    other = numbers[:, None] != numbers[None, :]
    assert (rows @ rows.T)[other].max() < NEAR
    caught = []
    for design in open_source(source):
        assert isinstance(design, Design)
        for sheet in design.sheets[1:4]:
            for figure in cut_sheet(sheet.read(), where=sheet.where, boxes=sheet.boxes):
                image = Image.fromarray(figure.pixels)
                pair = np.stack([square(image), square(shifted(scanned(image)))])
                one, copy = signatures(pair).astype(np.float32)
                caught.append(float(one @ copy) >= NEAR)
    assert len(caught) >= 6 and np.mean(caught) >= 0.9
