"""One triangle mesh a design, with the table of its edges that no view changes.

All parts are united in one boolean operation, which gives true joint lines where parts meet; every
triangle still knows its part, so that claimed and unclaimed parts can be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from distill.synthetic.geometry import Points, Solid, union
from distill.synthetic.parts import Part

Indices: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

CREASE_DEGREES = 30.0
"""An edge whose faces turn more than this is drawn; facets of round bodies turn less."""

LARGE_FLAT = 0.02
"""Area, in squares of the largest extent, from which a flat face meets a rounding visibly."""

SLIVER = 2e-3
"""Altitude, as a share of the largest extent, below which a triangle's own normal is noise."""


@dataclass(frozen=True)
class Mesh:
    """A design's surface, centred, within a ball of radius 1.

    Attributes:
        vertices: (V, 3).
        normals: (V, 3) smooth normals; a vertex on a crease stands once for every side of it.
        triangles: (T, 3) rows of `vertices`.
        face_normals: (T, 3); a sliver's is borrowed from its neighbour.
        areas: (T,) area of each triangle.
        flat: (T,) lies in a flat face.
        flat_area: (T,) area of the flat face around it, in squares of the largest extent.
        claimed: (T,) belongs to a claimed part.
        edges: (E, 2) rows of `vertices`.
        first: (E,) the triangle on one side.
        second: (E,) the triangle on the other side.
        crease: (E,) sharp, or between two parts.
        tangent: (E,) smooth, between a flat face and a rounding.
    """

    vertices: Points
    normals: Points
    triangles: Indices
    face_normals: Points
    areas: NDArray[np.float64]
    flat: Flags
    flat_area: NDArray[np.float64]
    claimed: Flags
    edges: Indices
    first: Indices
    second: Indices
    crease: Flags
    tangent: Flags


@dataclass(frozen=True)
class _Surface:
    """The united solid as arrays: (V, 3) vertices, (T, 3) triangles, (T,) part and face."""

    vertices: Points
    triangles: Indices
    merged: Indices
    part: Indices
    face: Indices
    claimed: Flags


@dataclass(frozen=True)
class _Edges:
    """Edges, the two triangles beside each, and each half edge's triangle across."""

    ends: Indices
    first: Indices
    second: Indices
    across: Indices


def build_mesh(parts: Sequence[Part]) -> Mesh:
    """Unite parts and tabulate their edges.

    Args:
        parts: At least one, none empty.

    Returns:
        The mesh, ready to be drawn from any side.
    """
    surface = _unite(parts)
    vertices, triangles = surface.vertices, surface.triangles
    extent = float(np.ptp(vertices, axis=0).max())
    edges = _pair_half_edges(surface.merged[triangles], len(vertices))
    normals, doubled = _face_normals(vertices, triangles)
    _mend_slivers(normals, doubled, vertices, triangles, edges.across, extent)
    smooth = _smooth_normals(vertices, triangles, normals * doubled[:, None])
    flat, group, group_area = _flat_faces(surface, normals, doubled, smooth)
    group_area = group_area / extent**2
    first, second = edges.first, edges.second
    turns = (normals[first] * normals[second]).sum(1) < np.cos(np.radians(CREASE_DEGREES))
    crease = turns | (surface.part[first] != surface.part[second])
    large = flat & (group_area > LARGE_FLAT)
    differs = (large[first] != large[second]) & (flat[first] != flat[second])
    middle = (vertices.min(0) + vertices.max(0)) / 2
    radius = np.linalg.norm(vertices - middle, axis=1).max()
    return Mesh(
        vertices=(vertices - middle) / radius,
        normals=smooth,
        triangles=triangles,
        face_normals=normals,
        areas=doubled / 2 / radius**2,
        flat=flat,
        flat_area=group_area,
        claimed=surface.claimed,
        edges=edges.ends,
        first=first,
        second=second,
        crease=crease,
        tangent=~crease & differs & (group[first] != group[second]),
    )


