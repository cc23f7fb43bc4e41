"""A part as a mesh that is seen from both sides, with the lines that its authors drew on it.

Which side of a face is outside is not known of all parts, so that every face stands twice, once for
each side; of the two, one faces the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.ldraw.archive import Corners
from distill.ldraw.parts import Shape
from distill.synthetic.geometry import Points
from distill.synthetic.mesh import CREASE_DEGREES, Flags, Indices, Mesh

AXES = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""(3, 3) rows: right, away from the viewer, up, in LDraw's axes."""

SAME = 0.02
"""Points nearer than this, in LDraw units, are one."""

NEAR = 0.02
"""How far from their line the deciding points are put, as a share of their distance: on the same
side, but never outside the part, whose extent they would change."""

FLAT = 1 - 0.5 * 0.03**2
"""Cosine, within 0.03 radians, from which a corner's smooth normal is its face's own."""


@dataclass(frozen=True)
class Surface:
    """A part, centred, within a ball of radius 1.

    Attributes:
        mesh: Its faces, each seen from both sides; it has no edges of its own, its vertices are
            also those of the lines.
        edges: (E, 2) rows of the mesh's vertices: sharp edges.
        conditionals: (K, 4) rows of the mesh's vertices: ends of a line, and the two points that
            decide whether it is drawn.
    """

    mesh: Mesh
    edges: Indices
    conditionals: Indices


def build_surface(shape: Shape) -> Surface:
    """Make a part ready to be drawn from any side; its shape has at least one face."""
    triangles = _with_area(shape.triangles @ AXES.T)  # (T, 3, 3)
    edges = _once(shape.edges @ AXES.T)
    conditionals = _once(shape.conditionals @ AXES.T)
    conditionals[:, 2:] = conditionals[:, :1] + NEAR * (conditionals[:, 2:] - conditionals[:, :1])
    of_lines = np.concatenate([edges.reshape(-1, 3), conditionals.reshape(-1, 3)])
    mesh = _two_sided(triangles, of_lines)
    rows = np.arange(6 * len(triangles), len(mesh.vertices))
    split = 2 * len(edges)
    return Surface(mesh, rows[:split].reshape(-1, 2), rows[split:].reshape(-1, 4))


def _two_sided(triangles: Corners, others: Points) -> Mesh:
    """Return (T, 3, 3) triangles as a mesh of 2T faces.

    Its vertices are the corners of the faces, those of their other sides, and `others`.
    """
    normals, areas = _face_normals(triangles)
    smooth = _smooth_normals(triangles, normals, areas)  # (T, 3, 3)
    flat, flat_area = _flat_faces(triangles, normals, areas, smooth)
    corners, smooth = triangles.reshape(-1, 3), smooth.reshape(-1, 3)  # (3T, 3)
    middle = (corners.min(0) + corners.max(0)) / 2
    radius = float(np.linalg.norm(corners - middle, axis=1).max())
    rows = np.arange(len(corners)).reshape(-1, 3)
    no_edges, not_set = np.zeros((0, 2), np.int64), np.zeros(0, bool)
    return Mesh(
        vertices=(np.concatenate([corners, corners, others]) - middle) / radius,
        normals=np.concatenate([smooth, -smooth, np.zeros_like(others)]),
        triangles=np.concatenate([rows, rows[:, ::-1] + len(corners)]),
        face_normals=np.concatenate([normals, -normals]),
        areas=np.tile(areas / radius**2, 2),
        flat=np.tile(flat, 2),
        flat_area=np.tile(flat_area / float(np.ptp(corners, axis=0).max()) ** 2, 2),
        claimed=np.ones(2 * len(triangles), bool),
        edges=no_edges,
        first=no_edges[:, 0],
        second=no_edges[:, 1],
        crease=not_set,
        tangent=not_set,
    )


def _with_area(triangles: Corners) -> Corners:
    """Return the triangles that have an area."""
    sides = triangles[:, 1:] - triangles[:, :1]
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    kept: Corners = triangles[area > 1e-6]
    return kept


def _points_as_numbers(points: Points) -> Indices:
    """Return (N,) numbers, equal for (N, 3) points that are one."""
    grid = np.round(points / SAME).astype(np.int64)
    if not len(grid):
        return np.zeros(0, np.int64)
    x, y, z = (grid - grid.min(0)).T
    key = (x * (y.max() + 1) + y) * (z.max() + 1) + z
    return np.unique(key, return_inverse=True)[1].ravel()


def _once(lines: Corners) -> Corners:
    """Return lines whose two ends differ, each once: parts that touch share many."""
    ends = _points_as_numbers(lines[:, :2].reshape(-1, 3)).reshape(-1, 2)
    low, high = ends.min(1), ends.max(1)
    key = np.where(low == high, -1, low * (ends.max(initial=0) + 1) + high)
    values, first = np.unique(key, return_index=True)
    kept: Corners = lines[np.sort(first[values >= 0])]
    return kept.copy()


def _face_normals(triangles: Corners) -> tuple[Points, NDArray[np.float64]]:
    """Return (T, 3) unit normals and (T,) areas."""
    a, b, c = (triangles[:, corner] for corner in range(3))
    normals = np.cross(b - a, c - a)
    doubled = np.linalg.norm(normals, axis=1)
    return normals / doubled[:, None], doubled / 2


def _smooth_normals(triangles: Corners, normals: Points, areas: NDArray[np.float64]) -> Corners:
    """Return (T, 3, 3) normals of every face's corners, smooth over edges that are not sharp.

    A neighbour counts with whichever of its sides turns less: neighbours may be wound either way.
    """
    vertex = _points_as_numbers(triangles.reshape(-1, 3))  # (3T,)
    order = np.argsort(vertex, kind="stable")
    counts = np.bincount(vertex)
    starts = np.cumsum(counts) - counts
    per_corner = counts[vertex[order]]
    one = np.repeat(order, per_corner)
    number = np.arange(len(one)) - np.repeat(np.cumsum(per_corner) - per_corner, per_corner)
    other = order[np.repeat(starts[vertex[order]], per_corner) + number]
    cosine = (normals[one // 3] * normals[other // 3]).sum(1)
    near = np.abs(cosine) > np.cos(np.radians(CREASE_DEGREES))
    one, other = one[near], other[near]
    weight = areas[other // 3] * np.sign(cosine[near])
    smooth: Points = np.column_stack(
        [
            np.bincount(one, weight * normals[other // 3, axis], minlength=len(vertex))
            for axis in range(3)
        ]
    )
    unit: Corners = smooth / (np.linalg.norm(smooth, axis=1, keepdims=True) + 1e-20)
    return unit.reshape(-1, 3, 3)


def _flat_faces(
    triangles: Corners, normals: Points, areas: NDArray[np.float64], smooth: Corners
) -> tuple[Flags, NDArray[np.float64]]:
    """Return (T,) lies in a flat face, and (T,) area of the plane that it lies in."""
    flat = (smooth * normals[:, None]).sum(-1).min(1) > FLAT
    leading = normals[np.arange(len(normals)), np.abs(normals).argmax(1)]
    planes = normals * np.sign(leading)[:, None]
    height = (planes * triangles[:, 0]).sum(1, keepdims=True)
    key = np.round(np.concatenate([planes * 50, height * 2], 1)).astype(np.int64)
    group = np.unique(key, axis=0, return_inverse=True)[1].ravel()
    total = np.bincount(group, areas).astype(np.float64)
    share = np.bincount(group, areas * flat) / total
    return share[group] > 0.5, total[group]
