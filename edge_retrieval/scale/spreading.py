"""A job that is spread over workers, from its work folder to its end."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_retrieval.bundle import Bundle
from edge_retrieval.errors import BundleError, ClusterError, ConfigError, RegisterError
from edge_retrieval.limits import current
from edge_retrieval.register.files import writer_lock
from edge_retrieval.scale.engines import ENGINES
from edge_retrieval.scale.shards import Recipe
from edge_retrieval.scale.spread import Spread

SHARD = 200
"""Designs that are embedded together: what a worker's end costs."""

LOCK = "work.lock"
ASKED, DONE, BEGUN, UNFINISHED = "asked-*.shard", "done-*.shard", "begun-*", "*.part"
"""What lies in a work folder, beside the bundle."""


@dataclass(frozen=True)
class Spreading:
    """Has sheets cut and embedded by workers; give it to `indexing.index` as `spread`.

    Attributes:
        engine: "processes" or "dask".
        work: The work folder: made if it is not there, seen by all workers under the same path.
            What is stopped midway is taken up from it; in the end it is emptied.
        scheduler: That of a Dask cluster; None: workers of this machine, which end with the job.
        workers: How many of the latter; None: as many as cores.
        shard: Designs that are embedded together.

    Raises:
        ConfigError: No such engine, or a setting that makes no sense.
        MissingExtraError: The engine needs the extra 'scale'.
    """

    engine: str
    work: Path
    scheduler: str | None = None
    workers: int | None = None
    shard: int = SHARD

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(
                f"no engine {self.engine!r}", hint=f"choose from {', '.join(ENGINES)}"
            )
        if self.shard < 1:
            raise ConfigError(f"shards of {self.shard} designs", hint="give 1 or more")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"{self.workers} workers", hint="give 1 or more")
        if self.scheduler is not None and self.engine != "dask":
            raise ConfigError(
                f"the engine {self.engine!r} knows no scheduler", hint="use --engine dask"
            )
        if self.scheduler is not None and self.workers is not None:
            raise ConfigError(
                f"{self.workers} workers, and a scheduler, which has its own",
                hint="leave out --workers, or --scheduler",
            )
        if self.engine == "dask":
            from edge_retrieval.scale.dask_engine import require_dask

            require_dask()

    @contextlib.contextmanager
    def __call__(self, bundle: Bundle, backend: str) -> Iterator[Spread]:
        """Start the workers, and let them go in the end.

        Raises:
            ClusterError: The workers cannot be reached, or do not see what they need.
        """
        folder = Path(self.work).resolve()
        with _locked(folder):
            _remove(
                folder, ASKED, BEGUN, UNFINISHED
            )  # of a job that was stopped; what is done stays
            with contextlib.closing(ENGINES[self.engine](self.workers, self.scheduler)) as engine:
                recipe = recipe_for(folder, bundle, backend)
                yield Spread(engine, folder, recipe, shard=self.shard)
            _remove(folder, ASKED, DONE, BEGUN, UNFINISHED)
            shutil.rmtree(folder / recipe.bundle, ignore_errors=True)
        _remove(folder, LOCK)
        with contextlib.suppress(OSError):
            folder.rmdir()  # stays if somebody else has put something there


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make the work folder, and be the only job in it."""
    try:
        # Drawings that nobody has filed yet may lie in it: it is its owner's alone.
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ClusterError(
            f"{folder}: cannot be made: {error.strerror}",
            hint="name another work folder: --work",
        ) from error
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(writer_lock(folder / LOCK))
        except RegisterError as error:
            raise ClusterError(
                f"{folder}: another job is at work there, or it cannot be locked",
                hint="wait until it has finished, or name another work folder: --work",
            ) from error
        yield


def recipe_for(folder: Path, bundle: Bundle, backend: str) -> Recipe:
    """Copy the bundle to where all workers find it; say what is made of a sheet."""
    name = f"bundle-{bundle.whole.fingerprint[:16]}"
    try:
        Bundle.open(folder / name)
    except BundleError:  # not there yet, or half of it
        shutil.rmtree(folder / name, ignore_errors=True)
        bundle.copy_to(folder / name)
    return Recipe(name, bundle.fingerprint, bundle.dim, backend, current())


def _remove(folder: Path, *patterns: str) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                path.unlink()
