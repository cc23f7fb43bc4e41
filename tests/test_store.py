"""A store finds the designs that the register's own search does, and never decides a score."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_retrieval import cli
from edge_retrieval.bench.made import MadeVectors
from edge_retrieval.bundle import Bundle
from edge_retrieval.errors import (
    BundleMismatchError,
    ConfigError,
    StoreError,
    StoreMismatchError,
)
from edge_retrieval.evidence import Asked, make_record, read_record, record_text, replay
from edge_retrieval.filters import Filters
from edge_retrieval.plan import plan as local_plan
from edge_retrieval.register import Register
from edge_retrieval.register.working import writing_in
from edge_retrieval.register.writing import NewFigure, put_design, put_figures, put_sheet
from edge_retrieval.search import SearchResult, query_from_bytes, query_of_design, search
from edge_retrieval.session import Session
from edge_retrieval.sources import Box
from edge_retrieval.store import (
    Address,
    FoundInStore,
    Overlap,
    SharedStore,
    connecting,
    filling,
    keep_overlap,
    open_store,
    overlap_with,
    planning,
    push,
    read_address,
    sharing,
)
from edge_retrieval.store.collection import Collection
from edge_retrieval.store.connecting import require_version, server_named
from edge_retrieval.store.expressions import expression_of
from edge_retrieval.store.rows import APPLICANT, entities, fitted, keys_of
from tests import fakes

VIEWS = 8
DESIGNS = 120


def needs_milvus() -> None:
    """Skip where the extra `scale` is not installed, or has no milvus-lite."""
    pytest.importorskip("pymilvus", reason="the extra scale is not installed")
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")


def made_register(folder: Path, bundle: Bundle, *, seed: int = 0) -> Register:
    """Make a register of 120 designs, eight near figures each, in 4 classes and 12 subclasses."""
    vectors = np.concatenate(list(MadeVectors(DESIGNS * VIEWS, seed=seed, dim=bundle.dim).rows()))
    png = fakes.drawing(1)
    with Register.create(folder, bundle):
        pass
    with writing_in(folder, bundle.dim) as (database, store):
        database.begin()
        for place in range(DESIGNS):
            top, sub = 6 + place % 4, 1 + place // 4 % 3
            design = fakes.design(
                f"USD{place:07d}",
                [],
                (f"{top:02d}", f"{top:02d}-{sub:02d}") if place % 40 else (),
                locarno=None,
                published=f"{2000 + place % 24}-03-{1 + place % 28:02d}" if place % 30 else None,
                filed=f"{1999 + place % 24}-01-15" if place % 60 else None,
                applicants=(f'Company "{place % 17}"', "Müller \\ Söhne")[: 1 + place % 2],
            )
            key = put_design(database, design, source="one" if place % 3 else "other's")
            figures = []
            for view in range(VIEWS):
                digest = hashlib.sha256(f"{place} {view}".encode()).hexdigest()
                sheet = put_sheet(database, key, f"{view}.png", digest)
                figures.append(NewFigure(key, sheet, view + 1, Box(0, 0, 240, 240), 0, "", png))
            put_figures(database, store, figures, vectors[place * VIEWS : (place + 1) * VIEWS])
        database.commit()
    return Register.open(folder)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fakes.tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[Register]:
    with made_register(tmp_path_factory.mktemp("made") / "r", bundle) as register:
        yield register


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_milvus()
    return tmp_path_factory.mktemp("store") / "made.db"


@pytest.fixture(scope="module")
def store(file: Path, register: Register) -> Iterator[FoundInStore]:
    """The whole register in milvus-lite; asked even where a filter leaves few figures."""
    address = read_address(f"milvus:{file}")
    push(register, address)
    with open_store(address, register) as store, pytest.MonkeyPatch.context() as patched:
        patched.setattr(planning, "COMPARED", 0)
        patched.setattr(planning, "LOOKED", 1e9)  # tests change what is known of the collection
        yield store


@pytest.fixture
def small(tmp_path: Path, bundle: Bundle) -> Iterator[Register]:
    """A register of 12 designs, 3 figures each, that a test may change."""
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    with Register.create(tmp_path / "small", bundle) as register:
        register.add(fakes.designs(12), encoder)
        yield register


@pytest.fixture
def address(tmp_path: Path) -> Address:
    needs_milvus()
    return read_address(f"milvus:{tmp_path / 'small.db'}")


def both(
    register: Register, store: FoundInStore, number: str, views: int, **asked: Any
) -> tuple[SearchResult, SearchResult]:
    """Search with some views of a design of the register, in the store and without."""
    query, vectors = query_of_design(register, number)
    query = dataclasses.replace(query, figures=query.figures[:views])
    return tuple(  # type: ignore[return-value]  # two of them
        search(register, [query], embeddings=[vectors[:views]], store=one, **asked)[0]
        for one in (store, None)
    )


def run_line(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """Run a command; return its exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["edge-ret", *line.split()])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0), *capsys.readouterr()


