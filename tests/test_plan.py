"""Which way a register is searched: always the same answers, whatever lies in its folder."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_retrieval import plan as planning
from edge_retrieval.bundle import Bundle
from edge_retrieval.cli.caching import make_caches
from edge_retrieval.errors import MissingExtraError, RegisterError
from edge_retrieval.filters import Filters
from edge_retrieval.index import GRAPH, PASS, FlatIndex
from edge_retrieval.index.caches import faults
from edge_retrieval.index.first_pass import PassIndex
from edge_retrieval.index.graph import HnswIndex
from edge_retrieval.index.pass_file import open_pass
from edge_retrieval.plan import RegisterVectors, plan
from edge_retrieval.preparing import prepare
from edge_retrieval.register import Register
from edge_retrieval.search import Query, SearchResult, query_from_bytes, search
from tests import fakes

DESIGNS = 40


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fakes.tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def encoder(bundle: Bundle) -> fakes.FakeEncoder:
    return fakes.FakeEncoder(bundle.fingerprint)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let caches pay for a register of a test's size."""
    monkeypatch.setattr(planning, "PASS_FROM", 20)
    monkeypatch.setattr(planning, "GRAPH_FROM", 10_000)


@pytest.fixture
def register(tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder) -> Iterator[Register]:
    """40 designs of 3 figures, prepared."""
    with Register.create(tmp_path / "r", bundle) as made:
        made.add(fakes.designs(DESIGNS), encoder, source="some")
        assert prepare(made) == [PASS]
        yield made


def query(design: int, view: int = 50) -> Query:
    return query_from_bytes(fakes.drawing(design, view), "q.png", cut=False)


def found(result: SearchResult) -> list[tuple[str, int, float]]:
    return [(hit.design.number, hit.figure.row, hit.score) for hit in result.hits]


def told(result: SearchResult) -> object:
    counts = (result.compared_designs, result.compared_figures, result.statement)
    return (*counts, found(result))


def flat(register: Register) -> FlatIndex:
    return FlatIndex(np.array(register.vectors))


def test_the_pass_answers_as_all_vectors_do(register: Register, encoder: fakes.FakeEncoder) -> None:
    for filters in (
        Filters(),
        Filters(classes=["06"]),
        Filters(not_classes=["06-01"], before="2021-03-11"),
        Filters(designs=["D0003", "D0004"]),
        Filters(sources=["some"], not_designs=["D0003"]),
    ):
        for k in (1, 7, 1000):
            asked: dict[str, Any] = {"filters": filters, "k": k, "exclude_self": True}
            [fast] = search(register, [query(3)], encoder, **asked)
            [slow] = search(register, [query(3)], encoder, **asked, index=flat(register))
            assert isinstance(fast.plan and fast.plan.searcher, PassIndex)
            assert told(fast) == told(slow)
            assert len(fast.hits) == min(k, fast.compared_designs)
            assert fast.exact


