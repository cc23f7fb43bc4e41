"""What the routes answer is what the library answers."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_retrieval import Session
from edge_retrieval.evidence import read_record, replay, to_json
from edge_retrieval.filters import Filters
from edge_retrieval.query import choose_figures, query_from_bytes, together
from edge_retrieval.search import search
from edge_retrieval.server import receiving, work
from tests.fakes import drawing

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.server.conftest import Serve


def send(client: TestClient, data: bytes, name: str = "a.png", **query: str) -> dict[str, Any]:
    answer = client.post("/api/drawings", content=data, params={"name": name, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/api/search", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


OWN = ("epoch", "pictures")


def without_own(told: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without what the server adds to that of the library."""
    hits = [{k: v for k, v in hit.items() if k not in OWN} for hit in told["hits"]]
    kept = {k: v for k, v in told.items() if k not in ("facets", "seconds")}
    return {**kept, "hits": hits}


def expected(folder: Path, queries: list[Any], **settings: Any) -> dict[str, Any]:
    with Session(folder, threads=1) as session:
        results = search(session.register, [together(queries)], session.encoder, **settings)
        [told] = to_json(results, register=session.register)["results"]
    for hit in told["hits"]:
        assert hit.pop("where").startswith("made/")  # a folder of the machine that serves
    return json.loads(json.dumps(told))


def test_the_status_tells_what_is_served_and_its_limits(client: TestClient, folder: Path) -> None:
    told = client.get("/api/status").json()
    with Session(folder, threads=1) as session:
        assert told["fingerprint"] == session.register.bundle.fingerprint
        assert told["snapshot"] == session.register.snapshot
    assert (told["name"], told["designs"], told["figures"]) == ("register", 8, 24)
    assert told["limits"]["k"] == 200
    assert told["token"] is False


def test_a_search_answers_as_the_library_does(client: TestClient, folder: Path) -> None:
    data = drawing(3, 7)
    sent = send(client, data, "front.png")
    told = ask(client, views=[{"drawing": sent["id"], "figure": 1}], k=5)
    assert without_own(told) == expected(folder, [query_from_bytes(data, "front.png")], k=5)
    assert told["hits"][0]["design"] == "D0003"
    assert told["sha256"] == sent["sha256"]
    assert told["seconds"] > 0


def test_views_of_several_drawings_are_one_product(client: TestClient, folder: Path) -> None:
    sheets = [drawing(5, 9, figures=3), drawing(5, 20)]
    first, second = send(client, sheets[0], "a.png"), send(client, sheets[1], "b.png")
    chosen = [(first, 3), (first, 1), (second, 1)]
    told = ask(client, views=[{"drawing": d["id"], "figure": f} for d, f in chosen], k=8)
    queries = [query_from_bytes(sheets[0], "a.png"), query_from_bytes(sheets[1], "b.png")]
    queries[0] = choose_figures(queries[0], [3, 1])
    assert without_own(told) == expected(folder, queries, k=8)
    assert [(view["file"], view["figure"]) for view in told["views"]] == [
        ("a.png", 3),
        ("a.png", 1),
        ("b.png", 1),
    ]


def test_filters_and_exclude_self_are_those_of_the_library(
    client: TestClient, folder: Path
) -> None:
    data = drawing(1, 0)  # of the register itself
    sent = send(client, data, "x.png")
    views = [{"drawing": sent["id"], "figure": 1}]
    asked = {"classes": ["06"], "not_classes": ["06-01"], "after": "2021-03-02", "before": None}
    told = ask(client, views=views, filters=asked, exclude_self=True, k=3)
    assert without_own(told) == expected(
        folder,
        [query_from_bytes(data, "x.png")],
        k=3,
        filters=Filters(classes=["06"], not_classes=["06-01"], after="2021-03-02"),
        exclude_self=True,
    )
    assert told["compared_figures"] == 5
    assert told["facets"]["compared_designs"] == 2


