"""A register served through a store: the same answers, what is wrong told, and found again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_retrieval.errors import BundleMismatchError, ConfigError, StoreError, StoreMismatchError
from edge_retrieval.evidence import read_record, replay
from edge_retrieval.register import Register
from edge_retrieval.server import ServeSettings
from edge_retrieval.server import held as held_module
from edge_retrieval.server.checking import wrong
from edge_retrieval.server.desk import Desk
from edge_retrieval.server.openapi import openapi
from edge_retrieval.store import (
    Overlap,
    connecting,
    keep_overlap,
    open_store,
    planning,
    push,
    read_address,
    sharing,
)
from edge_retrieval.store.collection import Collection
from tests.fakes import FakeEncoder, designs, drawing, tiny_bundle
from tests.server.test_openapi import undescribed

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.server.conftest import Serve

pytest.importorskip("pymilvus", reason="the extra scale is not installed")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")


@pytest.fixture(autouse=True)
def always_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The store is asked however few figures there are, and everything is looked at again.

    In the end nobody may hold a file.
    """
    monkeypatch.setattr(planning, "COMPARED", 0)
    monkeypatch.setattr(planning, "LOOKED", 0.0)
    monkeypatch.setattr(held_module, "EVERY", 0.0)
    monkeypatch.setattr(sharing, "PAUSE", 0.0)
    yield
    assert not connecting._in_use


