"""What is close: a strength that unrelated designs reach so rarely, or else a score."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from edge_retrieval.calibration import Calibration, Strength
from edge_retrieval.errors import BundleError, ConfigError

SMALLEST = 1e-12
"""A share below this is a slip of the hand: there are not so many designs."""

StrengthOf = Callable[[float, int, int], Strength | None]
"""(cosine, figures of the one, figures of the other) -> the strength; None: nobody measured it."""


@dataclass(frozen=True)
class Threshold:
    """From where on a pair of designs is told.

    Attributes:
        share: The most unrelated designs that may come as close as the pair; None: `score` decides.
        score: The least score of a pair; None: `share` decides.
    """

    share: float | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.score is None):
            raise ValueError("a threshold is a share or a score")
        if self.share is not None and not SMALLEST <= self.share <= 1:
            raise ConfigError(f"no strength: {self.share:g}", hint=_SPELLINGS)
        if self.score is not None and not -1 <= self.score <= 1:
            raise ConfigError(
                f"no score: {self.score:g}", hint="write a number from -1 to 1: --score-above 0.7"
            )

    @property
    def text(self) -> str:
        """Say it after "no pair": "stronger than 1 in 2,000", "that scores 0.7 or more"."""
        if self.share is None:
            return f"that scores {self.score:g} or more"
        return f"stronger than {spoken(self.share)}"

    def reached(self, score: float, strength: Strength | None) -> bool:
        """Tell whether a pair of this score and strength is to be told.

        A strength that is beyond all that was measured always is: how rare such a pair is nobody
        can say, and of a copy somebody must.
        """
        if self.share is None:
            return self.score is not None and score >= self.score
        return strength is not None and (strength.share <= self.share or strength.beyond)

    def beyond_telling(self, rarest: Strength | None) -> bool:
        """Tell whether it is rarer than what can be measured, of which `rarest` is the rarest."""
        return self.share is not None and rarest is not None and rarest.share > self.share

    def least_cosine(self, strength: Callable[[float], Strength | None]) -> float:
        """Return a cosine below which no best pair of figures makes a pair of designs be told.

        Args:
            strength: Cosine of the best pair -> its strength; it never falls as the cosine rises.
        """
        if self.score is not None:
            return self.score  # a pair's score is at most that of its best pair of figures
        low, high = -1.0, 1.0
        if not self.reached(high, strength(high)):
            return 2.0
        if self.reached(low, strength(low)):
            return low
        while high - low > 1e-7:
            middle = (low + high) / 2
            if self.reached(middle, strength(middle)):
                high = middle
            else:
                low = middle
        return low


def strength_by(calibration: Calibration | None, dim: int) -> StrengthOf:
    """Return what tells strengths of embeddings of `dim` numbers."""

    def strength(cosine: float, figures: int, others: int) -> Strength | None:
        if calibration is None:
            return None
        return calibration.strength(cosine, dim=dim, figures=figures, others=others)

    return strength


def require_strengths(calibration: Calibration | None, dim: int, where: str) -> None:
    """Refuse a bundle that does not tell what its scores mean."""
    if strength_by(calibration, dim)(1.0, 1, 1) is None:
        raise BundleError(
            f"{where}: its bundle does not tell what a score means",
            hint="measure it (edge-ret calibrate BUNDLE --data DESIGNS) and index the portfolio"
            " anew, or give --score-above 0.7 instead of a strength",
        )


def parse_share(text: str) -> float:
    """Return the share that "1/2000", "1:2000", "1 in 2,000" or "0.0005" tells.

    Raises:
        ConfigError: It tells none, or one that is not above 0 and at most 1.
    """
    number = r"(\d{1,3}(?:[,_ ]\d{3})+|\d{1,15})"
    found = re.fullmatch(rf"\s*{number}\s*(?:/|:|\bin\b)\s*{number}\s*", text, re.IGNORECASE)
    try:
        if found:
            part, whole = (int(re.sub("[,_ ]", "", told)) for told in found.groups())
            share = part / whole
        else:
            share = float(text)
    except (ValueError, ArithmeticError):
        share = 0.0
    if not SMALLEST <= share <= 1:  # nan is not
        raise ConfigError(f"no strength: {text!r}", hint=_SPELLINGS)
    return share


def spoken(share: float) -> str:
    """Say a share: "1 in 2,000"; where it is no one in so many, as it is."""
    many = round(1 / share)
    return f"1 in {many:,}" if abs(share * many - 1) < 1e-9 else f"{share:g}"


_SPELLINGS = "write how many unrelated designs may look as close: 1/2000, '1 in 2,000' or 0.0005"