def test_a_drawing_is_embedded_once_however_often_it_is_searched_with(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    embed = receiving.embed_figures

    def counting(encoder: Any, given: Any) -> Any:
        figures.append(len(given))
        return embed(encoder, given)

    for module in (receiving, work):
        monkeypatch.setattr(module, "embed_figures", counting)
    sent = send(client, drawing(2, figures=2))
    for k in (1, 2, 3):
        ask(client, views=[{"drawing": sent["id"], "figure": 1}], k=k)
    assert figures == [2]


def test_a_design_of_the_register_is_a_query_in_any_spelling(client: TestClient) -> None:
    told = ask(client, design="d0004", k=8)
    assert told["query"] == "D0004"
    assert len(told["views"]) == 3
    assert "D0004" not in [hit["design"] for hit in told["hits"]]
    answer = client.post("/api/search", json={"design": "D9999"})
    assert answer.status_code == 400
    assert "near it" in answer.json()["hint"]


def test_a_hit_has_the_pictures_of_all_its_figures(client: TestClient, folder: Path) -> None:
    sent = send(client, drawing(6, 5))
    [hit] = ask(client, views=[{"drawing": sent["id"], "figure": 1}], k=1)["hits"]
    assert [one["figure"] for one in hit["pictures"]] == [1, 2, 3]
    rows = {one["figure"]: one for one in hit["pictures"]}
    assert rows[hit["figure"]]["row"] == hit["row"]
    with Session(folder, threads=1) as session:
        for one in hit["pictures"]:
            answer = client.get(one["picture"])
            assert answer.headers["content-type"] == "image/png"
            assert answer.content == session.register.picture(one["row"])
            assert one["picture"] == f"/api/pictures/{hit['epoch']}/{one['row']}.png"
    assert {one["same_as"] for one in hit["pictures"]} == {None, 1}  # views that differ by a hair


def test_what_cannot_be_searched_is_told_without_a_path(client: TestClient, folder: Path) -> None:
    sent = send(client, drawing(1))
    views = [{"drawing": sent["id"], "figure": 1}]
    for filters in ({"classes": ["31"]}, {"before": "soon"}, {"designs": ["x"]}):
        for path, body in (
            ("/api/search", {"views": views, "filters": filters}),
            ("/api/facets", {"filters": filters}),
        ):
            answer = client.post(path, json=body)
            assert answer.status_code == 400
            assert set(answer.json()) == {"error", "hint"}
            assert str(folder) not in answer.text
    no_figure = client.post("/api/search", json={"views": [{"drawing": sent["id"], "figure": 2}]})
    assert no_figure.status_code == 404
    assert client.post("/api/search", json={}).status_code == 400


def test_facets_count_what_the_filters_leave(client: TestClient) -> None:
    told = client.post("/api/facets", json={"filters": {"classes": ["06"]}}).json()
    assert told["compared_designs"] == 4
    assert told["statement"] == "4 designs in 06"
    by_code = {one["code"]: one for one in told["classes"]}
    assert by_code["06"]["count"] == 4
    assert [child["code"] for child in by_code["06"]["children"]] == ["06-01", "06-04"]
    assert told["years"] == [{"year": 2021, "count": 4}]
    assert told["sources"] == [{"name": "made", "count": 4}]
    assert client.post("/api/facets", json={}).json()["compared_designs"] == 8


def test_designs_are_listed_by_number_a_piece_at_a_time(client: TestClient) -> None:
    whole = client.get("/api/designs").json()
    assert [one["number"] for one in whole["designs"]] == [f"D{i:04d}" for i in range(8)]
    piece = client.get("/api/designs", params={"offset": 2, "limit": 3}).json()
    assert piece == {"total": 8, "designs": whole["designs"][2:5]}
    of_class = client.get("/api/designs", params={"class": "06-01"}).json()
    assert [one["number"] for one in of_class["designs"]] == ["D0000", "D0004"]
    assert client.get(whole["designs"][0]["picture"]).status_code == 200
    assert client.get("/api/designs", params={"offset": 10**9}).json()["designs"] == []
    for odd in ({"limit": "201"}, {"limit": "-1"}, {"offset": "x"}, {"offset": "²"}):
        assert client.get("/api/designs", params=odd).status_code == 400
    assert client.get("/api/designs", params={"class": "31"}).status_code == 400


def test_a_design_is_told_in_full(client: TestClient) -> None:
    told = client.get("/api/designs/d0005").json()
    assert (told["number"], told["title"], told["locarno"]) == ("D0005", "Thing 5", "06-04")
    assert (told["figures"], told["source"]) == (3, "made")
    assert len(told["pictures"]) == 3
    for odd in ("D9999", "a/b", "%00", "x" * 3000):
        answer = client.get(f"/api/designs/{odd}")
        assert answer.status_code == 404
        assert set(answer.json()) == {"error", "hint"}


# ------------------------------------------------------------------ what is taken home


def exported(client: TestClient, kind: str, **more: Any) -> Any:
    sent = send(client, drawing(3, 7), "front view <1>.png")
    body = {
        "search": {"views": [{"drawing": sent["id"], "figure": 1}], "k": 4},
        "format": kind,
        "flags": {"D0003": {"relevant": True, "note": "the same <legs>"}},
        "notes": "asked by A & B",
        **more,
    }
    answer = client.post("/api/export", json=body)
    assert answer.status_code == 200, answer.text
    name = re.fullmatch(
        r'attachment; filename="(search-[0-9]{4}-[0-9]{2}-[0-9]{2}-front-view-1\.\w+)"',
        answer.headers["content-disposition"],
    )
    assert name is not None
    assert name[1].endswith({"record": ".json"}.get(kind, f".{kind}"))
    return answer


def test_a_record_is_replayed_to_the_same_ranks_and_scores(
    client: TestClient, folder: Path
) -> None:
    record = read_record(exported(client, "record").content, where="record")
    assert record["notes"] == "asked by A & B"
    assert record["flags"] == {"D0003": {"relevant": True, "note": "the same <legs>"}}
    with Session(folder, threads=1) as session:
        assert replay(record, session.register, session.encoder).identical


def test_a_record_may_leave_the_drawings_out(client: TestClient) -> None:
    record = exported(client, "record", drawings=False).json()
    assert [file["drawing"] for file in record["results"][0]["files"]] == [None]


def test_citations_are_a_row_for_each_hit(client: TestClient) -> None:
    answer = exported(client, "csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 4
    assert rows[0]["design"] == "D0003"
    assert rows[0]["note"] == "the same <legs>"


def test_a_report_holds_what_was_noted_and_no_script(client: TestClient) -> None:
    answer = exported(client, "html")
    assert "asked by A &amp; B" in answer.text
    assert "the same &lt;legs&gt;" in answer.text
    assert "<script" not in answer.text


def test_a_search_with_a_design_is_exported_under_its_number(client: TestClient) -> None:
    body = {"search": {"design": "D0002", "k": 2}, "format": "record"}
    answer = client.post("/api/export", json=body)
    assert answer.headers["content-disposition"].endswith('-D0002.json"')
    assert answer.json()["search"]["k"] == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "pdf"}, "format is none of record, html, csv"),
        ({"search": {"k": 0}}, "search.k is below 1"),
        ({"flags": {"D0001": {"relevant": "yes"}}}, "flags.D0001.relevant is no boolean or null"),
        ({"notes": "x" * 20_001}, "notes has more than 20000 characters"),
        ({"flags": {str(i): {} for i in range(201)}}, "flags has more than 200 entries"),
    ],
)
def test_an_export_beyond_its_limits_is_told_what_is_wrong(
    client: TestClient, change: dict[str, Any], told: str
) -> None:
    body = {"search": {"design": "D0001"}, "format": "csv", **change}
    answer = client.post("/api/export", json=body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]


