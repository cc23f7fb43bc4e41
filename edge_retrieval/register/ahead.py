"""Reading ahead: sheets are read and being cut while earlier ones are embedded and committed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edge_retrieval.register.cutters import Coming
from edge_retrieval.sources.design import Design, Problem, Sheet

SHEETS_AHEAD = 48
BYTES_AHEAD = 64 << 20
"""No more sheets, and no more bytes of them, are held at a time; but one of any size."""


@dataclass(frozen=True)
class Begin:
    """From here on, steps are of this design."""

    design: Design


@dataclass(frozen=True)
class Taken:
    """A sheet of the design at hand.

    Attributes:
        sheet: What the source says of it.
        data: Its bytes; none if many sheets are held and it can be read again.
        sha256: Of its bytes.
        cut: Its figures, on their way; None if the register seems to hold them.
    """

    sheet: Sheet
    data: bytes
    sha256: str
    cut: Coming | None


@dataclass(frozen=True)
class End:
    """The design at hand is complete."""


Step = Begin | Taken | End | Problem
"""What is done in order. A problem may be of the source, of a design or of a sheet."""


def look_ahead(
    steps: Iterable[Step],
    *,
    sheets: int = SHEETS_AHEAD,
    size: int = BYTES_AHEAD,
    designs: int | None = None,
) -> Iterator[Step]:
    """Yield steps in order, having taken the next ones already.

    Args:
        steps: Taken from the one who makes them while fewer than `sheets` sheets of fewer than
            `size` bytes are held; a sheet is held until the step after it is asked for.
        sheets: At least 1.
        size: Bytes.
        designs: Instead of both: while fewer than so many designs are held.
    """
    source = iter(steps)
    waiting: deque[Step] = deque()
    held = held_bytes = ended = 0
    more = True

    def room() -> bool:
        return ended < designs if designs is not None else held < sheets and held_bytes < size

    while True:
        while more and room():
            step = next(source, None)
            if step is None:
                more = False
                break
            waiting.append(step)
            if isinstance(step, Taken):
                held += 1
                held_bytes += len(step.data)
            ended += isinstance(step, End)
        if not waiting:
            return
        step = waiting.popleft()
        yield step
        if isinstance(step, Taken):
            held -= 1
            held_bytes -= len(step.data)
        ended -= isinstance(step, End)
        del step