def _unite(parts: Sequence[Part]) -> _Surface:
    solids: list[Solid] = [part.solid.as_original() for part in parts]
    claimed_of = {
        solid.original_id(): part.claimed for solid, part in zip(solids, parts, strict=True)
    }
    whole = union(solids) if len(solids) > 1 else solids[0]
    # Splits the vertices at creases, so that each side gets a smooth normal of its own.
    raw = whole.calculate_normals(0, CREASE_DEGREES).to_mesh()
    vertices = np.asarray(raw.vert_properties, np.float64)[:, :3]
    runs = np.diff(np.asarray(raw.run_index, np.int64) // 3)
    part = np.repeat(np.asarray(raw.run_original_id, np.int64), runs)
    merged = np.arange(len(vertices))
    merged[np.asarray(raw.merge_from_vert, np.int64)] = np.asarray(raw.merge_to_vert, np.int64)
    return _Surface(
        vertices=vertices,
        triangles=np.asarray(raw.tri_verts, np.int64),
        merged=merged,
        part=part,
        face=np.asarray(raw.face_id, np.int64),
        claimed=np.array([claimed_of[number] for number in part.tolist()]),
    )


def _pair_half_edges(triangles: Indices, vertex_count: int) -> _Edges:
    """Find the two triangles beside every edge of (T, 3) triangles with merged vertices."""
    half = np.stack([triangles, np.roll(triangles, -1, 1)], -1).reshape(-1, 2)  # (3T, 2)
    owner = np.repeat(np.arange(len(triangles)), 3)
    ordered = np.sort(half, 1)
    key = ordered[:, 0] * vertex_count + ordered[:, 1]
    order = np.argsort(key, kind="stable")
    twin = np.flatnonzero(key[order][1:] == key[order][:-1])
    twin = twin[np.r_[True, np.diff(twin) > 1]]  # an edge of four faces: two pairs
    one, other = order[twin], order[twin + 1]
    across = np.full(len(half), -1)
    across[one], across[other] = owner[other], owner[one]
    return _Edges(half[one], owner[one], owner[other], across)


def _face_normals(vertices: Points, triangles: Indices) -> tuple[Points, NDArray[np.float64]]:
    """Return (T, 3) unit normals and (T,) twice the areas."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    doubled = np.linalg.norm(normals, axis=1) + 1e-20
    return normals / doubled[:, None], doubled


def _mend_slivers(
    normals: Points,
    doubled: NDArray[np.float64],
    vertices: Points,
    triangles: Indices,
    across: Indices,
    extent: float,
) -> None:
    """Give slivers, in place, the normal of the neighbour across their longest edge.

    Booleans leave slivers whose own normal may point anywhere: they would draw rows of ticks.
    """
    sides = vertices[triangles] - vertices[np.roll(triangles, -1, 1)]
    lengths = np.linalg.norm(sides, axis=2)  # (T, 3)
    slivers = np.flatnonzero(doubled < lengths.max(1) * SLIVER * extent)
    neighbours = across[3 * slivers + lengths[slivers].argmax(1)]
    known = neighbours >= 0
    for _ in range(3):  # slivers come in rows
        normals[slivers[known]] = normals[neighbours[known]]


def _smooth_normals(vertices: Points, triangles: Indices, weighted: Points) -> Points:
    """Return (V, 3) normals weighted by area: a flat beside a small rounding stays flat."""
    smooth = np.zeros_like(vertices)
    for axis in range(3):
        for corner in range(3):
            smooth[:, axis] += np.bincount(
                triangles[:, corner], weighted[:, axis], minlength=len(vertices)
            )
    unit: Points = smooth / (np.linalg.norm(smooth, axis=1, keepdims=True) + 1e-20)
    return unit


def _flat_faces(
    surface: _Surface, normals: Points, doubled: NDArray[np.float64], smooth: Points
) -> tuple[Flags, Indices, NDArray[np.float64]]:
    """Return (T,) lies in a flat face, (T,) number of its face, (T,) area of that face.

    Decided for a coplanar face as a whole, by area, or radial lines appear on tops and panels.
    """
    agreement = (smooth[surface.triangles] * normals[:, None]).sum(-1).min(1)
    flat = agreement > 1 - 0.5 * 0.03**2  # within 0.03 radians
    key = np.stack([surface.part, surface.face], -1)
    group = np.unique(key, axis=0, return_inverse=True)[1].ravel()
    total = np.bincount(group, doubled)
    share = np.bincount(group, doubled * flat) / total
    return share[group] > 0.5, group, total[group] / 2