# ------------------------------------------------------------------ what is not there


@pytest.mark.parametrize(
    "path",
    [
        "/web/../app.py",
        "/web/..%2fapp.py",
        "/web/%2e%2e/%2e%2e/errors.py",
        "/web//etc/passwd",
        "/web/%2fetc%2fpasswd",
        "/web/..\\app.py",
        "/web/",
        "/web/index.html%00.css",
        "/web/__init__.py",
        "/../../etc/passwd",
        "/api/drawings/..%2f..%2fetc/1.png",
        "/api/drawings/0/1.png",
        "/api/pictures/0/0.png",
        "/api/pictures/..%2f..%2f/0.png",
        "/api/pictures/0-00000000/-1.png",
        "/api/pictures/0-00000000/1e3.png",
        "/api/../api/status/x",
        "/api/status/",
        "/favicon.ico",
    ],
)
def test_no_path_of_a_client_is_opened(
    client: TestClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get("/api/status")
    opened: list[object] = []
    monkeypatch.setattr(Path, "open", lambda self, *_: opened.append(self))
    monkeypatch.setattr("builtins.open", lambda *names: opened.append(names))
    url = client.base_url.copy_with(raw_path=path.encode())
    answer = client.get(url)
    assert answer.status_code in (404, 410)
    assert set(answer.json()) == {"error", "hint"}
    assert opened == []


def test_a_picture_beyond_the_last_row_is_not_found(client: TestClient) -> None:
    first = client.get("/api/designs", params={"limit": 1}).json()["designs"][0]["picture"]
    before, _, _ = first.rpartition("/")
    assert client.get(f"{before}/23.png").status_code == 200
    for row in (24, 10**6, 10**30):
        assert client.get(f"{before}/{row}.png").status_code == 404


def test_a_way_that_is_not_taken_is_told_in_json(client: TestClient) -> None:
    for method, path, status in (
        ("DELETE", "/api/search", 405),
        ("GET", "/api/search", 405),
        ("POST", "/api/status", 405),
        ("GET", "/nothing", 404),
        ("PUT", "/", 405),
    ):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert set(answer.json()) == {"error", "hint"}


def test_an_empty_register_says_so(serve: Serve, tmp_path: Path) -> None:
    from edge_retrieval.register import Register
    from tests.fakes import tiny_bundle

    Register.create(tmp_path / "empty", tiny_bundle(tmp_path / "bundle")).close()
    client = serve(tmp_path / "empty")
    assert client.get("/api/status").json()["designs"] == 0
    sent = send(client, drawing(1))
    answer = client.post("/api/search", json={"views": [{"drawing": sent["id"], "figure": 1}]})
    assert answer.status_code == 409
    assert "edge-ret index" in answer.json()["hint"]
    assert client.get("/api/designs").json() == {"total": 0, "designs": []}
    assert client.post("/api/facets", json={}).json()["classes"] == []
