"""The page of the worst queries: the right ones, told truly, needing nothing from elsewhere."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.cards import Found, shared_depth
from distill.drawing_cache import Stack
from distill.gallery import WorstQuery, _precisions, worst_queries, write_gallery
from edge_retrieval.drawing import from_png
from edge_retrieval.errors import ConfigError
from edge_retrieval.metrics import leave_one_out

LEVELS = ("class", "subclass", "design")
NASTY = '<script>alert("1")</script> & {braces} %s'


def made(count: int = 60, seed: int = 0) -> dict[str, Any]:
    """Figures of 3 classes x 2 subclasses, up to 3 figures a design; some codes are not known.

    Embeddings are small whole numbers: scores are exact however they are summed, and many equal.
    """
    rng = np.random.default_rng(seed)
    embeddings = rng.integers(-3, 4, (count, 6)).astype(np.float32)
    design = rng.permutation(np.arange(count) // 3)
    codes = np.stack([design % 3, design % 6, design], axis=1).astype(np.int32)
    codes[rng.random(count) < 0.1, 1] = -1
    codes[:2, 2] = -1
    return {
        "embeddings": embeddings,
        "codes": codes,
        "squares": rng.integers(0, 256, (count, 16, 16), np.uint8),
        "designs": [f"D{number}" for number in design],
        "levels": LEVELS,
    }


def one(depth: int = 1, rank: int = 1, label: str = "D1") -> Found:
    return Found(np.full((16, 16), 255, np.uint8), label, 0.5, depth, rank)


def query(levels: tuple[str, ...] = LEVELS, *, right: Found | None = None, **changed: Any) -> Any:
    found = tuple(one(depth, rank) for rank, depth in enumerate((0, -1, 1, 2), start=1))
    told: dict[str, Any] = {
        "figure": np.zeros((16, 16), np.uint8),
        "label": "D0",
        "ap": 0.0123,
        "found": found[: len(levels) + 1],
        "right": right or one(len(levels), 1037, "D0"),
        "wanted": 6,
    }
    return WorstQuery(**(told | changed), levels=levels)


class Page(HTMLParser):
    """Collects the tags, the addresses, the alternative texts and the text of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.html = file.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.alts: list[str] = []
        self.text = ""
        self.feed(self.html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.alts += [value or "" for name, value in attrs if name == "alt"]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.text += data


def page_of(queries: list[WorstQuery], folder: Path, **facts: str) -> Page:
    write_gallery(queries, folder / "worst.html", title="Worst of first", facts=facts)
    return Page(folder / "worst.html")


# ------------------------------------------------------------------ which queries


@pytest.mark.parametrize("chunk", [7, 1000])
def test_average_precisions_are_those_of_the_metrics(chunk: int) -> None:
    data = made()
    precision = _precisions(data["embeddings"], data["codes"][:, -1], chunk)
    finest = leave_one_out(data["embeddings"], data["codes"], LEVELS)[-2]
    assert finest.level == "design"
    assert np.count_nonzero(~np.isnan(precision)) == finest.queries
    assert np.nanmean(precision) == pytest.approx(finest.values["mAP"])


def test_queries_and_what_they_found_agree_with_plain_loops() -> None:
    data = made()
    embeddings, codes = data["embeddings"], data["codes"]
    worst_of: dict[int, float] = {}
    for row in range(len(embeddings)):
        order = sorted(
            (i for i in range(len(embeddings)) if i != row),
            key=lambda i: (-float(embeddings[i] @ embeddings[row]), i),
        )
        right = [codes[i, 2] == codes[row, 2] >= 0 for i in order]
        if any(right):
            hits = [sum(right[: n + 1]) / (n + 1) for n, is_right in enumerate(right) if is_right]
            design = int(codes[row, 2])
            worst_of[design] = min(worst_of.get(design, 1.0), sum(hits) / len(hits))
    queries = worst_queries(**data, count=10, shown=4)
    assert [q.ap for q in queries] == pytest.approx(sorted(worst_of.values())[:10])
    for told in queries:
        assert len({q.label for q in queries}) == 10
        assert [found.rank for found in told.found] == [1, 2, 3, 4]
        scores = [found.score for found in told.found]
        assert scores == sorted(scores, reverse=True)
        assert told.right.label == told.label
        assert told.right.depth == 3
        first = [found.rank for found in told.found if found.label == told.label]
        assert first[:1] in ([], [told.right.rank])
        assert told.wanted == np.count_nonzero(codes[:, 2] == int(told.label[1:])) - 1


def test_the_figures_are_those_of_the_rows() -> None:
    data = made()
    labels = dict(zip(map(bytes, data["squares"]), data["designs"], strict=True))
    plain = worst_queries(**data)
    for told in plain:
        for shown in (told, told.right, *told.found):
            assert labels[bytes(shown.figure)] == shown.label
    apart = Stack([data["squares"][:20], data["squares"][20:]])
    stacked = worst_queries(**(data | {"squares": apart}))
    assert [bytes(told.right.figure) for told in plain] == [
        bytes(told.right.figure) for told in stacked
    ]


def test_figures_that_cannot_be_judged_do_not_search() -> None:
    data = made(6)
    data["codes"] = np.array(
        [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, -1], [0, 0, -1], [-1, -1, 2]], np.int32
    )
    assert {told.label for told in worst_queries(**data)} <= set(data["designs"][:2])
    assert len(worst_queries(**data)) == 1
    data["codes"][1] = 9
    assert worst_queries(**data) == []
    nothing = {name: value[:0] for name, value in data.items() if name != "levels"}
    assert worst_queries(**nothing, levels=LEVELS) == []


