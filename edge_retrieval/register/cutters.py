"""Processes that cut sheets while the one that asked embeds and commits.

Processes, not threads: most of a cut is many short calls of numpy, and those wait for each other.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import IO, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.drawing.fit import Preprocessing
from edge_retrieval.drawing.ready import ReadyFigure, SheetTask, ask, greet, make_ready, receive
from edge_retrieval.errors import DrawingError
from edge_retrieval.limits import current, within
from edge_retrieval.register.crew import Crew, EndedError, NoProcessError, started
from edge_retrieval.sources.design import Box

ENOUGH_SHEETS = 32
ENOUGH_BYTES = 8 << 20
"""Processes are started once there was so much to cut: to start one costs as much as ten sheets."""

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from edge_retrieval.drawing.ready import serve; serve()"
)

Item = TypeVar("Item")


class EmbeddedFigure(NamedTuple):
    """A figure that was cut and embedded elsewhere; `vector` is (D,) float32, of length 1."""

    box: Box
    turned: int
    png: bytes
    vector: NDArray[np.float32]


class Coming(Protocol):
    """A sheet whose figures are on their way."""

    def result(self) -> Sequence[ReadyFigure | EmbeddedFigure]:
        """Return its figures; wait for them.

        Raises:
            DrawingError: It cannot be read, or whoever was at it has ended.
        """
        ...


class SheetCutters(Protocol):
    """Who cuts sheets for the one writer, and may embed their figures too."""

    @property
    def designs_ahead(self) -> int | None:
        """So many designs are read ahead; None: as many as a few sheets are."""
        ...

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...

    def through(self, items: Iterable[Item]) -> Iterable[Item]:
        """Return the items of a source; told so where one ends and the next one begins."""
        ...

    def submit(self, task: SheetTask) -> Coming:
        """Have a sheet cut."""
        ...


class Cut:
    """A sheet that is being cut, or will be when it is asked for."""

    def __init__(self, task: SheetTask, preprocessing: Preprocessing) -> None:
        self.task: SheetTask | None = task
        self.future: Future[list[ReadyFigure]] | None = None
        self._preprocessing = preprocessing

    def result(self) -> list[ReadyFigure]:
        """Return the figures, once; wait for them, or cut here and now.

        Raises:
            DrawingError: It cannot be read, or the process that read it has ended.
        """
        task, self.task = self.task, None
        if self.future is not None:
            return self.future.result()
        assert task is not None
        return make_ready(task, self._preprocessing)


class Cutters:
    """Cuts sheets, in processes of their own if there are enough of them.

    Used in a `with` statement; at its end no process is left. A process that dies takes one sheet
    with it, and another is started in its place.

    Args:
        preprocessing: What figures are fitted to.
        jobs: Processes; 1 cuts here.
    """

    designs_ahead: int | None = None

    def __init__(self, preprocessing: Preprocessing, jobs: int) -> None:
        self._preprocessing = preprocessing
        self._jobs = jobs
        self._limits = current()  # threads have their own
        self._held: list[Cut] = []
        self._sheets = self._bytes = 0
        self._crew: Crew | None = None

    def __enter__(self) -> Cutters:
        return self

    def __exit__(self, *_: object) -> None:
        if self._crew is not None:
            self._crew.close()

    def through(self, items: Iterable[Item]) -> Iterable[Item]:
        """Return the items of a source, as they are: each sheet is cut by itself."""
        return items

    def submit(self, task: SheetTask) -> Cut:
        """Have a sheet cut."""
        cut = Cut(task, self._preprocessing)
        self._held.append(cut)
        self._sheets += 1
        self._bytes += len(task.data)
        enough = self._sheets >= ENOUGH_SHEETS or self._bytes >= ENOUGH_BYTES
        if self._jobs > 1 and (self._crew is not None or enough):
            if self._crew is None:
                self._crew = Crew(self._jobs, lambda: _started(), self._greet, name="cutter")
            for held in self._held:
                if held.task is not None:
                    held.future = self._crew.submit(partial(self._ask, self._crew, held.task))
            self._held.clear()
        elif self._jobs == 1:
            self._held.clear()
        return cut

    def _greet(self, source: IO[bytes], sink: IO[bytes]) -> bool:
        greet(sink, self._preprocessing, self._limits)
        return receive(source) is not None

    def _ask(self, crew: Crew, task: SheetTask) -> list[ReadyFigure]:
        try:
            return crew.ask(lambda source, sink: ask(source, sink, task))
        except NoProcessError:  # there is none to be had
            with within(self._limits):
                return make_ready(task, self._preprocessing)
        except EndedError as error:
            raise DrawingError(
                f"{task.where}: the process that cut it ended{error.how}",
                hint="try it alone; too little memory ends processes as well",
            ) from error


def _started() -> subprocess.Popen[bytes]:
    return started(_START)
