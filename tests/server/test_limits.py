"""How much is taken: bytes, pixels, figures, drawings, views; and what is no drawing at all."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from edge_retrieval.drawing.decode import Page
from edge_retrieval.server import receiving
from edge_retrieval.server.answers import ClientGone, Refused
from edge_retrieval.server.bodies import JSON_BYTES, read_body
from edge_retrieval.server.drawings import clean_name, kind_of
from tests.fakes import drawing
from tests.server.conftest import Serve

if TYPE_CHECKING:
    from starlette.testclient import TestClient


def send(client: TestClient, data: bytes, **query: str) -> dict[str, object]:
    answer = client.post("/api/drawings", content=data, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def received(messages: list[dict[str, object]], limit: int = 10) -> tuple[bytes, int]:
    """Return the body of these messages, and how many of them were asked for."""
    asked = iter(messages)
    taken = 0

    async def receive() -> dict[str, object]:
        nonlocal taken
        taken += 1
        return next(asked)

    async def read() -> bytes:
        return await read_body(receive, limit=limit, stalled=30)

    try:
        return asyncio.run(read()), taken
    except Refused as refused:
        return str(refused.status).encode(), taken


def part(size: int, *, more: bool = True) -> dict[str, object]:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


def test_a_body_is_received_to_its_end() -> None:
    assert received([part(4), part(0), part(6, more=False)]) == (b"x" * 10, 3)


def test_a_body_is_given_up_at_the_limit_not_at_its_end() -> None:
    assert received([part(4), part(4), part(4), part(4), part(4, more=False)]) == (b"413", 3)


def test_a_client_that_goes_while_it_sends_ends_the_reading() -> None:
    with pytest.raises(ClientGone):
        received([part(4), {"type": "http.disconnect"}])


def test_a_body_that_does_not_come_is_given_up() -> None:
    async def never() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Refused) as refused:
        asyncio.run(read_body(never, limit=1, stalled=0.001))
    assert refused.value.status == 408


def test_a_body_that_comes_a_byte_at_a_time_is_given_up_too() -> None:
    asked = 0

    async def receive() -> dict[str, object]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return part(1)

    with pytest.raises(Refused) as refused:
        asyncio.run(read_body(receive, limit=10**9, stalled=0.001))
    assert refused.value.status == 408
    assert asked > 1


def chunks(data: bytes, size: int = 1000) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def test_too_many_bytes_are_refused_however_they_are_announced(serve: Serve) -> None:
    client = serve(bytes=2000)
    small, large = drawing(1)[:2000], drawing(1) + bytes(9000)
    told = client.post("/api/drawings", content=large)
    in_chunks = client.post("/api/drawings", content=chunks(large))
    lying = client.post("/api/drawings", content=large, headers={"content-length": "100"})
    boasting = client.post("/api/drawings", content=small, headers={"content-length": "9" * 40})
    odd = client.post("/api/drawings", content=large, headers={"content-length": "-5"})
    for answer in (told, in_chunks, lying, boasting, odd):
        assert answer.status_code == 413
        assert set(answer.json()) == {"error", "hint"}
    assert client.desk.bodies.used == 0  # type: ignore[attr-defined]


def test_a_drawing_may_come_in_chunks(client: TestClient) -> None:
    answer = client.post("/api/drawings", content=chunks(drawing(1)))
    assert answer.status_code == 200


def test_json_has_a_limit_of_its_own(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    large = b'{"filters": ' + b" " * JSON_BYTES + b"{}}"
    assert client.post("/api/facets", content=large, headers=headers).status_code == 413
    deep = b'{"a":' * 100_000
    assert client.post("/api/facets", content=deep, headers=headers).status_code == 400
    for odd in (b"", b"[]", b"null", b"{", b"\xff\xfe", b'{"filters": NaN}', b'{"filter": {}}'):
        answer = client.post("/api/facets", content=odd, headers=headers)
        assert answer.status_code == 400, odd
        assert set(answer.json()) == {"error", "hint"}


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height), 1).save(file, "PNG")
    return file.getvalue()


def test_too_many_pixels_are_refused_before_they_are_unpacked(client: TestClient) -> None:
    data = png(12_000, 11_000)
    assert len(data) < 100_000
    answer = client.post("/api/drawings", content=data)
    assert answer.status_code == 400
    assert "pixels" in answer.json()["error"] + answer.json()["hint"]


def test_the_pages_of_one_file_have_a_limit_together(serve: Serve) -> None:
    page = Image.open(io.BytesIO(drawing(1))).convert("1")
    file = io.BytesIO()
    page.save(file, "TIFF", save_all=True, append_images=[page] * 3)
    assert len(send(serve(sheet_pixels=4 * 240 * 240), file.getvalue())["figures"]) == 4
    answer = serve(sheet_pixels=4 * 240 * 240 - 1).post("/api/drawings", content=file.getvalue())
    assert answer.status_code == 400
    assert "pixels" in answer.json()["error"]


def test_too_many_figures_are_refused(serve: Serve) -> None:
    data = drawing(1, figures=3)
    assert len(send(serve(figures=3), data)["figures"]) == 3
    answer = serve(figures=2).post("/api/drawings", content=data)
    assert (answer.status_code, "3 figures" in answer.text) == (400, True)


def test_of_too_many_drawings_the_one_not_used_longest_goes(serve: Serve) -> None:
    client = serve(drawings=2)
    first, second = send(client, drawing(1)), send(client, drawing(2))
    shown = first["figures"][0]["picture"]
    assert client.get(shown).status_code == 200  # used
    third = send(client, drawing(3))
    status = [
        client.get(one["figures"][0]["picture"]).status_code for one in (first, second, third)
    ]
    assert status == [200, 404, 200]
    body = {"views": [{"drawing": second["id"], "figure": 1}]}
    answer = client.post("/api/search", json=body)
    assert answer.status_code == 404
    assert "again" in answer.json()["hint"]


def test_drawings_are_bounded_in_bytes_too_but_the_newest_stays(serve: Serve) -> None:
    client = serve(drawing_bytes=1)
    first, second = send(client, drawing(1)), send(client, drawing(2))
    assert client.get(first["figures"][0]["picture"]).status_code == 404
    assert client.get(second["figures"][0]["picture"]).status_code == 200
    assert len(client.desk.drawings) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"k": 0}, "k is below 1"),
        ({"k": 201}, "k is above 200"),
        ({"k": 1.5}, "k is no integer"),
        ({"k": True}, "k is no integer"),
        ({"views": []}, "views has fewer than 1"),
        ({"views": [{"drawing": "x", "figure": 1}] * 33}, "views has more than 32"),
        ({"views": [{"drawing": "x"}]}, "views[0].figure is missing"),
        ({"views": [{"drawing": "x", "figure": 0}]}, "views[0].figure is below 1"),
        ({"filter": {}}, "did you mean filters?"),
        ({"filters": {"class": ["06"]}}, "did you mean classes?"),
        ({"filters": {"classes": "06"}}, "filters.classes is no array"),
        ({"filters": {"classes": ["x" * 201]}}, "filters.classes[0] has more than 200"),
        ({"filters": {"designs": ["x"] * 501}}, "filters.designs has more than 500"),
        ({"filters": {"before": 2021}}, "filters.before is no string or null"),
        ({"design": "D0001"}, "what to search with is not clear"),
    ],
)
def test_a_search_beyond_its_limits_is_told_what_is_wrong(
    client: TestClient, change: dict[str, object], told: str
) -> None:
    body = {"views": [{"drawing": "x", "figure": 1}], **change}
    answer = client.post("/api/search", json=body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]


# ------------------------------------------------------------------ what is no drawing


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"PK\3\4",
    ],
)
def test_what_is_no_image_of_the_kinds_that_are_read_is_415(
    client: TestClient, data: bytes
) -> None:
    answer = client.post("/api/drawings", content=data)
    assert answer.status_code == 415
    assert "PNG" in answer.json()["hint"]


@pytest.mark.parametrize(
    "data", [drawing(1)[:200], b"\x89PNG\r\n\x1a\n", b"II*\0\1\2\3", b"GIF89a"]
)
def test_what_is_broken_is_400(client: TestClient, data: bytes) -> None:
    answer = client.post("/api/drawings", content=data, params={"name": "x.png"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("x.png")


def test_an_empty_page_is_400(client: TestClient) -> None:
    assert client.post("/api/drawings", content=png(100, 100)).status_code == 400


def test_every_format_that_is_promised_is_read(client: TestClient) -> None:
    image = Image.open(io.BytesIO(drawing(4)))
    for kind in ("PNG", "TIFF", "JPEG", "WEBP", "BMP", "GIF"):
        file = io.BytesIO()
        image.save(file, kind)
        assert kind_of(file.getvalue()) == kind.lower()
        assert len(send(client, file.getvalue())["figures"]) == 1


def pdf(pages: int) -> bytes:
    first, *others = [Image.open(io.BytesIO(drawing(i))).convert("L") for i in range(pages)]
    file = io.BytesIO()
    first.save(file, "PDF", save_all=True, append_images=others, resolution=300)
    return file.getvalue()


def test_a_pdf_is_read_page_by_page(client: TestClient) -> None:
    pytest.importorskip("pypdfium2")
    assert len(send(client, pdf(3))["figures"]) == 3
    assert len(send(client, pdf(2), whole="1")["figures"]) == 1
    broken = client.post("/api/drawings", content=pdf(1)[:400])
    assert broken.status_code == 400


def test_one_pdf_is_read_at_a_time_and_other_drawings_meanwhile(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pypdfium2")
    held: list[bool] = []
    read = receiving.read_pages

    def watching(data: bytes, *, where: str) -> Iterator[Page]:
        for page in read(data, where=where):
            held.append(receiving._ONE_PDF.locked())
            yield page

    monkeypatch.setattr(receiving, "read_pages", watching)
    send(client, pdf(2))
    send(client, drawing(1))
    assert held == [True, True, False]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\drawings\\front.png", "front.png"),
        ("a\nb\x1b[31m.png", "ab[31m.png"),
        ("", "drawing"),
        ("..", ".."),
        ("x" * 500 + ".png", "x" * 116 + ".png"),
    ],
)
def test_a_name_is_one_short_line_without_a_path(given: str, kept: str) -> None:
    assert clean_name(given) == kept


def test_a_drawing_taken_whole_is_one_figure(client: TestClient) -> None:
    data = drawing(1, figures=2)
    assert len(send(client, data)["figures"]) == 2
    assert len(send(client, data, whole="true")["figures"]) == 1
    assert client.post("/api/drawings", content=data, params={"whole": "x"}).status_code == 400


def test_the_pictures_of_a_drawing_are_its_figures(client: TestClient) -> None:
    sent = send(client, drawing(1, figures=2))
    for figure in sent["figures"]:
        answer = client.get(figure["picture"])
        assert answer.headers["content-type"] == "image/png"
        pixels = np.asarray(Image.open(io.BytesIO(answer.content)))
        assert pixels.shape == (figure["height"], figure["width"])
    for odd in ("0", "3", "-1", "1e0", "x", "99999999999999999999"):
        assert client.get(f"/api/drawings/{sent['id']}/{odd}.png").status_code == 404
