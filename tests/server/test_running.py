"""The server as it is run: on a socket, and by its command."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_retrieval.errors import ConfigError, MissingExtraError
from edge_retrieval.server import ServeSettings
from edge_retrieval.server.desk import Desk
from edge_retrieval.server.running import address_of, listen, server_of
from tests.fakes import drawing

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def running(folder: Path, **settings: object) -> Iterator[int]:
    """Serve in a thread; give the port."""
    desk = Desk(folder, ServeSettings(workers=1, port=0, **settings))  # type: ignore[arg-type]
    server, listening = server_of(desk), listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
    assert not thread.is_alive()


def asked(
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, told)
        answer = connection.getresponse()
        return answer, answer.read()


def test_a_drawing_is_sent_searched_with_and_exported_over_a_socket(folder: Path) -> None:
    with running(folder) as port:
        answer, body = asked(port, "GET", "/api/status")
        assert json.loads(body)["designs"] == 8
        assert "server" not in {name.lower() for name, _ in answer.getheaders()}
        _, body = asked(port, "POST", "/api/drawings?name=a.png", drawing(5, 9))
        view = {"drawing": json.loads(body)["id"], "figure": 1}
        search = json.dumps({"views": [view], "k": 3}).encode()
        kind = {"content_type": "application/json"}
        _, body = asked(port, "POST", "/api/search", search, **kind)
        hit = json.loads(body)["hits"][0]
        assert hit["design"] == "D0005"
        answer, body = asked(port, "GET", hit["pictures"][0]["picture"])
        assert body.startswith(b"\x89PNG")
        export = json.dumps({"search": json.loads(search), "format": "csv"}).encode()
        answer, body = asked(port, "POST", "/api/export", export, **kind)
        assert b"D0005" in body
        assert asked(port, "GET", "/api/status", Host="evil.example")[0].status == 403


def test_too_large_a_body_is_refused_over_a_socket_before_it_has_come(folder: Path) -> None:
    with running(folder, bytes=100_000) as port:
        answer, body = asked(port, "POST", "/api/drawings", drawing(1) + bytes(5_000_000))
        assert answer.status == 413
        assert json.loads(body)["hint"]
        with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
            raw.sendall(
                b"POST /api/drawings HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            for _ in range(11):  # and no end
                raw.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
            assert raw.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_client_that_breaks_off_leaves_the_server_as_it_was(folder: Path) -> None:
    with running(folder, bodies=60_000, bytes=50_000) as port:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
                raw.sendall(
                    b"POST /api/drawings HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                    b"Content-Length: 50000\r\n\r\nabc"
                )
        for _ in range(100):  # until the last of them has been let go of
            answer, _ = asked(port, "POST", "/api/drawings", drawing(1))
            if answer.status != 503:
                break
        assert answer.status == 200


# ------------------------------------------------------------------ where it listens


def test_a_port_in_use_is_one_line_and_a_hint() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}") as error:
            listen("127.0.0.1", port)
    assert "--port 0" in error.value.hint


def test_no_such_host_is_told() -> None:
    for host in ("no host at all", "192.0.2.1"):  # the second one is nobody's, by RFC 5737
        with pytest.raises(ConfigError):
            listen(host, 0)


def test_the_address_that_is_told_can_be_opened_here() -> None:
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        for host, shown in (
            ("127.0.0.1", "127.0.0.1"),
            ("localhost", "localhost"),
            ("0.0.0.0", "127.0.0.1"),
            ("::", "[::1]"),
            ("fe80::1", "[fe80::1]"),
        ):
            assert address_of(listening, host) == f"http://{shown}:{port}/"


@pytest.mark.parametrize("missing", ["uvicorn", "starlette.applications"])
def test_a_missing_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match="serving the page") as error:
        server_of(Desk(folder, ServeSettings()))
    assert "edge-retrieval[web]" in error.value.hint


# ------------------------------------------------------------------ the command


@contextlib.contextmanager
def command(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run edge-ret serve; give the process and its first line."""
    started = subprocess.Popen(
        [sys.executable, "-m", "edge_retrieval.cli", "serve", "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "EDGE_RET_TOKEN": ""},
    )
    try:
        assert started.stdout is not None
        yield started, started.stdout.readline()
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_the_command_tells_its_address_and_ends_quietly(folder: Path) -> None:
    with command("-r", str(folder)) as (process, line):
        found = re.search(r"serving 8 designs of register: http://127\.0\.0\.1:(\d+)/$", line)
        assert found, line
        assert asked(int(found[1]), "GET", "/api/status")[0].status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode in (0, 130)
        assert out == ""
        assert err.splitlines() == ["          Ctrl-C ends it"]


def test_a_token_is_made_where_others_can_ask_and_none_is_shown_that_was_given(
    folder: Path,
) -> None:
    with command("-r", str(folder), "--host", "0.0.0.0") as (_, line):
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]{32})$", line)
        assert found, line
        port = int(found[1])
        assert asked(port, "GET", "/api/status")[0].status == 401
        bearer = {"Authorization": f"Bearer {found[2]}"}
        assert asked(port, "GET", "/api/status", **bearer)[0].status == 200
    with command("-r", str(folder), "--token", "given-by-the-user") as (_, line):
        assert line.endswith("/\n")
        assert "given-by-the-user" not in line


def test_what_cannot_be_served_is_one_line_and_a_hint(folder: Path, tmp_path: Path) -> None:
    for words, told in (
        (("-r", str(tmp_path)), "error: "),
        (("-r", str(folder), "--token", "short"), "error: a token of 5 characters"),
        (("-r", str(folder), "--host", "192.0.2.1"), "error: 192.0.2.1:0 cannot be listened on"),
    ):
        with command(*words) as (process, line):
            assert line == ""
            _, err = process.communicate(timeout=30)
            assert process.returncode == 1
            first, second = err.splitlines()
            assert first.startswith(told)
            assert second.startswith("hint: ")
