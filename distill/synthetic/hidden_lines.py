"""What of a mesh is seen from a side: a depth buffer, and lines tested against it.

Screen coordinates are pixels of a square frame, x to the right, y down; a larger depth is nearer.
Segments are (N, 4): x0, y0, x1, y1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from distill.synthetic.geometry import Points
from distill.synthetic.mesh import Flags, Indices, Mesh

Segments: TypeAlias = NDArray[np.float64]
"""(N, 4) float64: x0, y0, x1, y1."""


@dataclass(frozen=True)
class Camera:
    """Where a drawing is seen from.

    Attributes:
        azimuth: Degrees about the vertical; 0 is the front, 90 the right side.
        elevation: Degrees above the ground.
        perspective: 0 for parallel projection, up to about 0.3 for a strong one.
        fit: How far the frame follows the view's own extent: 1 fills the frame with every view,
            0 keeps one scale for all views of the design.
        margin: Share of the frame that stays empty on each side.
    """

    azimuth: float
    elevation: float
    perspective: float = 0.0
    fit: float = 1.0
    margin: float = 0.06

    def axes(self) -> Points:
        """Return (3, 3) rows: screen right, screen up, towards the viewer."""
        azimuth, elevation = np.radians([self.azimuth, self.elevation])
        toward = np.array(
            [
                np.sin(azimuth) * np.cos(elevation),
                -np.cos(azimuth) * np.cos(elevation),
                np.sin(elevation),
            ]
        )
        right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        return np.array([right, np.cross(toward, right), toward])


@dataclass(frozen=True)
class Scene:
    """A mesh as one camera sees it.

    Attributes:
        mesh: What is seen.
        frame: Side of the frame in pixels.
        screen: (V, 3) x, y and depth of every vertex.
        normals: (V, 3) smooth normals in camera axes.
        face_normals: (T, 3) in camera axes.
        front: (T,) faces the viewer.
        far: (frame, frame) the farthest depth in each pixel's 3 x 3 neighbourhood.
        tolerance: Depth by which a line may lie behind `far` and still be seen.
    """

    mesh: Mesh
    frame: int
    screen: Points
    normals: Points
    face_normals: Points
    front: Flags
    far: NDArray[np.float32]
    tolerance: float


def look(mesh: Mesh, camera: Camera, frame: int) -> Scene:
    """Project a mesh into a square frame of that many pixels and fill its depth buffer."""
    axes = camera.axes()
    turned = mesh.vertices @ axes.T
    if camera.perspective:
        # Depth is 1 / distance, which stays linear on the screen.
        weight = 1 / (1 - camera.perspective * turned[:, 2])
        flat, depth = turned[:, :2] * weight[:, None], weight / camera.perspective
    else:
        flat, depth = turned[:, :2], turned[:, 2]
    low, high = flat.min(0), flat.max(0)
    extent = max(float((high - low).max()), 1e-6)
    scale = (1 - 2 * camera.margin) * frame / (extent**camera.fit * 2 ** (1 - camera.fit))
    flat = (flat - (low + high) / 2) * scale * [1, -1] + frame / 2
    face_normals = mesh.face_normals @ axes.T
    centres = turned[mesh.triangles].mean(1)
    facing = face_normals[:, 2] - camera.perspective * (face_normals * centres).sum(1)
    front = facing > 1e-4
    screen = np.column_stack([flat, depth])
    buffer = depth_buffer(screen, mesh.triangles[front], frame)
    return Scene(
        mesh=mesh,
        frame=frame,
        screen=screen,
        normals=mesh.normals @ axes.T,
        face_normals=face_normals,
        front=front,
        far=_farthest_neighbour(buffer),
        # A pixel's depth of a surface at 45 degrees; more lets edges shine through thin panels.
        tolerance=1.0 / scale + 0.002,
    )


def _spread(counts: Indices) -> tuple[Indices, Indices]:
    """Return, for items repeated `counts` times, each copy's item and its number in the item."""
    item = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts, counts)
    return item, number


def depth_buffer(screen: Points, triangles: Indices, frame: int) -> NDArray[np.float32]:
    """Return the nearest depth of (T, 3) triangles at every pixel, -inf where there is none.

    Scanlines of all triangles at once: first every row that a triangle crosses, then every pixel
    of that row.
    """
    x, y, z = (screen[:, axis][triangles] for axis in range(3))  # (T, 3) each
    top = np.maximum(np.ceil(y.min(1) - 0.5), 0).astype(np.int64)
    bottom = np.minimum(np.floor(y.max(1) - 0.5), frame - 1).astype(np.int64)
    owner, number = _spread(np.maximum(bottom - top + 1, 0))
    row = number + top[owner]
    left, right = _crossings(x[owner], y[owner], row + 0.5)
    start = np.maximum(np.ceil(left - 0.5), 0).astype(np.int64)
    stop = np.minimum(np.floor(right - 0.5), frame - 1).astype(np.int64)
    span, number = _spread(np.maximum(stop - start + 1, 0))
    column = number + start[span]
    owner, row = owner[span], row[span]
    slope_x, slope_y = _depth_slopes(x, y, z)
    depth = (
        z[owner, 0]
        + slope_x[owner] * (column + 0.5 - x[owner, 0])
        + slope_y[owner] * (row + 0.5 - y[owner, 0])
    )
    depth = np.clip(depth, z.min(1)[owner], z.max(1)[owner]).astype(np.float32)
    buffer = np.full(frame * frame, -np.inf, np.float32)
    np.maximum.at(buffer, row * frame + column, depth)
    return buffer.reshape(frame, frame)


