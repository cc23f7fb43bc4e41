"""Short segments chained to long polylines, and polylines cut into dashes."""

from __future__ import annotations

import numpy as np

from distill.synthetic.geometry import Points
from distill.synthetic.hidden_lines import Segments

STRAIGHTEST = 0.5
"""Cosine of the sharpest turn that a polyline takes."""

GRID = 4
"""Ends within 1 / GRID pixel are one node."""


class _Chains:
    """Segments as a graph of which every segment is walked once."""

    def __init__(self, segments: Segments) -> None:
        nodes = np.round(segments.reshape(-1, 2) * GRID).astype(np.int64)
        key = nodes[:, 0] * 100_003 + nodes[:, 1]
        self.node = np.unique(key, return_inverse=True)[1].reshape(-1, 2).tolist()
        direction = segments[:, 2:] - segments[:, :2]
        length = np.linalg.norm(direction, axis=1, keepdims=True) + 1e-9
        self.direction = (direction / length).tolist()
        self.segment = segments.tolist()
        self.used = [False] * len(segments)
        self.neighbours: dict[int, list[tuple[int, int]]] = {}
        for row, (start, end) in enumerate(self.node):
            self.neighbours.setdefault(start, []).append((row, 0))
            self.neighbours.setdefault(end, []).append((row, 1))

    def walk(self, row: int, end: int) -> list[tuple[float, float]]:
        """Go on from one end of a segment, each time along the straightest free neighbour."""
        path: list[tuple[float, float]] = []
        while True:
            sign = 1 if end else -1
            dx, dy = self.direction[row][0] * sign, self.direction[row][1] * sign
            best, following = STRAIGHTEST, None
            for other, other_end in self.neighbours[self.node[row][end]]:
                if self.used[other]:
                    continue
                ox, oy = self.direction[other]
                cosine = (ox * dx + oy * dy) * (-1 if other_end else 1)
                if cosine > best:
                    best, following = cosine, (other, other_end)
            if following is None:
                return path
            row, end = following[0], 1 - following[1]
            self.used[row] = True
            x, y = self.segment[row][2 * end : 2 * end + 2]
            path.append((x, y))


def chain(segments: Segments) -> list[Points]:
    """Join (N, 4) segments, in pixels, to (M, 2) polylines."""
    chains = _Chains(segments)
    polylines = []
    for row, (x0, y0, x1, y1) in enumerate(chains.segment):
        if chains.used[row]:
            continue
        chains.used[row] = True
        onward = chains.walk(row, 1)
        backward = chains.walk(row, 0)
        polylines.append(np.array([*backward[::-1], (x0, y0), (x1, y1), *onward]))
    return polylines


def length_of(polyline: Points) -> float:
    """Return the length of an (N, 2) polyline."""
    return float(np.hypot(*np.diff(polyline, axis=0).T).sum())


def dashed(polyline: Points, dash: float, gap: float) -> list[Points]:
    """Cut an (N, 2) polyline into dashes by arc length; it begins and ends with a whole dash."""
    along = np.r_[0, np.cumsum(np.hypot(*np.diff(polyline, axis=0).T))]
    length = float(along[-1])
    count = max(round((length + gap) / (dash + gap)), 1)
    stretch = (length + gap) / (count * (dash + gap)) if count > 1 else 1.0
    dashes = []
    for number in range(count):
        start = number * (dash + gap) * stretch
        stop = min(start + dash * stretch, length)
        inside = along[(along > start) & (along < stop)]
        at = np.r_[start, inside, stop]
        dashes.append(
            np.column_stack([np.interp(at, along, polyline[:, axis]) for axis in range(2)])
        )
    return dashes
