"""The bounded queue: who comes too many is told at once, and who goes leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import anyio
import pytest

from edge_retrieval.errors import RegisterError
from edge_retrieval.server.desk import Desk
from edge_retrieval.server.pool import Full, Pool
from tests.fakes import drawing
from tests.server.conftest import Blocked, Serve

if TYPE_CHECKING:
    from starlette.testclient import TestClient

Block = Callable[[Desk], Blocked]


class Tool:
    """Knows the thread that made it, and whether it was let go of."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.closed = False

    def close(self) -> None:
        self.closed = True


def pool_of(tools: list[Tool], threads: int = 1, queue: int = 2) -> Pool[Tool]:
    def make() -> Tool:
        tools.append(Tool())
        return tools[-1]

    return Pool("test", make, threads=threads, queue=queue)


def test_each_thread_makes_uses_and_closes_a_tool_of_its_own() -> None:
    tools: list[Tool] = []
    pool = pool_of(tools, threads=2, queue=100)
    pool.start()
    jobs = [pool.submit(lambda tool: (tool.thread, threading.get_ident())) for _ in range(50)]
    for job in jobs:
        made, used = job.result(30)
        assert made == used
    pool.stop()
    assert len({tool.thread for tool in tools}) == 2
    assert all(tool.closed for tool in tools)


def test_one_more_than_fit_is_refused_at_once_and_later_is_not() -> None:
    pool = pool_of([], queue=1)
    pool.start()
    with Blocked(pool, 1):
        waiting = pool.submit(lambda _: "done")
        with pytest.raises(Full) as full:
            pool.submit(lambda _: None)
        assert 1 <= full.value.seconds <= 30
    assert waiting.result(30) == "done"
    assert pool.submit(lambda _: "again").result(30) == "again"
    pool.stop()


def test_a_job_that_nobody_waits_for_makes_room_and_is_never_begun() -> None:
    pool = pool_of([], queue=1)
    pool.start()
    begun: list[str] = []
    with Blocked(pool, 1):
        left = pool.submit(lambda _: begun.append("left"))
        pool.forget(left)
        kept = pool.submit(lambda _: begun.append("kept"))
    kept.result(30)
    assert begun == ["kept"]
    pool.stop()


def test_a_job_that_fails_takes_no_thread_with_it() -> None:
    pool = pool_of([])
    pool.start()

    def fail(_: Tool) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        pool.submit(fail).result(30)
    assert pool.submit(lambda _: 1).result(30) == 1
    pool.stop()


def test_a_thread_that_cannot_make_its_tool_is_told_at_the_start() -> None:
    def make() -> Tool:
        raise RegisterError("none", hint="make one")

    with pytest.raises(RegisterError):
        Pool("test", make, threads=2, queue=0).start()


def test_a_stop_gives_up_what_waits() -> None:
    pool = pool_of([], queue=5)
    pool.start()
    with Blocked(pool, 1):
        waiting = pool.submit(lambda _: None)
        stopping = threading.Thread(target=pool.stop)
        stopping.start()
        with pytest.raises(CancelledError):
            waiting.result(30)
        with pytest.raises(Full):
            pool.submit(lambda _: None)
    stopping.join(30)
    assert not stopping.is_alive()


# ------------------------------------------------------------------ through the API


def test_a_full_queue_answers_503_and_says_when_to_come_again(serve: Serve, blocked: Block) -> None:
    client = serve(queue=0)
    desk = client.desk  # type: ignore[attr-defined]
    with blocked(desk):
        for answer in (
            client.post("/api/search", json={"design": "D0001"}),
            client.post("/api/drawings", content=drawing(1)),
            client.post("/api/export", json={"search": {"design": "D0001"}, "format": "csv"}),
        ):
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert set(answer.json()) == {"error", "hint"}
        assert client.get("/api/status").status_code == 200  # others go on
        assert client.get("/api/designs").status_code == 200
    assert client.post("/api/search", json={"design": "D0001"}).status_code == 200


class Sending:
    """A body of a drawing that knows whether it was asked for."""

    def __init__(self) -> None:
        self.begun = False

    def __call__(self) -> Iterator[bytes]:
        self.begun = True
        yield drawing(1)


def test_no_body_is_received_for_which_there_is_no_worker(serve: Serve, blocked: Block) -> None:
    client = serve(queue=0)
    sending = Sending()
    with blocked(client.desk):  # type: ignore[attr-defined]
        assert client.post("/api/drawings", content=sending()).status_code == 503
    assert not sending.begun
    assert client.post("/api/drawings", content=sending()).status_code == 200
    assert sending.begun


def test_too_many_bytes_on_their_way_answer_503_before_they_are_received(serve: Serve) -> None:
    client = serve(bodies=10_000)
    desk: Desk = client.desk  # type: ignore[attr-defined]
    sending = Sending()
    with desk.bodies.of(9_999):  # somebody else is sending
        answer = client.post("/api/drawings", content=sending(), headers={"content-length": "5000"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert not sending.begun
    assert client.post("/api/drawings", content=drawing(1)).status_code == 200
    assert desk.bodies.used == 0


def scope_of(path: str, body: bytes) -> dict[str, object]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
        "server": ("127.0.0.1", 8577),
        "client": ("127.0.0.1", 1),
    }


@pytest.mark.parametrize("path", ["/api/search", "/api/drawings"])
def test_a_client_that_goes_leaves_no_job_in_the_queue(
    serve: Serve, blocked: Block, path: str
) -> None:
    client: TestClient = serve(queue=1)
    desk: Desk = client.desk  # type: ignore[attr-defined]
    body = b'{"design": "D0001"}' if path == "/api/search" else drawing(1)
    sent: list[object] = []

    async def ask() -> None:
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> dict[str, object]:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: object) -> None:
            sent.append(message)

        await client.app(scope_of(path, body), receive, send)

    with blocked(desk):
        for _ in range(3):  # each would find no room if the one before were left
            anyio.run(ask)
        assert not desk.searching._waiting
    assert sent == []
    assert desk.bodies.used == 0
    assert len(desk.drawings) == 0
