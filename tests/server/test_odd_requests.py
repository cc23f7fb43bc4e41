"""Whatever is sent, the answer is JSON that says what is wrong: never a failure of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import drawing

if TYPE_CHECKING:
    from starlette.testclient import TestClient

TEXTS = st.text(max_size=12) | st.sampled_from(["06", "D0001", "2021-03-04", "made", "x" * 300])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
WORDS = """
views drawing figure design k filters classes not_classes before after applicants sources designs
not_designs exclude_self search format flags notes drawings relevant note
"""
NAMES = st.sampled_from(WORDS.split())
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner, max_size=5),
    max_leaves=15,
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        **{
            name: st.lists(TEXTS, max_size=3)
            for name in (
                "classes",
                "not_classes",
                "applicants",
                "sources",
                "designs",
                "not_designs",
            )
        },
        "before": TEXTS | st.none(),
        "after": TEXTS | st.none(),
    },
)


def fine(answer: Any) -> None:
    assert answer.status_code in (200, 400, 404, 413, 415), answer.text
    if answer.status_code != 200:
        assert set(answer.json()) == {"error", "hint"}
        assert "\n" not in answer.json()["error"]


@settings(max_examples=60)
@given(body=BODIES, path=st.sampled_from(["/api/search", "/api/facets", "/api/export"]))
def test_odd_json_is_refused_in_words(shared_client: TestClient, body: Any, path: str) -> None:
    fine(shared_client.post(path, json=body))


@settings(max_examples=60)
@given(filters=FILTERS, k=st.integers(1, 9))
def test_odd_filters_are_refused_in_words(
    shared_client: TestClient, filters: dict[str, Any], k: int
) -> None:
    fine(shared_client.post("/api/facets", json={"filters": filters}))
    fine(shared_client.post("/api/search", json={"design": "D0001", "filters": filters, "k": k}))


@settings(max_examples=40)
@given(at=st.integers(0, 3_000), new=st.binary(min_size=1, max_size=8), cut=st.integers(0, 4_000))
def test_damaged_drawings_are_refused_in_words(
    shared_client: TestClient, at: int, new: bytes, cut: int
) -> None:
    data = bytearray(drawing(1))
    data[at : at + len(new)] = new
    fine(shared_client.post("/api/drawings", content=bytes(data[: len(data) - cut])))


@settings(max_examples=60)
@given(number=st.text(min_size=1, max_size=30), within=TEXTS)
def test_odd_numbers_and_classes_are_not_found(
    shared_client: TestClient, number: str, within: str
) -> None:
    from urllib.parse import quote

    fine(shared_client.get(f"/api/designs/{quote(number, safe='', errors='replace')}"))
    fine(shared_client.get("/api/designs", params={"class": within}))


@pytest.mark.parametrize("header", ["content-length", "origin", "cookie", "authorization", "host"])
@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"a\tb", b"9" * 5000, b"http://", b"//", b"[", b";="]
)
def test_odd_headers_are_borne(shared_client: TestClient, header: str, value: bytes) -> None:
    headers = {b"content-type": b"application/json", header.encode(): value}
    answer = shared_client.post("/api/facets", content=b"{}", headers=headers)
    assert answer.status_code in (200, 400, 403, 413)
    assert answer.headers["x-content-type-options"] == "nosniff"
