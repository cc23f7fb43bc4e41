"""The workers of a Dask cluster: those of a scheduler somewhere, or some on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import CancelledError
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_retrieval.errors import ClusterError, ConfigError, MissingExtraError
from edge_retrieval.provenance import available_cores
from edge_retrieval.scale.embedding import embed_shard
from edge_retrieval.scale.engines import Attempt, WorkerEndedError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

PATIENCE = 30
"""Seconds that a scheduler is given to answer, and to have a worker."""

LONELY = 10
"""So often the scheduler is asked whether it has a worker, and has none, before that is told."""

SETTINGS = {
    "distributed.scheduler.worker-saturation": 1.0,  # a shard waits where no worker's end costs it
    "distributed.scheduler.allowed-failures": 0,  # a shard that ended a worker is ours to judge
    "distributed.scheduler.http.routes": [],  # no pages, no figures about what is done here
    "distributed.worker.http.routes": [],
}
"""Of a cluster on this machine."""

LASTING = {"distributed.deploy.lost-worker-timeout": "7 days"}
"""Of the same, as long as it lasts. Where another process has not taken the place of one that ended
within this time, by Dask's own choice 15 seconds, Dask gives up that place for good: on a busy
machine it takes longer, and place after place was lost."""

GONE = "start it again; the same command does the rest"


class DaskEngine:
    """The workers of a Dask cluster.

    What goes over the wire is the name of a function, of a folder and of a shard; never a drawing.

    Args:
        scheduler: Its address, "tcp://10.0.0.1:8786"; None: a cluster of this machine alone,
            reachable on its loopback, which ends with this.
        workers: Processes of the latter; None: as many as cores.

    Raises:
        MissingExtraError: The extra 'scale' is not installed.
        ClusterError: The scheduler does not answer, or has no worker.
        ConfigError: Workers are asked for where a scheduler has its own.
    """

    def __init__(self, scheduler: str | None = None, workers: int | None = None) -> None:
        require_dask()
        if scheduler is not None and workers is not None:
            raise ConfigError(
                f"{workers} workers, and a scheduler, which has its own",
                hint="leave out --workers, or --scheduler",
            )
        self._stack = contextlib.ExitStack()
        self._scheduler = scheduler or "of this machine"
        self._attempts = 0
        try:
            if scheduler is None:
                self.workers = workers or available_cores()
                self._client = self._stack.enter_context(_local(self.workers, self._stack))
            else:
                self._client = self._stack.enter_context(_connected(scheduler))
                self.workers = _threads(self._client, scheduler)
        except BaseException:
            self._stack.close()
            raise

    def embed(self, folder: Path, identity: str) -> Attempt:
        """Have a shard embedded; it may begin later."""
        self._attempts += 1  # a name is asked for once: Dask would answer the second from memory
        name = f"embed-{identity[:16]}-{self._attempts}"
        try:
            future = self._client.submit(
                embed_shard, str(folder), identity, key=name, pure=False, retries=0
            )
        except Exception as error:  # of tornado, of distributed: the client has been closed
            raise self._gone(error) from error
        return _Asked(self, future)

    def close(self) -> None:
        """Leave the cluster, or end it if it is this one's own."""
        self._stack.close()

    def _gone(self, error: BaseException) -> ClusterError:
        return ClusterError(f"the scheduler {self._scheduler} is gone: {_line(error)}", hint=GONE)


class _Asked:
    def __init__(self, engine: DaskEngine, future: Any) -> None:
        self._engine = engine
        self._future = future

    def done(self) -> bool:
        return bool(self._future.done())

    def outcome(self) -> dict[str, Any]:
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            told: dict[str, Any] = self._waited()
        except KilledWorker as error:
            raise WorkerEndedError("") from error
        except (CancelledError, CommClosedError, OSError, TimeoutError) as error:
            raise self._engine._gone(error) from error
        except (ModuleNotFoundError, AttributeError) as error:  # of the function's name
            raise ClusterError(
                f"a worker of the scheduler {self._engine._scheduler} lacks this program: {error}",
                hint="install the same version of edge-retrieval on all machines",
            ) from error
        return told

    def _waited(self) -> Any:
        """Return the result; now and then see whether there is still somebody at it."""
        for _ in range(LONELY):
            while True:
                try:
                    return self._future.result(timeout=PATIENCE)
                except TimeoutError:
                    if not self._engine._client.nthreads():
                        break
        raise ClusterError(
            f"the scheduler {self._engine._scheduler} has had no workers for"
            f" {LONELY * PATIENCE} seconds",
            hint="start some; the same command does the rest",
        )


def require_dask() -> None:
    """Raise `MissingExtraError` where the extra 'scale' is not installed."""
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("indexing on a cluster", "scale") from error


def _local(workers: int, stack: contextlib.ExitStack) -> Client:
    """Start a cluster of this machine: on its loopback, with no page and no limit on memory."""
    import dask
    from distributed import Client, LocalCluster

    scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-ret-dask-"))
    stack.enter_context(dask.config.set(LASTING))
    with dask.config.set(SETTINGS), _without_interrupts():
        try:
            cluster: LocalCluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
                local_directory=scratch,
                silence_logs=logging.CRITICAL,
                scheduler_kwargs={"dashboard": False},
            )
        except (RuntimeError, OSError, TimeoutError) as error:
            raise ClusterError(
                f"no cluster of {workers} workers starts on this machine: {_line(error)}",
                hint="see whether memory suffices; try fewer --workers, or --engine processes",
            ) from error
        stack.enter_context(cluster)
        return Client(cluster, set_as_default=False)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let threads and processes that begin meanwhile, and theirs, never see Ctrl-C.

    A terminal sends it to all of them; this process alone is to answer it, and ends the others. It
    is told afterwards, if it comes meanwhile.
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    resource_tracker.ensure_running()  # it would unblock signals in the thread that starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _connected(scheduler: str) -> Client:
    from distributed import Client

    for name in [
        name for name in logging.root.manager.loggerDict if name.startswith("distributed")
    ]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is told by us
    try:
        asyncio.run(_answering(scheduler))
        return Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError, MemoryError, EOFError) as error:
        # What is no scheduler says in another way how long its answer is: more than any memory.
        reason = "something else does" if isinstance(error, MemoryError) else _line(error)
        raise ClusterError(
            f"no scheduler answers at {scheduler}: {reason}",
            hint="start one: dask scheduler; its address looks like tcp://10.0.0.1:8786",
        ) from error


async def _answering(scheduler: str) -> None:
    """Ask a scheduler who it is: a client that is refused waits for a minute to end."""
    from distributed.core import rpc

    if "://" not in scheduler or not scheduler.partition("://")[2]:
        raise ValueError("that is no address")
    asked = rpc(scheduler, timeout=PATIENCE)
    try:
        told = await asyncio.wait_for(asked.identity(), PATIENCE)
    finally:
        await asked.close_rpc()
    if told.get("type") != "Scheduler":
        raise ValueError("something else does")


def _threads(client: Client, scheduler: str) -> int:
    """Return how many shards the workers embed at once; wait for the first worker."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise ClusterError(
            f"the scheduler {scheduler} has no workers",
            hint=f"start some: dask worker {scheduler} --nthreads 1 --nworkers 8",
        ) from error
    return sum(client.nthreads().values())
