"""The page of flipped queries: what FP32 found beside what INT8 finds, needing nothing else."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.data import Scheme
from distill.drawing_cache import Stack
from distill.flips import write_flips
from distill.gate import Gate, Quality
from distill.ranks import Answer, Flip
from edge_retrieval.drawing import from_png
from edge_retrieval.errors import ConfigError
from tests.distill.test_gallery import NASTY, Page
from tests.distill.test_gate import images_of, made, made_schemes, quality

ROWS = 100


def squares_of(count: int = ROWS) -> Any:
    """Squares that differ in how much of them is ink."""
    squares = np.full((count, 16, 16), 255, np.uint8)
    for row in range(count):
        squares[row].reshape(-1)[: 2 * row] = 0
    return squares


def flip(row: int = 0, *, lost: bool = True, margin: float = 0.05, moved: int = 3) -> Flip:
    first = Answer((1, 2, 3), (0.9, 0.85, 0.7), 1)
    other = Answer((2, 3, 4), (0.88, 0.8, 0.75), 1 + moved)
    both = (first, other) if lost else (other, first)
    return Flip(row, 0, *both, margin=margin if lost else -margin)


def scheme() -> Scheme:
    """Row 0 and 1 are of one design, 2 of its subclass, 3 of its class, all others of another."""
    codes = np.arange(ROWS, dtype=np.int32)[:, None].repeat(3, axis=1)
    codes[1], codes[2, :2], codes[3, 0] = codes[0], codes[0, :2], codes[0, 0]
    return Scheme("first", ("class", "subclass", "design"), codes, np.arange(ROWS))


def page_of(folder: Path, found: Quality, **changed: Any) -> Page:
    told: dict[str, Any] = {
        "squares": squares_of(),
        "schemes": (scheme(),),
        "title": "What INT8 finds otherwise",
        "facts": {"Bundle": "small"},
    }
    write_flips(folder / "flips.html", found, **(told | changed))
    return Page(folder / "flips.html")


def test_both_answers_stand_one_above_the_other(tmp_path: Path) -> None:
    page = page_of(tmp_path, quality(flips=(flip(),)))
    shown = [from_png(base64.b64decode(a.split(",", 1)[1])) for a in page.addresses]
    inked = [int((picture < 128).sum()) // 2 for picture in shown]
    assert inked == [0, 1, 2, 3, 2, 3, 4]
    assert page.text.index("FP32 1 0.900") < page.text.index("INT8 1 0.880")
    for words in ("same design", "same subclass", "same class", "another class"):
        assert words in page.text
    assert page.html.count('class="same"') == 1


def test_a_flip_says_what_changed_and_how_near_the_call_was(tmp_path: Path) -> None:
    page = page_of(
        tmp_path, quality(flips=(flip(), flip(5, margin=0.0034, moved=1200)), narrow=0.01)
    )
    assert "First figure of its own design: FP32 at rank 1, INT8 at 4. FP32 held" in page.text
    assert "FP32 at rank 1, INT8 at 1,201. A close call: FP32 held the designs 0.0034" in page.text
    assert "1 of these 2 are of the quarter" in page.text
    assert "less than 0.01 of cosine" in page.text
    assert "lose call" not in page_of(tmp_path, quality(flips=(flip(margin=0.0034),))).text


def test_lost_ones_come_before_gained_ones_and_what_is_not_shown_is_said(tmp_path: Path) -> None:
    flips = (*(flip(row) for row in range(10, 15)), *(flip(row, lost=False) for row in (20, 21)))
    page = page_of(tmp_path, quality(flips=flips), most=3)
    assert "Lost: 5 FP32 is right, INT8 is not · the 3 that moved furthest are shown" in page.text
    assert "Gained: 2 INT8 is right, FP32 is not 1 design 20" in page.text
    queries = re.findall(r"The query, a figure of design (\d+)", page.html)
    assert queries == ["10", "11", "12", "20", "21"]
    assert len(set(re.findall(r'id="(\w+)"', page.html))) == 5


def test_the_numbers_stand_above_the_queries(tmp_path: Path) -> None:
    page = page_of(tmp_path, quality(flips=(flip(), flip(7, lost=False), flip(8, lost=False))))
    for words in (
        "Bundlesmall",
        "Patent mAPFP32 0.802, INT8 0.800",
        "Drop0.002 (95 %: -0.004 to 0.009)",
        "overlap@100.950",
        "FP32 200, INT8 201 of 280 queries: 1 lost, 2 gained",
    ):
        assert words in page.text


def test_the_page_of_a_gate_shows_what_the_gate_found(tmp_path: Path) -> None:
    schemes = made_schemes()
    fp32, int8 = made(schemes, noise=0.8)
    found = Gate(images_of(fp32), schemes, fp32).compare(int8)
    names = [f"USD{row}" for row in range(ROWS)]
    halves = Stack([squares_of()[:30], squares_of()[30:]])
    page = page_of(tmp_path, found, schemes=schemes, squares=halves, designs=names, name="IR")
    assert page.html.count("<section") == len(found.flips) > 3
    assert page.tags.count("img") == 11 * len(found.flips)
    order = [page.html.index(f"</span> {names[flip.row]}</h3>") for flip in found.flips]
    assert order == sorted(order)
    assert page.text.count("IR at") == len(found.flips)
    assert "INT8" not in page.text.replace("What INT8 finds otherwise", "")


def test_where_nothing_flipped_or_could_the_page_says_so(tmp_path: Path) -> None:
    page = page_of(tmp_path, quality(flips=()))
    assert "No query flipped" in page.text
    assert "Close calls" not in page.text
    nan = float("nan")
    unknown = quality(queries=0, patent_map=nan, patent_drop=nan, patent_interval=(nan, nan))
    page = page_of(tmp_path, unknown)
    assert "no design has two figures" in page.text
    assert "nan" not in page.html


def test_a_drop_of_nothing_has_no_sign(tmp_path: Path) -> None:
    none = quality(patent_drop=-0.0001, patent_interval=(-0.0002, 0.0001), flips=())
    assert "0.000 (95 %: 0.000 to 0.000)" in page_of(tmp_path, none).text
    assert "-0.000" not in page_of(tmp_path, none).text


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(tmp_path: Path) -> None:
    page = page_of(tmp_path, quality(flips=(flip(),)))
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"https?:|url\(|@import", page.html)
    assert "default-src 'none'" in page.html
    assert "prefers-color-scheme: dark" in page.html
    assert "@media print" in page.html


def test_what_others_wrote_stays_text(tmp_path: Path) -> None:
    nasty = replace(scheme(), levels=("a<b", NASTY, NASTY))
    page = page_of(
        tmp_path,
        quality(flips=(flip(),)),
        schemes=(nasty,),
        designs=[NASTY] * ROWS,
        title=NASTY,
        facts={NASTY: NASTY},
        name=NASTY,
    )
    assert "<script>" not in page.html
    assert page.text.count(NASTY) >= 12
    assert page.alts[0] == f"The query, a figure of {NASTY}"


def test_the_page_is_written_whole_or_an_error_says_why(tmp_path: Path) -> None:
    for _ in range(2):
        page_of(tmp_path / "new", quality(flips=(flip(),)))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["flips.html"]
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        page_of(tmp_path / "file", quality())
