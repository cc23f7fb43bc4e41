"""How long work shows progress without knowing terminals.

Library functions take `track: Track = silent` and write
`for design in track(designs, "Indexing"):`. The command line passes one that draws a bar.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Pass items through and show how far they have come."""

    def __call__(
        self, items: Iterable[T], description: str, total: int | None = None
    ) -> Iterable[T]:
        """Yield `items` unchanged; `total` is their number where it is known."""
        ...


def silent(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """A `Track` that shows nothing."""
    return items