FILTERS = {
    "none": Filters(),
    "class": Filters(classes=["06", "08"]),
    "subclass": Filters(classes=["07-02"]),
    "not class": Filters(not_classes=["06-01", "09"]),
    "dates": Filters(after="2004", before="2015-06"),
    "applicant": Filters(applicants=['company "1']),
    "odd applicant": Filters(applicants=["müller \\ söhne"]),
    "not applicant": Filters(not_applicants=["Müller"]),
    "source": Filters(sources=["other's"]),
    "not designs": Filters(not_designs=[f"USD{place:07d}" for place in range(40)]),
    "all": Filters(classes=["06"], after="2003", sources=["one"], not_designs=["USD0000100"]),
}


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS.keys())
def test_a_store_finds_what_the_register_does_with_the_same_scores_to_the_last_bit(
    register: Register, store: FoundInStore, filters: Filters
) -> None:
    shares = []
    for number, views in itertools.product(("USD0000003", "USD0000077"), (1, 3)):
        found, true = both(register, store, number, views, filters=filters)
        assert found.store == "edge_ret"
        assert not found.exact
        assert (found.compared_designs, found.undated) == (true.compared_designs, true.undated)
        scores = {hit.design.number: (hit.score, hit.pair, hit.figure) for hit in true.hits}
        own = {hit.design.number: (hit.score, hit.pair, hit.figure) for hit in found.hits}
        same = scores.keys() & own.keys()
        assert all(scores[one] == own[one] for one in same)
        assert len(own) == len(scores)
        shares.append(len(same) / len(scores))
        if len(same) == len(scores):
            assert found.hits == true.hits
            assert found.predicted == true.predicted
    assert np.mean(shares) >= 0.99


def test_no_expression_leaves_out_what_the_filter_keeps(
    register: Register, store: FoundInStore
) -> None:
    for filters in FILTERS.values():
        chosen = filters.choose(register.columns, where=register.folder)
        said = expression_of(register.columns, chosen, filters)
        client = store.collection._client
        told = client.query("edge_ret", filter=said, output_fields=["design"], limit=16_384)
        left = {one["design"] for one in told}
        rows = register.living_rows() if chosen.rows is None else chosen.rows
        numbers = {register.columns.number(one) for one in register.columns.design_of[rows]}
        assert numbers <= left
        tight = filters in (FILTERS["not designs"], FILTERS["not applicant"], FILTERS["all"])
        assert tight or numbers == left


def test_always_as_many_designs_as_there_are(register: Register, store: FoundInStore) -> None:
    for k in (1, DESIGNS, 1_000):
        found, true = both(register, store, "USD0000005", 1, k=k)
        assert len(found.hits) == len(true.hits) == min(k, DESIGNS - 1)
    few = Filters(designs=["USD0000005", "USD0000006", "USD0000007"])
    found, true = both(register, store, "USD0000005", 2, filters=few)
    assert found.hits == true.hits
    assert len(found.hits) == 2