@pytest.fixture(scope="module")
def pushed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a store that holds the register that nobody may change."""
    address = read_address(f"milvus:{tmp_path_factory.mktemp('stored') / 'made.db'}")
    with Register.open(folder) as register:
        push(register, address)
        with open_store(address, register) as store:
            keep_overlap(store, Overlap(0.993, None, 24))
    return str(address)


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, str]:
    """A register of six designs and a store that holds it, for tests that change either."""
    bundle = tiny_bundle(tmp_path / "bundle")
    address = f"milvus:{tmp_path / 'own.db'}#mine"
    with Register.create(tmp_path / "own", bundle) as register:
        register.add(designs(6, views=1), FakeEncoder(bundle.fingerprint))
        push(register, read_address(address))
    return tmp_path / "own", address


def search(client: TestClient, **asked: Any) -> Any:
    return client.post("/api/search", json={"design": "D0001", "k": 4, **asked})


def test_answers_are_the_registers_own_and_say_that_a_store_found_them(
    serve: Serve, client: TestClient, pushed: str
) -> None:
    through = serve(store=pushed, workers=2)
    schemas = openapi(ServeSettings())["components"]["schemas"]
    sent = [
        one.post("/api/drawings", content=drawing(3, figures=2)).json() for one in (client, through)
    ]
    for asked in (
        {},
        {"filters": {"classes": ["07"]}},
        {"filters": {"not_designs": ["D0002"], "after": "2001"}},
        {"views": [1]},
        {"views": [1, 2], "filters": {"classes": ["06"]}},
    ):
        told = []
        for one, kept in zip((client, through), sent, strict=True):
            views = [{"drawing": kept["id"], "figure": n} for n in asked.get("views", ())]
            body = {**asked, "views": views} if views else {"design": "D0001", **asked}
            answer = one.post("/api/search", json={"k": 5, **body})
            assert answer.status_code == 200, answer.text
            told.append(answer.json())
        true, found = told
        assert wrong(found, schemas["Result"], schemas) is None
        assert undescribed(found, schemas["Result"], schemas) == []
        assert (found.pop("store"), found["exact"], true["exact"]) == ("edge_ret", False, True)
        measured = "" if asked.get("filters") else ", overlap@10 0.99 measured on this store"
        assert found["statement"].startswith(f"approximate{measured}: the store edge_ret found ")
        assert true["statement"].startswith("compared exactly")
        for hit in (*found["hits"], *true["hits"]):
            hit.pop("epoch"), hit.pop("pictures")
        for field in ("hits", "compared_designs", "facets", "predicted", "notes"):
            assert found[field] == true[field]


def test_many_ask_at_once_and_each_gets_its_answer(serve: Serve, pushed: str) -> None:
    client = serve(store=pushed, workers=3)
    numbers = [f"D{place % 8:04d}" for place in range(24)]
    alone = {number: search(client, design=number).json()["hits"] for number in set(numbers)}
    found: dict[int, Any] = {}

    def ask(place: int) -> None:
        found[place] = search(client, design=numbers[place]).json()["hits"]

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(numbers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {place: alone[number] for place, number in enumerate(numbers)}


def test_what_is_exported_names_the_store_and_replays(
    serve: Serve, pushed: str, folder: Path
) -> None:
    client = serve(store=pushed)
    sent = client.post("/api/drawings", content=drawing(3)).json()
    body = {"views": [{"drawing": sent["id"], "figure": 1}], "filters": {"classes": ["06"]}}
    told = {
        kind: client.post("/api/export", json={"search": body, "format": kind}).content
        for kind in ("record", "html", "csv")
    }
    record = read_record(told["record"], where="record.json")
    assert record["search"]["store"]["collection"] == "edge_ret"
    assert record["search"]["store"]["overlap"]["all"] == 0.993
    assert record["results"][0]["store"] == "edge_ret"
    assert "pproximate: the store edge_ret found" in told["html"].decode()
    for text in told.values():
        assert str(read_address(pushed).file).encode() not in text
    with Register.open(folder) as register:
        encoder = FakeEncoder(register.bundle.fingerprint)
        with open_store(read_address(pushed), register) as store:
            assert replay(record, register, encoder, store=store).identical
        assert replay(record, register, encoder).identical


def test_the_status_tells_the_store(serve: Serve, client: TestClient, pushed: str) -> None:
    assert client.get("/api/status").json()["store"] is None
    status = serve(store=pushed).get("/api/status").json()
    schemas = openapi(ServeSettings())["components"]["schemas"]
    assert wrong(status, schemas["Status"], schemas) is None
    assert undescribed(status, schemas["Status"], schemas) == []
    server = status["store"].pop("server")
    assert server.startswith("milvus-lite")
    assert status["store"] == {
        "collection": "edge_ret",
        "local": True,
        "ready": True,
        "error": None,
        "hint": None,
        "index": "hnsw",
        "overlap": {"all": 0.993, "class": None, "figures": 24},
    }


def test_a_register_that_changed_is_searched_again_once_it_was_pushed(
    serve: Serve, own: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = own
    client = serve(folder, store=address)
    assert search(client).json()["store"] == "mine"
    with Register.open(folder) as register:
        register.remove(["D0005"])
    for answer in (search(client), client.post("/api/export", json={
        "search": {"design": "D0001"}, "format": "csv"})):  # fmt: skip
        assert answer.status_code == 409
        assert answer.json() == {
            "error": "mine: it holds 6 figures as they were, the register 5: it is not up to date",
            "hint": "edge-ret store push own --to STORE#mine",
        }
    state = client.get("/api/status").json()["store"]
    assert (state["ready"], state["error"][:8]) == (False, "mine: it")
    assert client.get("/api/designs").json()["total"] == 5
    client.desk.looking.submit(lambda _: None).result(30)  # type: ignore[attr-defined]
    assert not connecting._in_use  # another process can have the file
    with Register.open(folder) as register:
        push(register, read_address(address))
    assert search(client).json()["compared_designs"] == 4
    assert client.get("/api/status").json()["store"]["ready"]


def test_a_collection_that_went_or_became_anothers_meanwhile_answers_nobody(
    serve: Serve, own: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = own
    client = serve(folder, store=address)
    assert search(client).status_code == 200
    with Collection(read_address(address)) as collection:
        kept = collection.stamp()
        assert kept is not None
        for stamp, told in (
            (kept | {"contents": "", "snapshot": ""}, "a push into it was not finished"),
            (kept | {"fingerprint": "another"}, "its vectors are of the encoder tiny"),
            (kept | {"schema": 99}, "its schema is 99"),
        ):
            collection.put_stamp(stamp)
            answer = search(client)
            assert answer.status_code == 409
            assert told in answer.json()["error"]
            assert str(tmp_path) not in answer.text
        collection.put_stamp(kept)
        assert search(client).status_code == 200
        collection.drop()
    assert "the store has no collection 'mine'" in search(client).json()["error"]
    assert "no collection 'mine'" in client.get("/api/status").json()["store"]["error"]


def test_a_store_that_is_away_is_told_at_once_and_found_again(
    serve: Serve,
    own: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from pymilvus.exceptions import MilvusException

    folder, address = own
    client = serve(folder, store=address, workers=2)
    with monkeypatch.context() as broken:

        def away(*_: Any, **__: Any) -> None:
            raise MilvusException(message="no route to 10.1.2.3:19530")

        broken.setattr("pymilvus.MilvusClient.search", away)
        for _ in range(3):
            answer = search(client)
            assert answer.status_code == 503
            assert "retry-after" not in answer.headers  # nobody knows when
            assert answer.json() == {
                "error": "mine: the collection cannot be searched",
                "hint": "see that the store runs well",
            }
        broken.setattr("pymilvus.MilvusClient.get_server_version", away)
        assert search(client).json()["error"] == "mine: the store cannot be opened"
        state = client.get("/api/status").json()["store"]
        assert not state["ready"]
        assert state["hint"] == "one process at a time has it: let the other one end"
        assert client.get("/api/designs").status_code == 200
    said = capfd.readouterr().err
    assert said.count("no route to 10.1.2.3:19530") == 2  # once each: not for every search
    assert "Traceback" not in said
    assert search(client).status_code == 200
    assert client.get("/api/status").json()["store"]["ready"]


def test_a_store_that_does_not_answer_keeps_nobody_from_the_status(
    serve: Serve, own: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = own
    client = serve(folder, store=address, answering=0.01)
    go = threading.Event()
    stamp = Collection.stamp
    monkeypatch.setattr(Collection, "stamp", lambda self: (go.wait(30), stamp(self))[1])
    try:
        told = client.get("/api/status").json()
        assert told["designs"] == 6
        assert told["store"]["error"] == "mine: the store has not answered within 0.01 s"
    finally:
        go.set()


def test_a_store_that_does_not_hold_the_register_is_not_served(
    own: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = own
    other = tiny_bundle(tmp_path / "other", golden=3)
    with Register.create(tmp_path / "foreign", other) as register:
        register.add(designs(2, views=1), FakeEncoder(other.fingerprint))
    for register_folder, store, kind in (
        (folder, f"milvus:{tmp_path}/none.db", StoreError),
        (folder, address.replace("#mine", ""), StoreMismatchError),
        (tmp_path / "foreign", address, BundleMismatchError),
    ):
        with pytest.raises(kind):
            Desk(register_folder, ServeSettings(workers=1, store=store)).start()
    with pytest.raises(ConfigError, match="is no store"):
        ServeSettings(store="own.db")
