"""Who runs `embed_shard`: processes of this machine, or the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from edge_retrieval.drawing.ready import receive, send
from edge_retrieval.errors import ClusterError, ConfigError
from edge_retrieval.provenance import available_cores
from edge_retrieval.register.crew import Crew, EndedError, NoProcessError, started

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from edge_retrieval.scale.embedding import serve; serve()"
)


class WorkerEndedError(Exception):
    """The worker that had a shard has ended; what it had been asked is not done."""


class Attempt(Protocol):
    """A shard that is with the workers."""

    def done(self) -> bool:
        """Say whether `outcome` would return, or raise, at once."""
        ...

    def outcome(self) -> dict[str, Any]:
        """Wait; return what `embed_shard` returned.

        Raises:
            WorkerEndedError: Its worker has ended; the message says how.
            ClusterError: Nobody can be asked any more.
        """
        ...


class Engine(Protocol):
    """Workers that can be asked to embed shards.

    Attributes:
        workers: How many shards are embedded at once.
    """

    workers: int

    def embed(self, folder: Path, identity: str) -> Attempt:
        """Have a shard embedded; it may begin later."""
        ...

    def close(self) -> None:
        """Let the workers go; what they are at is lost."""
        ...


class ProcessEngine:
    """Processes of this machine: no port is opened, nothing else has to be installed.

    Args:
        workers: How many; each loads the encoder.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._crew = Crew(workers, partial(started, _START), _greeted, name="embedder")

    def embed(self, folder: Path, identity: str) -> Attempt:
        """Have a shard embedded; it may begin later."""
        return _Asked(self._crew.submit(partial(self._ask, folder, identity)))

    def close(self) -> None:
        """End the processes."""
        self._crew.close()

    def _ask(self, folder: Path, identity: str) -> dict[str, Any]:
        try:
            return self._crew.ask(partial(_asked, folder, identity))
        except EndedError as error:
            raise WorkerEndedError(error.how) from error
        except NoProcessError as error:
            raise ClusterError(
                "no process can be started that embeds",
                hint="see whether memory is used up, or a limit on processes; try --workers 1",
            ) from error


class _Asked:
    def __init__(self, future: Future[dict[str, Any]]) -> None:
        self.done = future.done
        self.outcome = future.result


def _greeted(source: IO[bytes], sink: IO[bytes]) -> bool:
    send(sink, {"hello": True})
    return receive(source) is not None


def _asked(folder: Path, identity: str, source: IO[bytes], sink: IO[bytes]) -> dict[str, Any]:
    send(sink, {"folder": str(folder), "identity": identity})
    answer = receive(source)
    if answer is None:
        raise EOFError
    return answer[0]


def _processes(workers: int | None, scheduler: str | None) -> Engine:
    if scheduler is not None:
        raise ConfigError(
            "the engine 'processes' knows no scheduler", hint="name the engine: --engine dask"
        )
    return ProcessEngine(workers or available_cores())


def _dask(workers: int | None, scheduler: str | None) -> Engine:
    from edge_retrieval.scale.dask_engine import DaskEngine

    return DaskEngine(scheduler, workers)


ENGINES: dict[str, Callable[[int | None, str | None], Engine]] = {
    "processes": _processes,
    "dask": _dask,
}
"""Name -> what starts it, with so many workers or with those of a scheduler."""
