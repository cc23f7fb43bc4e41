"""The draughtsman's shading: tone lines on round surfaces, hatch on flat ones, stipple.

Tone lines are lines of equal light. On a cylinder they run along the axis and bunch towards the
edge, which is the convention of patent drawings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.synthetic.geometry import Points
from distill.synthetic.hidden_lines import Scene, Segments, is_visible, visible
from distill.synthetic.mesh import Indices

HATCHED_AREA = 0.04
"""Flat faces smaller than this, in squares of the largest extent, are not hatched."""

MOST_DOTS = 20_000


@dataclass(frozen=True)
class Shading:
    """How surfaces are shaded; each kind is off where its setting is empty.

    Attributes:
        light: Unit vector towards the light, in camera axes.
        tones: Brightness levels in [-1, 1] at which round surfaces carry a line.
        hatch_below: Flat faces darker than this are hatched; None: none.
        hatch_angle: Radians.
        hatch_step: Distance of hatch lines as a share of the frame.
        dots: Stipple dots for a frame full of surface.
    """

    light: tuple[float, float, float]
    tones: tuple[float, ...] = ()
    hatch_below: float | None = None
    hatch_angle: float = 0.0
    hatch_step: float = 0.02
    dots: float = 0.0


def tone_lines(scene: Scene, shading: Shading) -> Segments:
    """Return visible lines of equal light on the round claimed surfaces."""
    mesh = scene.mesh
    faces = mesh.triangles[scene.front & mesh.claimed & ~mesh.flat]
    brightness = scene.normals @ np.asarray(shading.light)
    return _level_lines(scene, faces, brightness, shading.tones)


def hatch_lines(scene: Scene, shading: Shading) -> Segments:
    """Return visible parallel lines on the large flat claimed faces that lie in the dark."""
    mesh = scene.mesh
    if shading.hatch_below is None:
        return np.zeros((0, 4))
    dark = scene.face_normals @ np.asarray(shading.light) < shading.hatch_below
    chosen = scene.front & mesh.claimed & mesh.flat & dark & (mesh.flat_area > HATCHED_AREA)
    x, y = scene.screen[:, 0] / scene.frame, scene.screen[:, 1] / scene.frame
    across = x * np.cos(shading.hatch_angle) + y * np.sin(shading.hatch_angle)
    levels = np.arange(-1.2, 1.6, shading.hatch_step).tolist()
    return _level_lines(scene, mesh.triangles[chosen], across, levels)


def stipple(scene: Scene, shading: Shading, rng: np.random.Generator) -> Points:
    """Return (N, 2) dots spread over the claimed surface as it is seen, denser in the dark."""
    mesh = scene.mesh
    faces = mesh.triangles[scene.front & mesh.claimed]
    if not len(faces) or shading.dots <= 0:
        return np.zeros((0, 2))
    x, y = scene.screen[faces, 0], scene.screen[faces, 1]
    x1, y1, x2, y2 = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0], x[:, 2] - x[:, 0], y[:, 2] - y[:, 0]
    seen_area = np.abs(x1 * y2 - x2 * y1) / 2
    total = seen_area.sum()
    count = min(int(total / scene.frame**2 * shading.dots), MOST_DOTS)
    found = np.searchsorted(np.cumsum(seen_area), rng.random(count) * total)
    corners = faces[np.minimum(found, len(faces) - 1)]  # (N, 3)
    weights = _barycentric(rng, count)[:, :, None]  # (N, 3, 1)
    sample = (scene.screen[corners] * weights).sum(1)
    normal = (scene.normals[corners] * weights).sum(1)
    tone = (normal @ np.asarray(shading.light) + 1) / 2
    kept = is_visible(scene, sample) & (rng.random(count) < (1 - tone) ** 2.5)
    dots: Points = sample[kept, :2]
    return dots


def _barycentric(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return (N, 3) weights that are uniform over a triangle."""
    pair = rng.random((count, 2))
    pair = np.where(pair.sum(1, keepdims=True) > 1, 1 - pair, pair)
    return np.column_stack([1 - pair.sum(1), pair])


def _level_lines(
    scene: Scene, faces: Indices, field: NDArray[np.float64], levels: Sequence[float]
) -> Segments:
    """Return where a (V,) field passes each level on (T, 3) faces, cut down to what is seen."""
    starts, ends = [np.zeros((0, 3))], [np.zeros((0, 3))]
    values = field[faces]  # (T, 3)
    for level in levels:
        above = values > level
        count = above.sum(1)
        crossed = np.flatnonzero((count == 1) | (count == 2))
        # The corner that stands alone on its side of the level, and the other two.
        alone = np.where(count[crossed] == 1, above[crossed].argmax(1), (~above[crossed]).argmax(1))
        corners = [(alone + step) % 3 for step in range(3)]
        o, a, b = (faces[crossed, corner] for corner in corners)
        so, sa, sb = (values[crossed, corner] - level for corner in corners)
        origin = scene.screen[o]
        starts.append(origin + (scene.screen[a] - origin) * (so / (so - sa))[:, None])
        ends.append(origin + (scene.screen[b] - origin) * (so / (so - sb))[:, None])
    segments, _ = visible(scene, np.concatenate(starts), np.concatenate(ends))
    return segments
