"""The one who asks: sheets are put into shards, shards are given to workers, results are audited.

What counts is the file in the work folder. A shard whose worker ends, or whose file is damaged, is
given out again; one that fails again and again is cut in halves, until the sheet that ends its
workers is alone, and is named.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge_retrieval.drawing.ready import SheetTask
from edge_retrieval.errors import ClusterError, ConfigError
from edge_retrieval.register.cutters import EmbeddedFigure
from edge_retrieval.scale.embedding import raise_told
from edge_retrieval.scale.engines import Attempt, Engine, WorkerEndedError
from edge_retrieval.scale.shards import (
    Asking,
    Made,
    Recipe,
    Shard,
    asked_name,
    begun_name,
    done_name,
    key_of,
    keys_done,
    read_done,
    split,
)

TRIES = 3
"""So often a shard is tried before it is cut in halves, and a sheet alone before it is blamed."""

UNTOUCHED = 20
"""So often a shard may be lost with a worker that had it, but had not begun it."""

HELD = 4
"""Results of so many shards are held in memory; the writer takes them in order."""

Item = TypeVar("Item")


@dataclass
class Job:
    """A shard that is with the workers.

    Attributes:
        shard: What is asked for.
        attempt: At hand.
        tries: How often it may fail.
        failed: How often it has.
        untouched: How often a worker ended that had not begun it.
        ended: Whether the last worker has ended.
        how: How it did; may be "".
    """

    shard: Shard
    attempt: Attempt
    tries: int
    failed: int = 0
    untouched: int = 0
    ended: bool = False
    how: str = ""


@dataclass(frozen=True)
class Coming:
    """A sheet whose figures are on their way."""

    spread: Spread
    key: str
    where: str

    def result(self) -> list[EmbeddedFigure]:
        """Return its figures; wait for them.

        Raises:
            DrawingError: It cannot be read, or ends the workers that try.
            ClusterError: The workers are gone, or do not see what they need.
        """
        return self.spread.made_of(self.key, self.where).for_sheet(self.where)


class Spread:
    """Cuts and embeds sheets by workers, for the one writer of a register.

    Args:
        engine: The workers.
        folder: The work folder, which all of them see; the bundle is in it.
        recipe: What is made of a sheet.
        shard: So many designs are put together.

    Raises:
        ConfigError: `shard` is below 1.
        ClusterError: The workers cannot load the encoder, or do not see the folder.
    """

    def __init__(self, engine: Engine, folder: Path, recipe: Recipe, *, shard: int) -> None:
        if shard < 1:
            raise ConfigError(f"shards of {shard} designs", hint="give 1 or more")
        self._engine = engine
        self._folder = folder
        self._recipe = recipe
        self._designs = shard
        # Two for each worker: one that it is at, one that waits; and the one that is filled.
        self.designs_ahead = (2 * engine.workers + 1) * shard
        self._at = dict(keys_done(folder, recipe))  # key of a sheet -> identity of its shard
        self._open: Asking | None = None
        self._open_keys: set[str] = set()
        self._jobs: dict[str, Job] = {}
        self._held: OrderedDict[str, dict[str, Made]] = OrderedDict()
        self._deadly: dict[str, Made] = {}

    def __enter__(self) -> Spread:
        self._require_workers()
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.discard()

    def through(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items of a source; a shard ends after so many."""
        for number, item in enumerate(items, start=1):
            yield item
            if number % self._designs == 0:
                self._close()
        self._close()

    def submit(self, task: SheetTask) -> Coming:
        """Have a sheet cut and embedded, unless that has been done."""
        key = key_of(task)
        if not self._knows(key):
            with _written(self._folder):
                if self._open is None:
                    self._open = Asking(self._folder, self._recipe)
                self._open.add(key, task)
            self._open_keys.add(key)
        return Coming(self, key, task.where)

    def made_of(self, key: str, where: str) -> Made:
        """Return what became of a sheet; wait for it."""
        if key in self._open_keys:
            self._close()
        while True:
            if made := self._deadly.get(key):
                return made
            identity = self._at[key]
            if job := self._jobs.get(identity):
                self._settle(job)
                self._tend()
                continue
            results = self._results(identity)
            if results is None:
                raise ClusterError(
                    f"{self._folder / done_name(identity)}: it has changed since it was made",
                    hint="check that disk, then give the same command again: it does the rest",
                )
            del self._at[key]  # a sheet is asked for once: else each would take memory
            return results[key]

    def _knows(self, key: str) -> bool:
        """Say whether a sheet is with the workers, or done; a file that is damaged goes."""
        if key in self._deadly or key in self._open_keys:
            return True
        identity = self._at.get(key)
        if identity is None:
            return False
        if identity in self._jobs or self._results(identity) is not None:
            return True
        with contextlib.suppress(OSError):
            (self._folder / done_name(identity)).unlink()
        self._at = {key: at for key, at in self._at.items() if at != identity}
        return False

    def _results(self, identity: str) -> dict[str, Made] | None:
        """Return the results of a shard that is done; None if they are not there, or damaged."""
        results = self._held.get(identity)
        if results is None:
            results = read_done(self._folder, identity, self._recipe)
            if results is None:
                return None
            self._held[identity] = results
        self._held.move_to_end(identity)
        while len(self._held) > HELD:
            self._held.popitem(last=False)
        return results

    def _close(self) -> None:
        """Give the shard that is being filled to the workers."""
        self._tend()
        if self._open is None:
            return
        with _written(self._folder):
            shard = self._open.close()
        self._open = None
        self._open_keys.clear()
        self._give(shard, TRIES)

    def _give(self, shard: Shard, tries: int) -> None:
        attempt = self._engine.embed(self._folder, shard.identity)
        self._jobs[shard.identity] = Job(shard, attempt, tries)
        self._at.update((sheet.key, shard.identity) for sheet in shard.sheets)

    def _tend(self) -> None:
        """Look after the shards that have come to an end, well or not."""
        for job in list(self._jobs.values()):
            if job.attempt.done():
                self._settle(job)

    def _settle(self, job: Job) -> None:
        """Wait for a shard; if its file is not there then, see that somebody else makes it."""
        job.ended = False
        try:
            raise_told(job.attempt.outcome())
        except WorkerEndedError as error:
            job.ended, job.how = True, str(error)
        identity = job.shard.identity
        if read_done(self._folder, identity, self._recipe) is not None:
            self._finish(job)
            return
        if job.ended and not self._was_begun(identity):
            job.untouched += 1
            if job.untouched == UNTOUCHED:
                self._require_workers()
                raise ClusterError(
                    f"{UNTOUCHED} workers have ended that had the shard {identity[:16]} to do",
                    hint="see why they end; then give the same command again: it does the rest",
                )
        else:
            job.failed += 1
        if job.failed < job.tries:
            job.attempt = self._engine.embed(self._folder, identity)
        elif len(job.shard) > 1:
            with _written(self._folder):
                halves = split(self._folder, job.shard)
            self._finish(job)
            for half in halves:
                self._give(half, TRIES if len(half) == 1 else 1)
        else:
            self._blame(job)

    def _blame(self, job: Job) -> None:
        """Name the sheet that ends its workers, if workers end by nothing else."""
        self._require_workers()
        self._deadly[job.shard.sheets[0].key] = Made(
            error=f"each of {job.failed} processes that embedded it ended{job.how}",
            hint="try it alone; too little memory ends processes as well",
        )
        self._finish(job)

    def _was_begun(self, identity: str) -> bool:
        """Say whether a worker ended in the midst of a shard, and take its mark away."""
        try:
            (self._folder / begun_name(identity)).unlink()
        except OSError:
            return False
        return True

    def _finish(self, job: Job) -> None:
        del self._jobs[job.shard.identity]
        with contextlib.suppress(OSError):
            (self._folder / asked_name(job.shard.identity)).unlink()

    def _require_workers(self) -> None:
        """Have an empty shard embedded: a worker loads the encoder, and writes where we can read.

        Raises:
            ClusterError: None can.
        """
        with _written(self._folder):
            shard = Asking(self._folder, self._recipe).close()
            (self._folder / done_name(shard.identity)).unlink(missing_ok=True)
        how = ""
        for _ in range(TRIES):
            try:
                raise_told(self._engine.embed(self._folder, shard.identity).outcome())
            except WorkerEndedError as error:
                how = str(error)
                continue
            if read_done(self._folder, shard.identity, self._recipe) is not None:
                return
            raise ClusterError(
                f"{self._folder}: a worker has written there, and nothing is seen of it here",
                hint="name a work folder that all machines see under the same path: --work",
            )
        raise ClusterError(
            f"each of {TRIES} workers has ended before it had anything to embed{how}",
            hint="see whether memory suffices for the encoder; try --workers 1",
        )


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Translate errors of writing."""
    try:
        yield
    except OSError as error:
        raise ClusterError(
            f"{folder}: cannot be written: {error.strerror or error}",
            hint="make room there, or name another work folder: --work",
        ) from error
