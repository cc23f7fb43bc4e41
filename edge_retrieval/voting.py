"""Which class a drawing belongs to, by the vote of the designs that are most like it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from edge_retrieval.register import DesignRecord
from edge_retrieval.taxonomy import locarno_title

VOTERS = 10
"""So many of the nearest designs vote."""

LEAST = 3
"""Fewer agree too easily: nothing is told then."""


class ClassVote(NamedTuple):
    """What the nearest designs say of the class. A hint, not a finding.

    Attributes:
        labels: Of the class, coarse to fine: ("06", "06-01").
        title: Its heading; "" if it is not of Locarno.
        votes: How many of the nearest designs are in it.
        of: How many voted: those of known class among the nearest.
        clear: Whether more than half agree.
    """

    labels: tuple[str, ...]
    title: str
    votes: int
    of: int
    clear: bool

    @property
    def code(self) -> str:
        """The finest label: "06-01"."""
        return self.labels[-1]

    @property
    def sentence(self) -> str:
        """Say it: "7 of the 10 nearest designs are in 06-01 Seats"."""
        name = f"{self.code} {self.title}".strip()
        verb = "is" if self.votes == 1 else "are"
        told = f"{self.votes} of the {self.of} nearest designs {verb} in {name}"
        return told if self.clear else f"no clear class: {told}, and in no class more"


def vote(nearest: Sequence[DesignRecord]) -> ClassVote | None:
    """Let designs vote on a class; None where fewer than `LEAST` of them have one.

    The finest level on which more than half agree is told; where there is none, the class with most
    votes on the finest level, of equal ones that of the nearest design.

    Args:
        nearest: Best first; at most `VOTERS` of them are asked.
    """
    voters = [design for design in nearest[:VOTERS] if design.labels]
    if len(voters) < LEAST:
        return None
    deepest = max(len(design.labels) for design in voters)
    told = []
    for depth in range(deepest, 0, -1):
        counted = Counter(design.labels[:depth] for design in voters)  # of equals the first seen
        labels, votes = counted.most_common(1)[0]
        clear = 2 * votes > len(voters)
        told.append(ClassVote(labels, _title(labels, voters), votes, len(voters), clear))
    return next((one for one in told if one.clear), told[0])


def _title(labels: tuple[str, ...], voters: Sequence[DesignRecord]) -> str:
    """Return the heading, if the code is Locarno's: "01" may be anything else."""
    of_locarno = any(v.locarno and v.labels[: len(labels)] == labels for v in voters)
    return (locarno_title(labels[-1]) or "") if of_locarno else ""
