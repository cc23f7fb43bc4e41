"""What a family yields: named solids, claimed or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import Solid, Vector, mirrored, placed


@dataclass(frozen=True)
class Part:
    """One solid of a product. What is not claimed is drawn in broken lines."""

    solid: Solid
    claimed: bool = True


@dataclass
class Assembly:
    """A product as it is put together, part by part."""

    parts: list[Part] = field(default_factory=list)

    def add(self, *solids: Solid, claimed: bool = True) -> None:
        """Add solids; empty ones, which booleans may leave, are passed over."""
        self.parts += [Part(solid, claimed) for solid in solids if solid.num_tri() > 0]

    def add_all(self, solids: Iterable[Solid], *, claimed: bool = True) -> None:
        """Add every solid of an iterable."""
        self.add(*solids, claimed=claimed)

    def add_pair(self, *solids: Solid, claimed: bool = True) -> None:
        """Add solids and their mirror images, left for right."""
        for solid in solids:
            self.add(solid, mirrored(solid), claimed=claimed)

    def turned(self, turn: Vector) -> Assembly:
        """Return the whole turned about x, y, z by degrees."""
        return Assembly([Part(placed(p.solid, turn=turn), p.claimed) for p in self.parts])


@dataclass(frozen=True)
class Family:
    """A kind of product, with a function that makes one.

    Attributes:
        locarno: Subclass, "06-01".
        name: "chair"; unique within the subclass.
        title: What the register calls such a design: "Chair".
        build: Makes one from choices.
    """

    locarno: str
    name: str
    title: str
    build: Callable[[Dice], Assembly] = field(repr=False)

    @property
    def key(self) -> str:
        """The family's name in `FAMILIES`: "06-01/chair"."""
        return f"{self.locarno}/{self.name}"
