"""Seeded choices: the same key gives the same choices on every machine and in every order."""

from __future__ import annotations

import zlib
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def seed_of(*key: object) -> int:
    """Return a seed for a key such as `(seed, "06-01/chair", 3, "style")`.

    CRC-32 of the key's text: `hash()` of a string differs from process to process.
    """
    return zlib.crc32(repr(key).encode()) * 1_000_003 + 12_345


def generator(*key: object) -> np.random.Generator:
    """Return a random generator of its own for a key."""
    return np.random.Generator(np.random.PCG64(seed_of(*key)))


class Dice:
    """Choices in two streams: discrete ones decide topology, continuous ones decide proportions.

    Two designs that share the first stream and differ in the second are siblings: the same parts
    in other proportions, which are hard to tell apart.

    Args:
        topology: Seed of the discrete choices.
        shape: Seed of the continuous choices.
    """

    def __init__(self, topology: int, shape: int) -> None:
        self._topology = np.random.Generator(np.random.PCG64(topology))
        self._shape = np.random.Generator(np.random.PCG64(shape))

    @classmethod
    def of(cls, *key: object) -> Dice:
        """Return dice whose streams both hang on one key."""
        return cls(seed_of(*key, "topology"), seed_of(*key, "shape"))

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return float(self._shape.uniform(low, high))

    def uniforms(self, low: float, high: float, count: int) -> list[float]:
        """Return `count` numbers in [low, high)."""
        return [self.uniform(low, high) for _ in range(count)]

    def integer(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
        return int(self._topology.integers(low, high + 1))

    def chance(self, probability: float = 0.5) -> bool:
        """Return True with a probability."""
        return bool(self._topology.random() < probability)

    def pick(self, *options: T) -> T:
        """Return one of the options; name one twice to make it twice as likely."""
        return options[int(self._topology.integers(len(options)))]
