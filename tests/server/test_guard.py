"""Whose requests are answered, and which headers every answer has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_retrieval.errors import ConfigError
from edge_retrieval.server import ServeSettings
from edge_retrieval.server.guard import HEADERS, name_of
from edge_retrieval.server.routes import ROUTES
from tests.fakes import drawing
from tests.server.conftest import HERE, Serve

if TYPE_CHECKING:
    from starlette.testclient import TestClient

TOKEN = "a-token-of-some-length"
FACETS = {"filters": {}}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8577", "localhost:1", "LOCALHOST", "[::1]:8577", "127.3.2.1"]
)
def test_a_name_of_this_machine_is_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/status", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example:8577",
        "localhost.evil.example",
        "evil.example#127.0.0.1",
        "a@127.0.0.1",
        "127.0.0.1/x",
        "127.0.0.1:port",
        "10.0.0.1",
        "",
        "[::1",
    ],
)
def test_a_name_that_is_made_to_point_here_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/api/status", headers={"host": host})
    assert answer.status_code == 403
    assert set(answer.json()) == {"error", "hint"}


def test_two_host_headers_are_refused(client: TestClient) -> None:
    twice = [("host", "127.0.0.1"), ("host", "evil.example")]
    assert client.get("/api/status", headers=twice).status_code == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (HERE, 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1:1234", 403),
        ("http://localhost:8577", 403),
        ("null", 403),
        ("file://", 403),
        ("http://[", 403),
        (None, 200),
    ],
)
def test_work_is_done_for_our_own_page_or_for_none(
    client: TestClient, origin: str | None, status: int
) -> None:
    headers = {"origin": origin} if origin else {}
    assert client.post("/api/facets", json=FACETS, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("site", "status"),
    [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403), ("odd", 403)],
)
def test_what_another_site_makes_a_browser_send_is_refused(
    client: TestClient, site: str, status: int
) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    assert client.post("/api/facets", json=FACETS, headers=headers).status_code == status
    assert client.get("/api/status", headers=headers).status_code == status


def test_a_link_to_the_page_may_be_followed_from_anywhere(client: TestClient) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/api", headers=headers).status_code == 200
    assert client.post("/api/facets", json=FACETS, headers=headers).status_code == 403


def test_a_form_of_another_kind_than_json_is_refused(client: TestClient) -> None:
    answer = client.post("/api/search", content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 415


# ------------------------------------------------------------------ the token


def test_without_the_token_nothing_is_answered(serve: Serve) -> None:
    client = serve(token=TOKEN)
    for route in ROUTES:
        answer = client.request(route.method, route.path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/").status_code == 401
    assert client.get("/api").status_code == 401


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer é"]
)
def test_another_token_is_refused(serve: Serve, given: str) -> None:
    client = serve(token=TOKEN)
    headers = {"authorization": given.encode("latin-1")}
    assert client.get("/api/status", headers=headers).status_code == 401
    assert client.get("/", params={"token": f"{given}."}).status_code == 401
    assert not client.cookies


def test_a_program_shows_the_token_in_a_header(serve: Serve) -> None:
    client = serve(token=TOKEN)
    answer = client.get("/api/status", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.json()["token"] is True
    assert not client.cookies


def test_a_browser_shows_it_once_and_then_a_cookie_does(serve: Serve) -> None:
    client = serve(token=TOKEN)
    first = client.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert first.status_code == 200
    assert TOKEN not in first.text
    assert "; HttpOnly; SameSite=Strict; Path=/" in first.headers["set-cookie"]
    assert client.get("/api/status").status_code == 200
    [(name, value)] = client.cookies.items()
    client.cookies.clear()
    beside = f'other="a;b"; odd=={{; {name}={value}; x'
    assert client.get("/api/status", headers={"cookie": beside}).status_code == 200
    assert client.get("/api/status", headers={"cookie": f"x{name}={value}"}).status_code == 401
    assert client.get("/api/status", headers={"cookie": f"{name}=no"}).status_code == 401


def test_the_token_counts_only_where_the_page_is_opened(serve: Serve) -> None:
    client = serve(token=TOKEN)
    assert client.get("/api/status", params={"token": TOKEN}).status_code == 401


def test_whoever_lets_others_in_needs_a_token(folder: Path) -> None:
    for host in ("0.0.0.0", "192.168.0.7", "my-machine", "::"):
        with pytest.raises(ConfigError, match="token"):
            ServeSettings(host=host)
        assert ServeSettings(host=host, token=TOKEN).token
    for host in ("127.0.0.1", "::1", "localhost", "127.0.0.9"):
        assert ServeSettings(host=host).is_local


@pytest.mark.parametrize(
    "token", ["short", "with a blank in it", "semi;colon;semi;colon", "é" * 20]
)
def test_a_token_that_is_weak_or_fits_no_address_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="token"):
        ServeSettings(token=token)


def test_a_named_host_is_answered_and_others_are_not(serve: Serve) -> None:
    client = serve(host="desk.office.example", token=TOKEN)
    client.headers["authorization"] = f"Bearer {TOKEN}"
    for host, status in (
        ("desk.office.example:8577", 200),
        ("DESK.office.example.", 200),
        ("localhost", 200),
        ("evil.example", 403),
        ("192.168.0.7", 403),
    ):
        assert client.get("/api/status", headers={"host": host}).status_code == status


def test_on_all_addresses_any_address_is_answered_but_no_foreign_name(serve: Serve) -> None:
    client = serve(host="0.0.0.0", token=TOKEN)
    client.headers["authorization"] = f"Bearer {TOKEN}"
    for host, status in (("192.168.0.7:8577", 200), ("[fe80::1]", 200), ("evil.example", 403)):
        assert client.get("/api/status", headers={"host": host}).status_code == status


def test_the_name_in_a_host_header_is_read_without_its_port() -> None:
    assert name_of("LocalHost.:80") == "localhost"
    assert name_of("[::1]:80") == "::1"
    for odd in ("", "a b@c", "x/y", "x?y", "x#y", ":80", "x:99999999", "x\\y"):
        assert name_of(odd) in (None, odd)
        assert name_of(odd) != "x"


# ------------------------------------------------------------------ headers


def test_every_answer_has_the_headers_that_keep_a_browser_in_bounds(client: TestClient) -> None:
    asked = [(route.method, route.path) for route in ROUTES]
    asked += [
        ("GET", path) for path in ("/", "/api", "/api/openapi.json", "/web/x", "/no", "/api/")
    ]
    asked += [("DELETE", "/api/search"), ("OPTIONS", "/api/search"), ("HEAD", "/api/status")]
    for method, path in asked:
        answer = client.request(method, path)
        for name, value in HEADERS.items():
            own = path == "/api" and name == "content-security-policy"
            assert own or answer.headers[name] == value, (method, path, name)
            assert len(answer.headers.get_list(name)) == 1
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
    refused = client.get("/api/status", headers={"host": "evil.example"})
    assert all(refused.headers[name] == value for name, value in HEADERS.items())


def test_the_policy_lets_nothing_in_from_elsewhere(client: TestClient) -> None:
    policy = client.get("/api/status").headers["content-security-policy"]
    assert policy == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def test_the_page_of_the_api_runs_no_script_and_has_its_style_alone(client: TestClient) -> None:
    answer = client.get("/api")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert re.search(r"style-src 'sha256-[\w+/=]{44}'", policy)
    assert "<script" not in answer.text
    assert "http" not in re.sub(r"http://127\.0\.0\.1:8577/api|http-equiv", "", answer.text)


def test_pictures_are_kept_and_nothing_else_is(client: TestClient) -> None:
    shown = client.get("/api/designs", params={"limit": 1}).json()["designs"][0]["picture"]
    assert "immutable" in client.get(shown).headers["cache-control"]
    assert client.get("/api/status").headers["cache-control"] == "no-store"
    assert client.get(shown + "x").headers["cache-control"] == "no-store"
    sent = client.post("/api/drawings", content=drawing(1)).json()  # not published
    shown = sent["figures"][0]["picture"]
    assert client.get(shown).headers["cache-control"] == "no-store"


def test_what_goes_wrong_inside_is_not_told(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret of this machine")

    monkeypatch.setattr("edge_retrieval.server.work.list_designs", fail)
    answer = client.get("/api/designs")
    assert answer.status_code == 500
    assert set(answer.json()) == {"error", "hint"}
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "a secret of this machine" in capsys.readouterr().err
