"""A session answers as the command does, again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_retrieval import Session
from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import ConfigError, DrawingError, RegisterError
from edge_retrieval.filters import Filters
from edge_retrieval.register import Register
from edge_retrieval.sample import sample_folder, sample_query
from edge_retrieval.search import query_from_bytes, search
from edge_retrieval.sources import open_source


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session") / "register"
    bundle = Bundle.open(default_bundle_path())
    with Register.create(folder, bundle) as register:
        designs = list(open_source(sample_folder(), kind="table"))[:12]
        register.add(designs, load_encoder(bundle, threads=1))
    return folder


def test_a_drawing_may_be_a_path_its_bytes_or_a_query(folder: Path) -> None:
    path = sample_query()
    data = path.read_bytes()
    with Session(folder, threads=1) as session:
        results = session.search([path, str(path), data, query_from_bytes(data, "q")], k=5)
        again = session.search([path], k=5)
        [expected] = search(session.register, [query_from_bytes(data, "q")], session.encoder, k=5)
    for result in (*results, *again):
        assert result.hits == expected.hits


def test_filters_and_the_whole_page_are_handed_on(folder: Path) -> None:
    with Session(folder, threads=1) as session:
        number = session.search([sample_query()], k=1)[0].hits[0].design.number
        [only] = session.search([sample_query()], filters=Filters(designs=[number]))
        assert [hit.design.number for hit in only.hits] == [number]
        [whole] = session.search([sample_query()], cut=False)
        assert len(whole.query.figures) == 1


def test_what_is_added_meanwhile_is_seen_after_a_refresh(folder: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(default_bundle_path())
    designs = list(open_source(sample_folder(), kind="table"))[:3]
    with Register.create(tmp_path / "register", bundle) as register:
        register.add(designs[:1], load_encoder(bundle, threads=1))
        with Session(tmp_path / "register", threads=1) as session:
            register.add(designs, load_encoder(bundle, threads=1))
            assert session.search([sample_query()])[0].compared_designs == 1
            session.refresh()
            assert session.search([sample_query()])[0].compared_designs == 3


def test_wrong_input_is_one_clear_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RegisterError):
        Session(tmp_path)
    with pytest.raises(ConfigError):
        Session(folder, backend="cuda")
    with Session(folder, threads=1) as session:
        for drawing in (tmp_path / "missing.png", b"no drawing", tmp_path):
            with pytest.raises(DrawingError):
                session.search([drawing])
        with pytest.raises(ConfigError):
            session.search([sample_query()], k=0)
        for alone in (sample_query(), str(sample_query())):
            with pytest.raises(ConfigError, match="list"):
                session.search(alone)


def test_views_of_one_product_get_one_answer(folder: Path) -> None:
    with Session(folder, threads=1) as session:
        views = [session.register.picture(row) for row in (0, 1)]
        [result] = session.search(views, k=3, together=True)
        assert len(session.search(views, k=3)) == 2
    assert len(result.query.figures) == 2
    assert all(len(hit.views) == 2 for hit in result.hits)
    assert result.hits[0].score > 0.9  # they were drawn from the first design