def test_a_batch_of_queries_gives_what_each_gives_alone(
    register: Register, store: FoundInStore
) -> None:
    asked = [query_of_design(register, f"USD{place:07d}") for place in (1, 50, 99)]
    queries, vectors = zip(*asked, strict=True)
    batch = search(register, queries, embeddings=vectors, store=store)
    alone = [search(register, [query], embeddings=[own], store=store)[0] for query, own in asked]
    assert batch == alone


def test_the_answer_says_that_it_is_approximate_and_how_good_it_was_measured_to_be(
    register: Register, store: FoundInStore
) -> None:
    found, _ = both(register, store, "USD0000003", 1)
    assert found.statement == (
        "approximate: the store edge_ret found candidates among 119 designs (952 figures)"
    )
    measured = overlap_with(store, register, figures=12, least=100)
    assert measured.figures == 12
    assert measured.all >= 0.99 and (measured.class_ or 0) >= 0.99
    keep_overlap(store, Overlap(0.987, 0.951, 12))
    try:
        with Collection(store.collection.address) as again:
            kept = again.stamp()
            assert kept is not None
            assert kept["overlap"] == {"all": 0.987, "class": 0.951, "figures": 12}
        texts = [
            both(register, store, "USD0000003", 1, filters=filters)[0].statement
            for filters in (Filters(), Filters(classes=["07"]), Filters(after="2001"))
        ]
        assert texts[0].startswith("approximate, overlap@10 0.99 measured on this store: the sto")
        assert texts[1].startswith("approximate, overlap@10 0.95 measured on this store: the sto")
        assert texts[2].startswith("approximate: the store")  # nobody measured such a one
    finally:
        store.stamp.pop("overlap")
        store.collection.put_stamp(store.stamp)


def test_a_filter_that_leaves_few_figures_is_answered_by_the_register(
    register: Register, store: FoundInStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "COMPARED", 1_000)
    monkeypatch.setattr(Collection, "search", None)  # it is not asked
    found, true = both(register, store, "USD0000003", 1, filters=Filters(classes=["06"]))
    assert found == true
    assert found.exact and not found.store
    assert found.plan is not None
    assert found.plan.steps[0].what == "do not ask the store"
    found, true = both(register, store, "USD0000003", 1, exact=True)
    assert found == true and found.exact


