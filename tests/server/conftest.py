"""A small register, and its application without a socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_retrieval.register import Register
from edge_retrieval.server import ServeSettings
from edge_retrieval.server.app import app_of
from edge_retrieval.server.desk import Desk
from tests.fakes import FakeEncoder, designs, tiny_bundle

if TYPE_CHECKING:
    from starlette.testclient import TestClient

HERE = "http://127.0.0.1:8577"
Serve = Callable[..., "TestClient"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A register of eight designs with three figures each; nobody may change it."""
    made = tmp_path_factory.mktemp("server")
    bundle = tiny_bundle(made / "bundle")
    with Register.create(made / "register", bundle) as register:
        register.add(designs(8), FakeEncoder(bundle.fingerprint), source="made")
    return made / "register"


@pytest.fixture(scope="session")
def shared_client(folder: Path) -> Iterator[TestClient]:
    with _client(folder, ServeSettings(workers=1)) as client:
        yield client


@pytest.fixture
def client(shared_client: TestClient) -> TestClient:
    """A client of an application with one worker, for tests that need no other settings."""
    shared_client.cookies.clear()
    return shared_client


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    """Return a client of an application with settings of one's own; its desk is `client.desk`."""
    open_ones: list[TestClient] = []

    def start(register: Path = folder, **settings: object) -> TestClient:
        made = _client(register, ServeSettings(**{"workers": 1, **settings}))  # type: ignore[arg-type]
        open_ones.append(made.__enter__())
        return made

    yield start
    for client in open_ones:
        client.__exit__(None, None, None)


def _client(folder: Path, settings: ServeSettings) -> TestClient:
    from starlette.testclient import TestClient

    desk = Desk(folder, settings)
    client = TestClient(app_of(desk), base_url=HERE, raise_server_exceptions=True)
    client.desk = desk  # type: ignore[attr-defined]
    return client


class Blocked:
    """A pool whose threads all wait until this is let go."""

    def __init__(self, pool, threads: int) -> None:
        self._go = threading.Event()
        entered = [threading.Event() for _ in range(threads)]

        def job(event: threading.Event) -> Callable[[object], None]:
            def wait(_: object) -> None:
                event.set()
                self._go.wait(30)

            return wait

        self.jobs = [pool.submit(job(event)) for event in entered]
        for event in entered:
            assert event.wait(30)

    def __enter__(self) -> Blocked:
        return self

    def __exit__(self, *_: object) -> None:
        self._go.set()
        for job in self.jobs:
            job.result(30)


@pytest.fixture
def blocked() -> Callable[[Desk], Blocked]:
    """Return what keeps all searching workers of a desk busy while it is entered."""
    return lambda desk: Blocked(desk.searching, desk.settings.threads)
