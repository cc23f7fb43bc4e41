"""What a score means on one encoder: how many designs that are unrelated to a drawing reach it.

A cosine of 0.8 says much of one encoder and nothing of another. So it is measured once, by
`calibrating`, how unrelated designs score, and kept in bundle.json: whoever searches is told "1 in
2,000" beside the score. Nothing here decides a vector or a rank.

The object `calibration` in bundle.json:

    schema       1
    fingerprint  of the bundle whose scores they are
    unrelated    which designs were taken for unrelated, in words
    sources      name, SHA-256, designs and figures of each source that was measured on
    created, versions
    tables       one for each number of dimensions, of figures of the drawing and of the design
    sha256       of all the rest, as `digest_of` makes it: a changed number is found

and a table:

    dim          numbers in an embedding
    figures      of the one and of the other, no fewer: the score is that of their best pair, and
                 which of the two searches makes no difference
    pairs        of so many figures of two unrelated designs
    scores       ascending
    counts       pairs that reach each of the scores
    beyond       from this score on there are fewer than the last count, of three pairs of designs
                 or less: too few to count on
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from edge_retrieval.errors import LIES

SCHEMA = 1


class Strength(NamedTuple):
    """How rarely a design that is unrelated to the drawing looks as close.

    Attributes:
        share: Of unrelated designs, at most so many reach the score.
        beyond: Fewer than `share` do: the score is above all that the data can tell.
    """

    share: float
    beyond: bool

    @property
    def text(self) -> str:
        """Say it: "1 in 2,000", "fewer than 1 in 50,000", "most"."""
        if self.share > 0.5:
            return "most"
        told = f"1 in {plain(1 / self.share):,}"
        return f"fewer than {told}" if self.beyond else told

    @property
    def sentence(self) -> str:
        """Say it in full: "1 in 2,000 unrelated designs looks this close"."""
        one = self.share <= 0.5 and not self.beyond
        return f"{self.text} unrelated designs look{'s' if one else ''} this close"

    def among(self, designs: int) -> str:
        """Say how many of so many unrelated designs look as close: "about 9", "fewer than 1"."""
        expected = self.share * designs
        if expected < 1:
            return "fewer than 1"
        digits = max(0, int(math.log10(expected)) - 1)
        told = f"{round(expected / 10**digits) * 10**digits:,}"
        return f"fewer than {told}" if self.beyond else f"about {told}"

    @property
    def short(self) -> str:
        """Say it in a column: "1 in 2,000", "< 1 in 50,000", "most"."""
        return self.text.replace("fewer than", "<")


def plain(value: float) -> int:
    """Round down to a number that is easily said: 1, 1.5, 2, 3 ... 9 times a power of ten."""
    value *= 1 + 1e-9  # 2,000 must not become 1,500 by the rounding of a float
    if value < 10:
        return int(value)
    power: int = 10 ** int(math.log10(value))
    first = value / power
    return 3 * power // 2 if 1.5 <= first < 2 else int(first) * power


@dataclass(frozen=True)
class Table:
    """How high unrelated designs score; see above."""

    dim: int
    figures: tuple[int, int]
    pairs: int
    scores: tuple[float, ...]
    counts: tuple[int, ...]
    beyond: float

    def strength(self, score: float) -> Strength:
        """Return the share of pairs that reach a score, never less than it is."""
        place = max(0, bisect_right(self.scores, score) - 1)
        return Strength(self.counts[place] / self.pairs, score >= self.beyond)

    def times(self, figures: float, others: float) -> int:
        """Return how often its figures are needed to make so many of the one and of the other."""
        (few, many), (less, more) = self.figures, sorted((figures, others))
        return math.ceil(less / few) * math.ceil(more / many)


@dataclass(frozen=True)
class Measured:
    """A source that was measured on: its name, the SHA-256 of its drawings, how many they are."""

    name: str
    sha256: str
    designs: int
    figures: int


@dataclass(frozen=True)
class Calibration:
    """How high unrelated designs score with one encoder; see above."""

    fingerprint: str
    unrelated: str
    sources: tuple[Measured, ...]
    tables: tuple[Table, ...]
    created: str
    versions: Mapping[str, str]

    @property
    def designs(self) -> int:
        """How many designs were measured on."""
        return sum(source.designs for source in self.sources)

    @property
    def sha256(self) -> str:
        """The digest that the bundle keeps."""
        return digest_of(self.to_json())

    def strength(
        self, score: float, *, dim: int, figures: float = 1, others: float = 1
    ) -> Strength | None:
        """Return how rarely an unrelated design reaches a score.

        The more figures there are, of the drawing and of a design, the more designs come close by
        chance. Between two numbers of figures that were measured the larger one counts; beyond
        them so many times the largest, which is more than would be measured. Where that table has
        seen too few pairs to tell, so many times what a table of fewer figures and more pairs says
        is still no less than the truth, and closer to it.

        Args:
            score: Cosine of the best pair of figures.
            dim: Numbers in the embeddings.
            figures: That were searched with.
            others: Of the designs that were searched; their mean.

        Returns:
            None where nothing was measured for so many dimensions.
        """
        known = [table for table in self.tables if table.dim == dim]
        if not known:
            return None
        table = min(known, key=lambda t: (t.times(figures, others), math.prod(t.figures)))
        found = _times(table.strength(score), table.times(figures, others))
        if not found.beyond:
            return found
        bounds = (_times(each.strength(score), each.times(figures, others)) for each in known)
        return Strength(min(bound.share for bound in bounds), True)

    def to_json(self) -> dict[str, Any]:
        """Return what bundle.json keeps, the digest included."""
        told = {"schema": SCHEMA, **_plain(asdict(self))}
        return {**told, "sha256": digest_of(told)}

    @classmethod
    def from_json(cls, told: object) -> Calibration:
        """Read what `to_json` gave, doubting it.

        Raises:
            ValueError: It is of a newer schema, changed, or makes no sense.
        """
        if not isinstance(told, dict):
            raise ValueError("no object")
        if (schema := told.get("schema")) != SCHEMA:
            raise ValueError(f"schema {schema!r}, not {SCHEMA}")
        if told.get("sha256") != digest_of(told):
            raise ValueError("changed since it was measured")
        try:
            found = cls(
                fingerprint=_text(told["fingerprint"]),
                unrelated=_text(told["unrelated"]),
                sources=tuple(_measured(one) for one in told["sources"]),
                tables=tuple(_table(one) for one in told["tables"]),
                created=_text(told["created"]),
                versions={_text(k): _text(v) for k, v in told["versions"].items()},
            )
        except LIES as error:
            raise ValueError(f"not as it is written: {error}") from error
        if not found.tables:
            raise ValueError("no table")
        return found


def _times(strength: Strength, times: int) -> Strength:
    return Strength(min(1.0, strength.share * times), strength.beyond)


def digest_of(told: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all but "sha256" as JSON, keys sorted, no spaces."""
    rest = {key: value for key, value in told.items() if key != "sha256"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _table(told: Mapping[str, Any]) -> Table:
    few, many = (_count(count) for count in told["figures"])
    table = Table(
        dim=_count(told["dim"]),
        figures=(few, many),
        pairs=_count(told["pairs"]),
        scores=tuple(_number(score) for score in told["scores"]),
        counts=tuple(_count(count) for count in told["counts"]),
        beyond=_number(told["beyond"]),
    )
    scores, counts = (*table.scores, table.beyond), table.counts
    if few > many:
        raise ValueError("figures that do not ascend")
    if len(counts) != len(table.scores) or not counts:
        raise ValueError("a table without scores, or with other counts than scores")
    if any(a >= b for a, b in pairwise(scores)):
        raise ValueError("scores that do not ascend")
    if any(a < b for a, b in pairwise((table.pairs, *counts))):
        raise ValueError("counts that ascend")
    return table


def _measured(told: Mapping[str, Any]) -> Measured:
    return Measured(
        _text(told["name"]),
        _text(told["sha256"]),
        _count(told["designs"]),
        _count(told["figures"]),
    )


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is no count")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _plain(value: Any) -> Any:
    """Return lists for tuples, as JSON gives them back."""
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value
