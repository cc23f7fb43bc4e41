"""Polylines that stand for arcs made round: LDraw's circles have 16 corners."""

from __future__ import annotations

import numpy as np

from distill.synthetic.geometry import Points
from distill.synthetic.mesh import Flags

SHARPEST = np.cos(np.radians(32.0))
"""Cosine of the sharpest turn within an arc; 16 corners turn by 22.5 degrees, 8 are meant."""

STRAIGHTEST = np.cos(np.radians(1.0))

LIKE = 2.5
"""Within an arc one step is at most so many times as long as the next: a bevel between two long
lines is none."""


def rounded(polyline: Points, rounds: int = 2) -> Points:
    """Return an (N, 2) polyline with points between those of its arcs; its own points stay.

    Args:
        polyline: The same first and last point make a loop.
        rounds: How often the steps of an arc are halved.

    Source:
        Dyn, Levin and Gregory, "A 4-point interpolatory subdivision scheme", CAGD 4 (1987).
    """
    for _ in range(rounds):
        if len(polyline) < 4:
            return polyline
        before, after = _beyond(polyline)
        padded = np.concatenate([before[None], polyline, after[None]])  # (N + 2, 2)
        curved = _in_arc(padded)  # (N - 1,)
        outer, inner = padded[:-3] + padded[3:], padded[1:-2] + padded[2:-1]
        middle = np.where(curved[:, None], (9 * inner - outer) / 16, inner / 2)
        merged = np.empty((2 * len(polyline) - 1, 2))
        merged[::2], merged[1::2] = polyline, middle
        polyline = merged[np.r_[True, np.column_stack([curved, np.ones_like(curved)]).ravel()]]
    return polyline


def _beyond(polyline: Points) -> tuple[Points, Points]:
    """Return the points before the first and after the last: of an open end, the curve goes on."""
    if np.abs(polyline[0] - polyline[-1]).max() < 1e-9:
        return polyline[-2], polyline[1]
    # As on a circle: the next chord is this one turned as much as this one turned from the last.
    return _onward(polyline[2::-1]), _onward(polyline[-3:])


def _onward(three: Points) -> Points:
    """Return where a circle through (3, 2) points of equal steps would go on."""
    first, second = (complex(*step) for step in np.diff(three, axis=0))
    turn = second / first if first else 1.0
    step = second * turn / abs(turn) if turn else second
    following: Points = three[2] + np.array([step.real, step.imag])
    return following


def _in_arc(padded: Points) -> Flags:
    """Return for the N - 1 steps of a polyline with a point at either end whether they are arcs."""
    steps = np.diff(padded, axis=0)  # (N + 1, 2)
    length = np.hypot(*steps.T) + 1e-12
    turn = (steps[1:] * steps[:-1]).sum(1) / (length[1:] * length[:-1])
    ratio = length[1:] / length[:-1]
    soft = (turn > SHARPEST) & (turn < STRAIGHTEST) & (ratio < LIKE) & (ratio > 1 / LIKE)
    arcs: Flags = soft[:-1] & soft[1:]  # (N - 1,)
    return arcs