def test_there_are_always_k_designs_whatever_is_left_out(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    own = query_from_bytes(fakes.drawing(5, 1), "own.png", cut=False)
    register.remove(["D0006", "D0007"])
    [result] = search(register, [own], encoder, k=DESIGNS, exclude_self=True)
    assert len(result.hits) == DESIGNS - 2
    assert (result.compared_designs, result.compared_figures) == (38, 38 * 3 - 1)
    asked: dict[str, Any] = {"k": DESIGNS, "exclude_self": True}
    assert told(result) == told(search(register, [own], encoder, **asked, index=flat(register))[0])


def test_designs_added_after_the_pass_was_made_are_found(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    later = fakes.design("LATER", [fakes.sheet(fakes.drawing(77), "77.png", single=True)])
    register.add([later], encoder)
    [result] = search(register, [query(77)], encoder, k=3)
    assert result.hits[0].design.number == "LATER"
    assert result.plan is not None
    assert [step.what for step in result.plan.steps] == [
        "scan the first pass", "compare in float32", "read and score in float64"
    ]  # fmt: skip
    assert [step.rows for step in result.plan.steps][:2] == [120, 1]
    assert prepare(register) == []  # one of 121 is not worth the while
    more = [d for d in fakes.designs(DESIGNS + 10) if d.number > "D0039"]
    register.add(more, encoder)
    assert prepare(register) == [PASS]
    assert len(plan(register, Filters().choose(register.columns, where=register.folder)).steps) == 2


def test_a_damaged_pass_changes_no_answer_and_is_made_anew(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    path = register.folder / PASS
    good = path.read_bytes()
    expected = found(search(register, [query(3)], encoder)[0])
    for place in (3, 30, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        assert len(faults(register.folder)) == 1
        with Register.open(register.folder) as reader:
            assert found(search(reader, [query(3)], encoder)[0]) == expected
            assert prepare(reader) == [PASS]
        assert path.read_bytes() == good
        assert faults(register.folder) == []


def test_a_pass_of_another_register_is_not_believed(
    register: Register, tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder
) -> None:
    with Register.create(tmp_path / "other", bundle) as other:
        other.add(list(reversed(fakes.designs(DESIGNS))), encoder)
        (other.folder / PASS).write_bytes((register.folder / PASS).read_bytes())
        [result] = search(other, [query(3)], encoder)
        assert isinstance(result.plan and result.plan.searcher, FlatIndex)
        assert found(result) == found(search(other, [query(3)], encoder, index=flat(other))[0])


def test_compaction_makes_the_pass_one_of_other_vectors(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    register.remove(["D0001"])
    register.compact()
    [result] = search(register, [query(3)], encoder)
    assert found(result) == found(search(register, [query(3)], encoder, index=flat(register))[0])
    assert prepare(register) == [PASS]


def test_a_changed_vector_is_told_not_answered(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    [path] = register.folder.glob("vectors*")
    content = bytearray(path.read_bytes())
    [result] = search(register, [query(3)], encoder, k=1)
    content[result.hits[0].figure.row * register.bundle.dim * 4 + 1] ^= 1
    path.write_bytes(content)
    with Register.open(register.folder) as reader, pytest.raises(RegisterError, match="damaged"):
        search(reader, [query(3)], encoder)


def test_a_register_is_searched_without_a_pass_until_one_pays(
    register: Register, encoder: fakes.FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "PASS_FROM", 1_000)
    with Register.open(register.folder) as reader:
        assert prepare(reader) == []
        [result] = search(reader, [query(3)], encoder)
    assert isinstance(result.plan and result.plan.searcher, FlatIndex)
    assert "fewer than 1,000" in result.plan.steps[0].why  # type: ignore[union-attr]


def test_a_graph_is_loaded_once_scans_have_cost_as_much(
    register: Register, encoder: fakes.FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "GRAPH_FROM", 100)
    assert prepare(register) == [GRAPH]
    assert prepare(register) == []
    assert faults(register.folder) == []
    expected = found(search(register, [query(3)], encoder, exact=True)[0])
    ways = []
    first, graph = (register.folder / name for name in (PASS, GRAPH))
    scanned = 120 * open_pass(first).coding.width * planning.BYTE_SCANNED
    monkeypatch.setattr(planning, "BYTE_LOADED", 2.5 * scanned / graph.stat().st_size)
    with Register.open(register.folder) as reader:
        for _ in range(4):
            [result] = search(reader, [query(3)], encoder)
            ways.append(isinstance(result.plan and result.plan.searcher, HnswIndex))
            assert found(result) == expected
        assert ways == [False, False, True, True]
        assert not result.exact
        assert result.statement.startswith("approximate, overlap@10 ")
        assert "measured on this register" in result.statement
        [exact] = search(reader, [query(3)], encoder, exact=True)
        assert exact.statement == "compared exactly with all 40 designs (120 figures)"
        [filtered] = search(reader, [query(3)], encoder, filters=Filters(classes=["06"]))
        assert filtered.exact


def test_a_damaged_graph_changes_no_answer(
    register: Register, encoder: fakes.FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "GRAPH_FROM", 100)
    prepare(register)
    monkeypatch.setattr(planning, "BYTE_LOADED", 0.0)
    expected = found(search(register, [query(3)], encoder)[0])
    path = register.folder / GRAPH
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    assert "sha256" in faults(register.folder)[0]
    with Register.open(register.folder) as reader:
        [result] = search(reader, [query(3)], encoder)
        assert (result.exact, found(result)) == (True, expected)
        assert prepare(reader) == [GRAPH]


@pytest.fixture
def without_hnswlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the base install on a Raspberry Pi is: hnswlib has to be compiled."""
    monkeypatch.setitem(sys.modules, "hnswlib", None)


def test_without_hnswlib_a_graph_that_is_there_is_left_alone(
    register: Register, encoder: fakes.FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "GRAPH_FROM", 100)
    prepare(register)
    monkeypatch.setattr(planning, "BYTE_LOADED", 0.0)
    expected = found(search(register, [query(3)], encoder, exact=True)[0])
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    with Register.open(register.folder) as reader:
        [result] = search(reader, [query(3)], encoder)
    assert (result.exact, found(result)) == (True, expected)
    assert faults(register.folder) == []


@pytest.mark.usefixtures("without_hnswlib")
def test_without_hnswlib_the_first_pass_is_made_and_the_extra_is_named(
    tmp_path: Path,
    bundle: Bundle,
    encoder: fakes.FakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(planning, "GRAPH_FROM", 100)
    with Register.create(tmp_path / "r", bundle) as made:
        made.add(fakes.designs(DESIGNS), encoder, source="some")
        make_caches(made)
        assert isinstance(
            plan(made, Filters().choose(made.columns, where=made.folder)).searcher, PassIndex
        )
    assert capsys.readouterr().err == (
        "note: many searches in one go could be faster: a graph needs the optional 'graph'"
        " dependencies: pip install 'edge-retrieval[graph]'\n"
    )


@pytest.mark.usefixtures("without_hnswlib")
def test_a_graph_that_is_asked_for_without_hnswlib_names_the_extra(register: Register) -> None:
    with pytest.raises(MissingExtraError, match="a graph needs") as caught:
        HnswIndex.build(register.vectors)
    assert "[graph]" in caught.value.hint


def test_a_register_that_nobody_holds_is_let_go(
    register: Register, encoder: fakes.FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "GRAPH_FROM", 100)
    prepare(register)
    monkeypatch.setattr(planning, "BYTE_LOADED", 0.0)
    reader = Register.open(register.folder)
    search(reader, [query(3)], encoder)
    held = weakref.ref(reader)
    reader.close()
    del reader
    gc.collect()
    assert held() is None


def test_the_vectors_of_a_register_are_read_in_three_ways(register: Register) -> None:
    rows = np.array([3, 100, 7])
    for vectors in (RegisterVectors(register), RegisterVectors(register, sweeping=True)):
        assert np.array_equal(vectors.take(rows), register.vectors[rows])
        assert np.array_equal(vectors.span(5, 90), register.vectors[5:90])
        assert (len(vectors), vectors.dim) == (120, register.bundle.dim)


def test_more_rows_at_once_than_can_be_read_one_by_one_come_from_the_map(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "READ_ONE_BY_ONE", 2)
    rows = np.array([3, 100, 7])
    assert np.array_equal(RegisterVectors(register).take(rows), register.vectors[rows])