def test_a_search_from_python_and_its_alarms_go_to_the_store(
    register: Register, store: FoundInStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is open already, in this process."""
    asked: list[str] = []
    searched = Collection.search

    def noting(self: Collection, queries: Any, limit: int, expression: str) -> Any:
        asked.append(expression)
        return searched(self, queries, limit, expression)

    monkeypatch.setattr(Collection, "search", noting)
    drawn = query_from_bytes(fakes.drawing(3), "q.png", cut=False)
    with Session(register.folder, store=f"milvus:{file}") as session:
        [found] = session.search([drawn], k=4, filters=Filters(classes=["06"]))
        [true] = search(register, [drawn], session.encoder, k=4, filters=Filters(classes=["06"]))
    assert asked and 'class in ["06"]' in asked[0]
    assert [hit.score for hit in found.hits] == [hit.score for hit in true.hits]


def test_brute_force_in_the_store_is_exact_and_says_so(small: Register, address: Address) -> None:
    push(small, address, index="flat")
    with open_store(address, small) as store:
        for k in (1, 5, 12):
            found, true = both(small, store, "D0003", 1, k=k)
            assert found.hits == true.hits
            assert found.exact and true.exact
            assert found.statement == true.statement
        several, true = both(small, store, "D0003", 2, k=3)
        assert several.hits == true.hits
        assert not several.exact  # nothing was proved of several views
    with pytest.raises(ConfigError, match="its index is flat, not hnsw"):
        push(small, address, index="hnsw")
    with pytest.raises(ConfigError, match="no index 'ivf'"):
        push(small, address, index="ivf")


def test_a_push_adds_what_is_new_removes_what_is_gone_and_does_nothing_twice(
    small: Register, address: Address, bundle: Bundle
) -> None:
    assert push(small, address) == (36, 0, 12, 36)
    assert push(small, address) == (0, 0, 12, 36)
    small.remove(["D0003", "D0004"])
    small.add(fakes.designs(14)[12:], fakes.FakeEncoder(bundle.fingerprint))
    with pytest.raises(StoreError, match="not up to date") as told:
        open_store(address, small)
    assert "edge-ret store push" in told.value.hint
    assert push(small, address) == (6, 6, 12, 36)
    with open_store(address, small) as store:
        found, true = both(small, store, "D0012", 1, k=11)
        assert {hit.design.number for hit in found.hits} == {hit.design.number for hit in true.hits}
        small.compact()  # every row has another number, and the same is held
        found, true = both(small, store, "D0012", 1, k=11)
        assert found.hits == true.hits
        small.remove(["D0000"])
        with pytest.raises(StoreError, match="not up to date"):
            both(small, store, "D0012", 1)
    assert push(small, address) == (0, 3, 11, 33)


def test_a_push_that_was_stopped_goes_on_and_nobody_searches_in_a_half(
    small: Register, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "AT_ONCE", 10)
    add, calls = Collection.add, []

    def stopping(self: Collection, entities: Any) -> None:
        calls.append(len(entities))
        if len(calls) == 3:
            raise KeyboardInterrupt
        add(self, entities)

    monkeypatch.setattr(Collection, "add", stopping)
    with pytest.raises(KeyboardInterrupt):
        push(small, address)
    with pytest.raises(StoreError, match="a push into it was not finished"):
        open_store(address, small)
    assert push(small, address) == (16, 0, 12, 36)
    assert calls == [10, 10, 10, 10, 6]


def test_another_encoder_another_register_and_another_collection_are_refused(
    small: Register, address: Address, tmp_path: Path
) -> None:
    push(small, address)
    other = fakes.tiny_bundle(tmp_path / "other", golden=3)
    with Register.create(tmp_path / "o", other) as foreign:
        foreign.add(fakes.designs(2), fakes.FakeEncoder(other.fingerprint))
        for refused in (lambda: push(foreign, address), lambda: open_store(address, foreign)):
            with pytest.raises(BundleMismatchError, match="its vectors are of the encoder tiny"):
                refused()
    with Register.create(tmp_path / "s", small.bundle) as stranger:
        drawn = [fakes.design(900 + i, [fakes.sheet(fakes.drawing(50 + i))]) for i in range(5)]
        stranger.add(drawn, fakes.FakeEncoder(small.bundle.fingerprint))
        with pytest.raises(StoreError, match="36 of its 36 figures would go"):
            push(stranger, address)
        assert push(stranger, address, replace=True).removed == 36
    with pytest.raises(StoreError, match="no collection 'elsewhere'"):
        open_store(address._replace(collection="elsewhere"), small)
    with Collection(address) as collection:
        collection.put_stamp({"schema": 99})
    with pytest.raises(StoreError, match="its schema is 99"):
        push(small, address)
    with Collection(address) as collection:
        collection._client.alter_collection_properties("edge_ret", {"edge_ret": "[]"})
    with pytest.raises(StoreError, match="was not made by edge-ret store push"):
        push(small, address)


def test_something_else_that_writes_into_the_collection_is_told(
    small: Register, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Collection.settle

    def meddled(self: Collection) -> None:
        keys, rows = keys_of(small.columns)
        self.add([one | {"key": 7} for one in entities(small, keys[:1].tolist(), rows[:1])])
        settle(self)

    monkeypatch.setattr(Collection, "settle", meddled)
    with pytest.raises(StoreError, match="it holds 37 figures, not 36"):
        push(small, address)
    monkeypatch.undo()
    assert push(small, address) == (0, 1, 12, 36)


def test_a_server_that_misplaces_figures_is_told(
    small: Register, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milvus 2.3.5 did, where figures were upserted: each was there, and no filter found it."""
    count = Collection.count

    def misplaced(self: Collection, expression: str = "") -> int:
        return count(self, expression) - ("12" in expression)

    monkeypatch.setattr(Collection, "count", misplaced)
    with pytest.raises(StoreError, match=r'it holds 8 figures, not 9 class in \["12"\]'):
        push(small, address)
    with pytest.raises(StoreError, match="a push into it was not finished"):
        open_store(address, small)


def test_a_store_that_names_too_few_designs_costs_no_hit(
    register: Register, store: FoundInStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = Collection.search

    def half(self: Collection, *asked: Any) -> Any:
        return [type(one)(one[0][:9], one[1][:9]) for one in searched(self, *asked)]

    monkeypatch.setattr(Collection, "search", half)
    for flat in ("hnsw", "flat"):
        monkeypatch.setitem(store.stamp, "index", flat)
        found, true = both(register, store, "USD0000003", 1, filters=Filters(classes=["06"]))
        assert found.hits == true.hits
    assert overlap_with(store, register, figures=3, least=10_000).too_few == 3


def test_a_store_that_cannot_be_reached_or_opened_is_told_in_one_line(
    small: Register, tmp_path: Path
) -> None:
    needs_milvus()
    (tmp_path / "text.db").write_text("no store")
    for where, why in (
        ("http://127.0.0.1:9", "the store cannot be reached"),
        (f"{tmp_path}/none.db", "is not there"),
        (f"{tmp_path}/text.db", "is no store of milvus-lite"),
    ):
        with pytest.raises(StoreError, match=why) as told:
            open_store(read_address(f"milvus:{where}"), small)
        assert "\n" not in str(told.value) and told.value.hint
    with pytest.raises(StoreError, match="cannot be made"):
        push(small, read_address(f"milvus:{tmp_path}/no/such.db"))


def test_an_old_server_is_refused_and_others_are_named() -> None:
    where = read_address("milvus:http://host:19530")
    with pytest.raises(StoreError, match=r"the store is Milvus 2\.2\.9, and 2\.3 is the oldest"):
        require_version(where, "v2.2.9")
    for version in ("v2.3.5", "2.6.1", "v3.0-beta", "milvus_lite-3.2.2", "a build of my own"):
        require_version(where, version)
    assert server_named("v2.5.3") == "Milvus 2.5.3"
    assert server_named("milvus_lite-3.2.2") == "milvus-lite 3.2.2"


@pytest.mark.parametrize("missing", ["pymilvus", "milvus_lite", "distributed"])
def test_what_needs_the_extra_says_so_and_nothing_else_does(
    register: Register,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: str,
) -> None:
    if missing == "milvus_lite":
        pytest.importorskip("pymilvus", reason="the extra scale is not installed")
    (tmp_path / "q.png").write_bytes(fakes.drawing(5, 60))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "D1.png").write_bytes(fakes.drawing(1))
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.chdir(tmp_path)
    named, store = f"-r {register.folder}", "--store milvus:x.db"
    doing = "indexing on a cluster" if missing == "distributed" else "reaching a store"
    for line in (
        ["index d -o new --engine dask"]
        if missing == "distributed"
        else [
            f"search q.png {named} {store}",
            f"serve {named} {store} --port 0",
            f"store push {register.folder} --to milvus:x.db",
            f"store check {register.folder} --to milvus:x.db",
            "store list --to milvus:x.db",
            "store drop --to milvus:x.db --name x",
        ]
    ):
        code, _, err = run_line(line, monkeypatch, capsys)
        assert code == 1
        assert err.splitlines()[-2:] == [
            f"error: {doing} needs the optional 'scale' dependencies",
            "hint: pip install 'edge-retrieval[scale]'",
        ]
    assert run_line(f"search q.png {named}", monkeypatch, capsys)[0] == 0


def test_addresses_are_read_and_others_refused() -> None:
    assert read_address("milvus:a/b.db") == Address("a/b.db", "edge_ret")
    assert read_address("milvus:http://h:19530#x") == Address("http://h:19530", "x")
    assert read_address("milvus:https://h.example/", "y") == Address("https://h.example", "y")
    assert str(read_address("milvus:http://[::1]:1#z")) == "milvus:http://[::1]:1#z"
    assert str(read_address("milvus:a.db#edge_ret")) == "milvus:a.db"
    for wrong in ("a.db", "milvus:", "milvus:a.txt", "milvus:ftp://h", "milvus:http://h:1/x/y"):
        with pytest.raises(ConfigError, match="is no store"):
            read_address(wrong)
    for near in ("a.db", "http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1"):
        assert read_address(f"milvus:{near}").is_local
    for far in ("http://10.0.0.1:1", "https://localhost.example", "http://[fe80::1]:1"):
        assert not read_address(f"milvus:{far}").is_local
    for secret in ("http://me:secret@h:1", "https://me@h"):
        with pytest.raises(ConfigError, match="holds no user") as told:
            read_address(f"milvus:{secret}")
        assert "secret" not in str(told.value)
    with pytest.raises(ConfigError, match="no name of a collection"):
        read_address("milvus:a.db", "1 x")


def test_a_record_of_such_a_search_replays_with_the_store_and_without(
    register: Register, store: FoundInStore, bundle: Bundle
) -> None:
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    data = fakes.drawing(3, 60)
    query = query_from_bytes(data, "q.png")
    filters = Filters(classes=["06"])
    results = search(register, [query], encoder, k=5, filters=filters, store=store)
    asked = Asked(5, filters, store=store.facts)
    drawings = {hashlib.sha256(data).hexdigest(): data}
    made = make_record(results, register=register, asked=asked, drawings=drawings)
    record = read_record(record_text(made).encode(), where="record.json")
    [told] = record["results"]
    assert told["statement"].startswith("approximate: the store edge_ret found candidates")
    assert (told["exact"], told["store"]) == (False, "edge_ret")
    assert record["search"]["store"] == {
        "collection": "edge_ret",
        "server": store.collection.server,
        "index": "hnsw",
        "overlap": None,
    }
    assert str(store.collection.address.file) not in json.dumps(record)
    for where in (store, None):
        found = replay(record, register, encoder, store=where)
        assert found.identical, found.changes
    assert any("the store edge_ret found the candidates" in note for note in found.notes)
    missed = json.loads(json.dumps(record))
    del missed["results"][0]["hits"][0]  # as if the store had not found it
    found = replay(missed, register, encoder)
    assert not found.same
    assert any("was not among the first" in change for change in found.changes)


def test_keys_name_all_that_is_kept_and_nothing_else(small: Register) -> None:
    keys, rows = keys_of(small.columns)
    assert len(np.unique(keys)) == len(keys) == 36
    assert keys.min() >= 0
    assert sorted(rows.tolist()) == small.living_rows().tolist()
    columns = small.columns
    later = dataclasses.replace(columns, published=columns.published + (columns.node == 2))
    changed = ~np.isin(keys_of(later)[0], keys)
    assert 0 < np.count_nonzero(columns.node[columns.design_of] == 2) == np.count_nonzero(changed)
    twice = dataclasses.replace(
        columns,
        sheet_of=np.full_like(columns.sheet_of, 5),
        crc_of=np.full_like(columns.crc_of, 5),
    )
    assert len(np.unique(keys_of(twice)[0])) == 36


def test_long_texts_are_kept_short_and_apart() -> None:
    one, other = "ß" * 400 + "a", "ß" * 400 + "b"
    for text in (one, other):
        assert len(fitted(text, APPLICANT).encode()) <= APPLICANT
        assert fitted(fitted(text, APPLICANT), APPLICANT) == fitted(text, APPLICANT)
    assert fitted(one, APPLICANT) != fitted(other, APPLICANT)
    assert fitted("short", APPLICANT) == "short"


def test_a_copy_of_the_register_has_the_same_store(
    register: Register, store: FoundInStore, tmp_path: Path
) -> None:
    shutil.copytree(register.folder, tmp_path / "copy")
    with Register.open(tmp_path / "copy") as copy:
        again = FoundInStore(store.collection, copy)
        chosen = Filters().choose(copy.columns, where=copy.folder)
        assert again.plan(copy, chosen, Filters()).store == "edge_ret"
        assert local_plan(copy, chosen).store == ""


def test_the_command_line_fills_searches_measures_and_replays(
    small: Register,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    needs_milvus()
    monkeypatch.setattr(planning, "COMPARED", 1_000)  # the tests above let the store be asked
    monkeypatch.chdir(tmp_path)
    Path("q.png").write_bytes(fakes.drawing(5, 60))

    def run(line: str) -> tuple[int, str, str]:
        return run_line(line, monkeypatch, capsys)

    to, within = "--to milvus:s.db --name mine", "-r small --store milvus:s.db#mine"
    code, out, err = run(f"store push small {to} --measure")
    assert code == 0
    assert "36 figures added, 0 removed; it holds 12 designs, 36 figures" in out
    assert "overlap@10: 1.000 without a filter (36 figures" in out
    assert "next: edge-ret search DRAWING -r small --store milvus:s.db#mine" in err
    code, out, err = run(f"search q.png {within} -k 3 --explain --record a.json")
    assert code == 0
    assert "approximate, overlap@10 1.00 measured on this store: the store mine found" in out
    assert "1. ask the store mine: 36 figures; milvus-lite" in err
    code, out, err = run(f"search q.png {within} --class 06 --json")
    told = json.loads(out)["results"][0]
    assert code == 0 and told["exact"] and "store" not in told
    for where in ("-r small", within):
        code, out, _ = run(f"replay a.json {where}")
        assert (code, out.split(":")[0]) == (0, "identical")
    code, out, _ = run(f"store check small {to} --figures 4 --json")
    assert json.loads(out)["overlap"] == {"all": 1.0, "class": None, "figures": 4, "too_few": 0}
    small.remove(["D0001"])
    code, _, err = run(f"search q.png {within}")
    assert code == 1
    assert err.splitlines()[-2].startswith("error: milvus:s.db#mine: it holds 36 figures as they")
    assert err.splitlines()[-1] == "hint: edge-ret store push small --to milvus:s.db#mine"


def test_no_proxy_is_asked_for_the_way_to_a_store(
    small: Register, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    assert push(small, address).added == 36


def test_a_collection_that_is_changed_or_dropped_meanwhile_is_noticed(
    small: Register, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "COMPARED", 0)
    push(small, address)
    with open_store(address, small) as store, Collection(address) as other:
        kept = store.stamp
        other.put_stamp(kept | {"contents": "", "snapshot": ""})
        monkeypatch.setattr(planning, "LOOKED", 1e9)
        assert both(small, store, "D0003", 1)[0].store  # it has looked a moment ago
        monkeypatch.setattr(planning, "LOOKED", 0.0)
        for _ in range(2):
            with pytest.raises(StoreMismatchError, match="a push into it was not finished"):
                both(small, store, "D0003", 1)
            monkeypatch.setattr(planning, "LOOKED", 1e9)  # and does not forget it
        other.put_stamp(kept | {"overlap": {"all": 0.5, "class": None, "figures": 1}})
        assert both(small, store, "D0003", 1)[0].overlap == 0.5
        other.drop()
        monkeypatch.setattr(planning, "LOOKED", 0.0)
        with pytest.raises(StoreMismatchError, match="no collection 'edge_ret'"):
            both(small, store, "D0003", 1)


def test_a_shared_connection_is_let_go_of_when_it_fails_and_by_its_last_user(
    small: Register, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(small, address)
    now = 0.0
    shared = SharedStore(address, clock=lambda: now)
    with (
        shared.entered() as one,
        pytest.raises(StoreError, match="as it happens"),
        shared.entered() as same,
    ):
        assert same is one
        raise StoreError("as it happens", hint="")
    with shared.entered() as other:
        assert other is not one
        assert other.count() == 36
    shared.close()
    assert address.file not in connecting._in_use
    tried: list[Address] = []

    def refused(where: Address) -> Collection:
        tried.append(where)
        raise StoreError("away", hint="wait")

    with monkeypatch.context() as broken:
        broken.setattr(sharing, "Collection", refused)
        for _ in range(3):  # those who waited while the first one tried
            with pytest.raises(StoreError, match="away") as told, shared.entered():
                pass
            assert told.value.hint == "wait"
        assert len(tried) == 1
        now += sharing.PAUSE
        with pytest.raises(StoreError, match="away"):
            shared.stamp()
        assert len(tried) == 2
    now += sharing.PAUSE
    stamp = shared.stamp()
    assert stamp is not None and stamp["figures"] == 36
    shared.close()


def test_threads_that_open_one_file_at_once_share_it(small: Register, address: Address) -> None:
    push(small, address)
    counted: list[int] = []

    def count() -> None:
        with Collection(address) as collection:
            counted.append(collection.count())

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counted == [36] * 4
    assert address.file not in connecting._in_use


def test_collections_are_listed_and_dropped_by_name_and_others_are_left_alone(
    small: Register,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    needs_milvus()
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> tuple[int, str, str]:
        return run_line(line, monkeypatch, capsys)

    push(small, read_address("milvus:s.db#mine"))
    with open_store(read_address("milvus:s.db#mine"), small) as store:
        keep_overlap(store, Overlap(0.987, None, 36))
    with Collection(read_address("milvus:s.db#half")) as half:
        half.create(small.bundle.dim, "flat", {"schema": 1, "index": "flat", **filling.UNFINISHED})
    with Collection(read_address("milvus:s.db#other")) as other:
        other._client.create_collection("other", dimension=4)
    code, out, err = run("store list --to milvus:s.db -r small")
    assert code == 0
    assert err == "and 1 collection of other programs\n"
    half_line, mine = (" ".join(line.split()) for line in out.rstrip().splitlines()[-2:])
    assert half_line == "half 0 0 flat unfinished no"
    assert mine == f"mine 12 36 tiny hnsw 0.987 {small.contents[:12]} yes"
    told = json.loads(run("store list --to milvus:s.db --json")[1])
    assert told["others"] == 1
    assert [(one["collection"], one["up_to_date"]) for one in told["collections"]] == [
        ("half", None), ("mine", None),
    ]  # fmt: skip
    small.remove(["D0003"])
    told = json.loads(run("store list --to milvus:s.db -r small --json")[1])
    assert [one["up_to_date"] for one in told["collections"]] == [False, False]
    code, _, err = run("store drop --to milvus:s.db --name mine")
    assert code == 1
    assert err.splitlines() == [
        "error: milvus:s.db#mine: 36 figures would go: nothing was removed",
        "hint: say so with --yes",
    ]
    for name, why in (("other", "was not made by edge-ret store push: it is not removed"),
                      ("none", "the store has no collection 'none'")):  # fmt: skip
        for yes in ("", " --yes"):
            code, _, err = run(f"store drop --to milvus:s.db --name {name}{yes}")
            assert code == 1
            assert err.splitlines() == [
                f"error: milvus:s.db#{name}: {why}",
                "hint: see what there is: edge-ret store list --to milvus:s.db",
            ]
    assert run("store drop --to milvus:s.db")[0] == 2  # it must be named
    code, out, _ = run("store drop --to milvus:s.db --name mine --yes")
    assert (code, out) == (0, "milvus:s.db#mine: removed, with 36 figures\n")
    assert run("store drop --to milvus:s.db --name half --yes")[0] == 0
    assert "no collection of edge-ret" in run("store list --to milvus:s.db")[1]


@pytest.mark.parametrize(("said", "code"), [("y\n", 0), ("\n", 1)])
def test_a_person_is_asked_before_a_collection_is_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str, code: int
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    dropped: list[Address] = []
    monkeypatch.setattr(sys, "stdin", Terminal(said))
    monkeypatch.setattr("edge_retrieval.store.stamp_to_drop", lambda _: {"figures": 36})
    monkeypatch.setattr(
        "edge_retrieval.store.drop", lambda at: (dropped.append(at), {"figures": 36})[1]
    )
    found, _, err = run_line("store drop --to milvus:s.db --name x", monkeypatch, capsys)
    assert found == code
    assert "milvus:s.db#x: 36 figures. Remove them? [y/N]:" in err
    assert len(dropped) == 1 - code