def _crossings(
    x: Points, y: Points, level: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where (R, 3) triangles begin and end on the rows at (R,) levels."""
    left, right = np.full(len(level), 1e9), np.full(len(level), -1e9)
    for corner in range(3):
        following = (corner + 1) % 3
        xa, ya, xb, yb = x[:, corner], y[:, corner], x[:, following], y[:, following]
        crosses = (level >= np.minimum(ya, yb)) & (level <= np.maximum(ya, yb)) & (ya != yb)
        at = xa + (level - ya) * (xb - xa) / np.where(ya == yb, 1.0, yb - ya)
        left = np.where(crosses, np.minimum(left, at), left)
        right = np.where(crosses, np.maximum(right, at), right)
    return left, right


def _depth_slopes(
    x: Points, y: Points, z: Points
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how depth grows with x and with y on each of (T, 3) triangles."""
    x1, y1, z1 = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0], z[:, 1] - z[:, 0]
    x2, y2, z2 = x[:, 2] - x[:, 0], y[:, 2] - y[:, 0], z[:, 2] - z[:, 0]
    area = x1 * y2 - x2 * y1
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    return (z1 * y2 - z2 * y1) / area, (z2 * x1 - z1 * x2) / area


def _farthest_neighbour(buffer: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the smallest depth in the 3 x 3 pixels around each."""
    padded = np.pad(buffer, 1, mode="edge")
    rows = np.minimum(np.minimum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return np.minimum(np.minimum(rows[:-2], rows[1:-1]), rows[2:])


def visible(scene: Scene, starts: Points, ends: Points) -> tuple[Segments, Indices]:
    """Cut segments down to what is seen.

    Args:
        scene: What hides them.
        starts: (N, 3) screen points.
        ends: (N, 3) screen points.

    Returns:
        (M, 4) segments, and (M,) the row that each was cut from.
    """
    if not len(starts):
        return np.zeros((0, 4)), np.zeros(0, np.int64)
    lengths = np.hypot(*(ends - starts)[:, :2].T)
    counts = np.maximum(np.ceil(lengths).astype(np.int64), 1) + 1  # a sample a pixel
    source, number = _spread(counts)
    share = number / (counts[source] - 1)
    sample = starts[source] + (ends - starts)[source] * share[:, None]
    seen = is_visible(scene, sample)
    first = np.r_[True, source[1:] != source[:-1]]
    last = np.r_[first[1:], True]
    begins = np.flatnonzero(seen & (first | ~np.r_[False, seen[:-1]]))
    stops = np.flatnonzero(seen & (last | ~np.r_[seen[1:], False]))
    longer = stops > begins
    begins, stops = begins[longer], stops[longer]
    return np.column_stack([sample[begins, :2], sample[stops, :2]]), source[begins]


def is_visible(scene: Scene, sample: Points) -> Flags:
    """Return for (N, 3) screen points whether nothing lies before them."""
    column = np.clip(sample[:, 0].astype(np.int64), 0, scene.frame - 1)
    row = np.clip(sample[:, 1].astype(np.int64), 0, scene.frame - 1)
    seen: Flags = sample[:, 2] >= scene.far[row, column] - scene.tolerance
    return seen


@dataclass(frozen=True)
class FeatureLines:
    """The lines that make a shape, (N, 4) each, by what they are.

    `outline` is where the surface turns away from the viewer; `crease` a sharp edge or a joint of
    parts; `tangent` where a flat meets a rounding. The broken ones belong to unclaimed parts.
    """

    outline: Segments
    crease: Segments
    tangent: Segments
    broken_outline: Segments
    broken_crease: Segments


def feature_lines(scene: Scene) -> FeatureLines:
    """Return the visible outlines, creases and tangent edges of a scene."""
    mesh, front = scene.mesh, scene.front
    first, second = front[mesh.first], front[mesh.second]
    silhouette = first != second
    tangent = mesh.tangent & first & second
    drawn = (first | second) & (mesh.crease | silhouette | tangent)
    ends = mesh.edges[drawn]
    segments, row = visible(scene, scene.screen[ends[:, 0]], scene.screen[ends[:, 1]])
    source = np.flatnonzero(drawn)[row]
    outline = silhouette[source]
    soft = tangent[source] & ~mesh.crease[source]
    claimed_first = first[source] & mesh.claimed[mesh.first[source]]
    claimed_second = second[source] & mesh.claimed[mesh.second[source]]
    claimed = claimed_first | claimed_second  # of a face that is seen
    return FeatureLines(
        outline=segments[outline & claimed],
        crease=segments[~outline & ~soft & claimed],
        tangent=segments[soft & claimed],
        broken_outline=segments[outline & ~claimed],
        broken_crease=segments[~outline & ~soft & ~claimed],
    )
