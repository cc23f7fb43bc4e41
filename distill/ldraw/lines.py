"""The lines of a part that are seen from a side: its outlines and its creases."""

from __future__ import annotations

import numpy as np

from distill.ldraw.surface import NEAR, Surface
from distill.synthetic.geometry import Points
from distill.synthetic.hidden_lines import FeatureLines, Scene, Segments, visible
from distill.synthetic.mesh import Flags, Indices

EDGE_ON = 0.1
"""Pixels: a deciding point nearer to its line than this is on either side of it."""

BESIDE = 2.0
"""Pixels from a line at which it is asked whether the surface ends there."""

DROP = 8.0
"""Pixels of depth by which the surface falls behind a line that is an outline."""


def part_lines(scene: Scene, surface: Surface) -> FeatureLines:
    """Return the visible outlines and creases of a part.

    Args:
        scene: Its mesh as a camera sees it.
        surface: The part.
    """
    turning = surface.conditionals[_is_silhouette(scene.screen, surface.conditionals)]
    ends = np.concatenate([surface.edges, turning[:, :2]])
    starts, stops = scene.screen[ends[:, 0]], scene.screen[ends[:, 1]]
    segments, row = visible(scene, starts, stops)
    outline = row >= len(surface.edges)
    outline |= _ends_surface(scene, segments, starts[row], stops[row])
    nothing = np.zeros((0, 4))
    return FeatureLines(
        outline=segments[outline],
        crease=segments[~outline],
        tangent=nothing,
        broken_outline=nothing,
        broken_crease=nothing,
    )


def _is_silhouette(screen: Points, conditionals: Indices) -> Flags:
    """Return for (K, 4) conditional lines whether both deciding points lie on one side."""
    start, end, one, other = (screen[conditionals[:, corner], :2] for corner in range(4))
    along = end - start
    length = np.hypot(along[:, 0], along[:, 1])
    across = np.column_stack([-along[:, 1], along[:, 0]]) / np.maximum(length, 1e-9)[:, None]
    first = ((one - start) * across).sum(1) / NEAR
    second = ((other - start) * across).sum(1) / NEAR
    edge_on = np.minimum(np.abs(first), np.abs(second)) < EDGE_ON
    drawn: Flags = (length > EDGE_ON) & (edge_on | (first * second > 0))
    return drawn


def _ends_surface(scene: Scene, segments: Segments, starts: Points, stops: Points) -> Flags:
    """Return for (M, 4) visible segments whether the surface ends on a side of their middle.

    Args:
        scene: Has the depths.
        segments: From `visible`.
        starts: (M, 3) where the line begins that each was cut from.
        stops: (M, 3) where it ends.
    """
    middle = (segments[:, :2] + segments[:, 2:]) / 2
    along = stops[:, :2] - starts[:, :2]
    squared = np.maximum((along**2).sum(1), 1e-9)
    share = ((middle - starts[:, :2]) * along).sum(1) / squared
    depth = starts[:, 2] + share * (stops[:, 2] - starts[:, 2])
    across = np.column_stack([-along[:, 1], along[:, 0]]) / np.sqrt(squared)[:, None] * BESIDE
    lowest = depth - DROP * scene.tolerance
    ends = np.zeros(len(segments), bool)
    for side in (middle + across, middle - across):
        column, row = np.clip(side.astype(np.int64), 0, scene.frame - 1).T
        ends |= scene.far[row, column] < lowest
    return ends
