"""What a program or a notebook needs: five names, ten lines."""

from __future__ import annotations

from pathlib import Path

import pytest

import edge_retrieval as er
from edge_retrieval.errors import EdgeRetrievalError
from edge_retrieval.sample import sample_folder, sample_query


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "my <register>"
    added = er.index_designs(sample_folder(), folder, kind="table", jobs=1)
    assert (added.designs_added, added.problems) == (90, [])
    return folder


def test_the_names_that_are_promised_are_there() -> None:
    assert sorted(er.__all__) == sorted(
        ["Filters", "Register", "Session", "__version__", "index_designs", "search_drawings"]
    )
    assert all(getattr(er, name) is not None for name in er.__all__)
    assert set(er.__all__) <= set(dir(er))
    with pytest.raises(AttributeError):
        er.nothing  # noqa: B018


def test_designs_are_indexed_and_found_in_ten_lines(register: Path) -> None:
    with er.Session(register) as session:
        chairs = er.Filters(classes=["06"])
        [found] = session.search([sample_query()], filters=chairs, k=3)
        assert [hit.rank for hit in found.hits] == [1, 2, 3]
        assert found.hits[0].design.number == "MADE-0601-00000"
        assert repr(session) == (
            "Session(<Register my <register>: 90 designs, 360 figures, encoder small-int8>)"
        )
    assert repr(session.register) == "<Register my <register>, closed>"


def test_indexing_again_adds_nothing(register: Path) -> None:
    again = er.index_designs(sample_folder(), register, kind="table", jobs=1)
    assert (again.designs_added, again.figures_added) == (0, 0)


def test_a_notebook_shows_the_drawings_of_an_answer(register: Path) -> None:
    found = er.search_drawings(register, [sample_query()], k=4)
    html = found._repr_html_()
    assert html.count("data:image/png;base64,") == 1 + 4
    assert "MADE-0601-00000" in html and found.statement in html
    assert "<script" not in html


def test_an_answer_outlives_its_session_without_the_drawings_of_the_hits(register: Path) -> None:
    with er.Session(register) as session:
        [found] = session.search([sample_query()], k=2)
    html = found._repr_html_()
    assert "MADE-0601-00000" in html
    assert html.count("data:image/png;base64,") == 1


def test_a_mistake_is_an_error_with_a_hint(tmp_path: Path, register: Path) -> None:
    for mistake in (
        lambda: er.index_designs(tmp_path / "nowhere", tmp_path / "r"),
        lambda: er.Session(tmp_path / "nowhere"),
        lambda: er.search_drawings(register, [tmp_path / "nowhere.png"]),
        lambda: er.search_drawings(register, []),
    ):
        with pytest.raises(EdgeRetrievalError) as error:
            mistake()
        assert error.value.hint
    assert not (tmp_path / "r").exists()