def test_two_figures_find_each_other() -> None:
    data = made(2) | {"codes": np.zeros((2, 3), np.int32), "designs": ["A", "A"]}
    [told] = worst_queries(**data)
    assert told.ap == 1.0
    assert [found.rank for found in told.found] == [1]


@pytest.mark.parametrize(
    ("codes", "depth"),
    [
        ((0, 1, 2), 3),
        ((0, 1, 7), 2),
        ((0, 6, 7), 1),
        ((5, 6, 7), 0),
        ((-1, -1, 2), 3),  # the design tells all
        ((0, -1, 7), 1),
        ((-1, 1, 7), 2),
        ((-1, 6, 7), -1),  # subclasses differ: the class may be one
        ((-1, -1, 7), -1),
        ((5, -1, -1), 0),
    ],
)
def test_depth_is_what_is_known_to_be_shared(codes: tuple[int, ...], depth: int) -> None:
    mine = np.array([0, 1, 2], np.int32)
    assert shared_depth(mine, np.array([codes], np.int32)).tolist() == [depth]


def test_an_encoder_that_has_diverged_is_refused() -> None:
    data = made()
    data["embeddings"][3, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        worst_queries(**data)


# ------------------------------------------------------------------ the page


def test_the_page_tells_how_deep_each_one_agrees_in_words(tmp_path: Path) -> None:
    page = page_of([query()], tmp_path)
    for words in ("another class", "class not known", "same class", "same subclass", "same design"):
        assert words in page.text
    assert page.html.count("<svg") == 5 + 5  # a mark at each figure found, and its key
    assert page.html.count('class="full"') == 2 * (0 + 0 + 1 + 2 + 3)


def test_the_page_tells_where_the_first_right_one_stood(tmp_path: Path) -> None:
    page = page_of([query()], tmp_path)
    assert "First of its own design at rank 1,037; 6 other figures to find" in page.text
    assert "average precision 0.012" in page.text
    assert page.tags.count("img") == 1 + 4 + 1


def test_a_right_one_among_the_first_is_not_shown_twice(tmp_path: Path) -> None:
    found = (one(0), one(3, 2, "D0"))
    page = page_of([query(right=found[1], found=found, wanted=1)], tmp_path)
    assert page.tags.count("img") == 1 + 2
    assert "at rank 2; 1 other figure to find" in page.text


def test_the_worst_come_first_whatever_their_scheme(tmp_path: Path) -> None:
    flat = query(("design",), right=one(1, 9), label="FLAT", ap=0.001)
    page = page_of([query(label="DEEP"), flat], tmp_path)
    assert page.text.index("FLAT") < page.text.index("DEEP")
    assert "another design" in page.text


def test_the_facts_stand_at_the_top(tmp_path: Path) -> None:
    page = page_of([query()], tmp_path, Step="12,480", mAP="0.165")
    assert page.text.index("Worst of first") < page.text.index("12,480") < page.text.index("D0")
    assert "mAP0.165" in page.text


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(tmp_path: Path) -> None:
    page = page_of([query()], tmp_path)
    prefix = "data:image/png;base64,"
    assert page.addresses
    assert all(
        from_png(base64.b64decode(address.removeprefix(prefix))).size for address in page.addresses
    )
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"https?:|url\(|@import", page.html)
    assert "default-src 'none'" in page.html


def test_every_picture_is_told_in_words(tmp_path: Path) -> None:
    page = page_of([query()], tmp_path)
    assert page.alts == ["The query, a figure of D0", *["A figure of D1"] * 4, "A figure of D0"]


def test_the_page_is_light_dark_and_printed(tmp_path: Path) -> None:
    html = page_of([query()], tmp_path).html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert re.search(r"\.paper \{ background: #fff;", html)


def test_what_others_wrote_stays_text(tmp_path: Path) -> None:
    nasty = query(("a<b", NASTY), label=NASTY, found=(one(1, label=NASTY),), right=one(2, 9, NASTY))
    write_gallery([nasty], tmp_path / "w.html", title=NASTY, facts={NASTY: NASTY})
    page = Page(tmp_path / "w.html")
    assert "<script>" not in page.html
    assert page.text.count(NASTY) >= 7
    assert page.alts[0] == f"The query, a figure of {NASTY}"


def test_a_name_that_is_no_unicode_is_written_all_the_same(tmp_path: Path) -> None:
    assert "D\\udcff" in page_of([query(label="D\udcff")], tmp_path).text


def test_a_page_without_queries_says_why(tmp_path: Path) -> None:
    assert "no design has two figures" in page_of([], tmp_path).text


def test_the_page_is_written_whole_or_an_error_says_why(tmp_path: Path) -> None:
    page_of([query()], tmp_path / "new")
    page_of([query()], tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["worst.html"]
    with pytest.raises(ConfigError, match="cannot be written"):
        write_gallery([], tmp_path, title="", facts={})
