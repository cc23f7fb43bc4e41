"""The page of a search: everything on it, nothing from elsewhere."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edge_retrieval.drawing import from_png
from edge_retrieval.evidence import to_html, to_json
from edge_retrieval.filters import Filters
from edge_retrieval.register import Register
from edge_retrieval.search import Query, SearchResult, query_from_bytes, search
from edge_retrieval.taxonomy import locarno_title
from tests import fakes

NASTY = '<script>alert("1")</script> & {braces} %s'


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Register:
    folder = tmp_path_factory.mktemp("evidence")
    register = Register.create(folder / "r", fakes.tiny_bundle(folder / "b"))
    nasty = fakes.design(
        "USD<9>",
        [fakes.sheet(fakes.drawing(50), captions=(NASTY,), single=True)],
        title=NASTY,
        applicants=(NASTY,),
        filed="2019-01-02",
    )
    register.add([*fakes.designs(6), nasty], fakes.FakeEncoder(register.bundle.fingerprint))
    return register


@pytest.fixture(scope="module")
def results(register: Register) -> list[SearchResult]:
    one = query_from_bytes(fakes.drawing(1, 9), "a/one.png", cut=False)
    two = query_from_bytes(fakes.drawing(50, 9), "b/two & <three>.png", cut=False)
    both = Query(two.name, [*two.figures, *one.figures])
    return search(register, [one, both], fakes.FakeEncoder(register.bundle.fingerprint), k=7)


class Page(HTMLParser):
    """Collects the tags, the addresses and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.text += data


def test_the_page_shows_every_query_and_every_hit(
    register: Register, results: list[SearchResult]
) -> None:
    page = Page(to_html(results, register=register))
    for result in results:
        assert Path(result.query.name).name in page.text
        for hit in result.hits:
            assert hit.design.number in page.text
            assert f"{hit.score:.3f}" in page.text
    assert page.tags.count("li") == 14
    assert page.tags.count("article") == 14  # and each side by side with the query
    assert page.text.count("Compared exactly with all 7 designs (19 figures)") == 2
    assert str(locarno_title("06-04")) in page.text
    assert "Published 2021-03-02" in page.text
    assert "Figure 1 of 1, like view 1" in page.text


def test_the_pictures_of_queries_and_hits_are_in_the_page(
    register: Register, results: list[SearchResult]
) -> None:
    page = Page(to_html(results, register=register))
    assert len(page.addresses) > 1 + 2 + 14
    prefix = "data:image/png;base64,"
    pictures = [base64.b64decode(address.removeprefix(prefix)) for address in page.addresses]
    assert all(from_png(picture).size for picture in pictures)
    for result in results:
        for hit in result.hits:
            assert all(register.picture(view.figure.row) in pictures for view in hit.views)


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(
    register: Register, results: list[SearchResult]
) -> None:
    html = to_html(results, register=register)
    page = Page(html)
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"https?:|url\(|@import", html)
    assert "default-src 'none'" in html


def test_what_users_and_offices_write_stays_text(
    register: Register, results: list[SearchResult]
) -> None:
    html = to_html(results, register=register, settings={NASTY: NASTY})
    assert "<script>" not in html
    text = Page(html).text
    assert text.count(NASTY) >= 5
    assert "two & <three>.png" in text
    assert "USD<9>" in text


def test_the_page_says_with_what_and_how_was_searched(
    register: Register, results: list[SearchResult]
) -> None:
    text = Page(to_html(results, register=register, settings={"k": 7, "exclude self": True})).text
    for fact in (register.bundle.fingerprint, register.bundle.name, register.snapshot):
        assert fact in text
    assert "k: 7, exclude self: yes" in text
    assert "edge-retrieval 0." in text


def test_drawings_stand_on_white_paper_in_the_dark_too(
    register: Register, results: list[SearchResult]
) -> None:
    html = to_html(results, register=register)
    assert "prefers-color-scheme: dark" in html
    assert re.search(r"\.paper \{ background: #fff;", html)


def test_an_answer_without_hits_is_said(register: Register, results: list[SearchResult]) -> None:
    nothing = SearchResult(results[0].query, [], 0, 0, exact=True)
    assert "No design was left" in Page(to_html([nothing], register=register)).text


def test_the_data_are_json_and_tell_what_the_hits_tell(
    register: Register, results: list[SearchResult]
) -> None:
    data = json.loads(json.dumps(to_json(results, register=register)))
    assert data["fingerprint"] == register.bundle.fingerprint
    assert [result["query"] for result in data["results"]] == [r.query.name for r in results]
    for told, result in zip(data["results"], results, strict=True):
        assert told["exact"] is True
        assert told["compared_designs"] == 7
        for line, hit in zip(told["hits"], result.hits, strict=True):
            assert line["rank"] == hit.rank
            assert line["score"] == pytest.approx(hit.score, abs=1e-6)
            assert line["design"] == hit.design.number
            assert line["labels"] == list(hit.design.labels)
            assert line["figure"] == hit.figure.figure
            assert line["query_figure"] == hit.query_figure + 1


def test_an_answer_with_something_left_out_is_json_too(register: Register) -> None:
    asked = query_from_bytes(fakes.drawing(50), "own.png", cut=False)
    encoder = fakes.FakeEncoder(register.bundle.fingerprint)
    only = Filters(classes=["06"])
    found = search(register, [asked], encoder, exclude_self=True, filters=only, k=2)
    other = Filters(not_designs=["D0001"])
    found += search(register, [asked], encoder, exclude_self=True, filters=other)
    data = json.loads(json.dumps(to_json(found, register=register)))
    assert [result["compared_designs"] for result in data["results"]] == [4, 5]
