"""Solids from which products are put together: boxes, lathe work, lofts, tubes.

Axes: x to the right, y away from the viewer (the front of a product faces -y), z up. Lengths have
no unit; a design is scaled to a common size later. Outlines are (N, 2), paths (N, 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_retrieval.errors import MissingExtraError

try:
    import manifold3d
except ModuleNotFoundError as error:
    if error.name != "manifold3d":
        raise
    raise MissingExtraError.of("making drawings", "train") from error

Solid: TypeAlias = Any
"""A `manifold3d.Manifold`."""

Outline: TypeAlias = Any
"""A `manifold3d.CrossSection`."""

Points: TypeAlias = NDArray[np.float64]
"""(N, 2) or (N, 3) float64."""

Vector: TypeAlias = Sequence[float] | NDArray[np.float64]
"""Three numbers: a place, or degrees about x, y and z."""

_Manifold = manifold3d.Manifold
_CrossSection = manifold3d.CrossSection


def points(*rows: ArrayLike) -> Points:
    """Return rows of coordinates, single points or arrays of points, as one array."""
    return np.concatenate([np.atleast_2d(np.asarray(row, float)) for row in rows])


def vector(x: float, y: float, z: float) -> Points:
    """Return a place or a step, to reckon with."""
    return np.array([x, y, z], float)


def box(width: float, depth: float, height: float, at: Vector = (0, 0, 0)) -> Solid:
    """Return a box; `at` is the middle of its underside."""
    x, y, z = at
    return _Manifold.cube((width, depth, height), True).translate((x, y, z + height / 2))


def ball(radius: float, at: Vector = (0, 0, 0), sides: int = 40) -> Solid:
    """Return a ball about a point."""
    return _Manifold.sphere(radius, sides).translate(tuple(at))


def cylinder(
    radius: float, height: float, z: float = 0, *, top: float | None = None, sides: int = 48
) -> Solid:
    """Return an upright cylinder, or a cone frustum where `top` is another radius."""
    solid = _Manifold.cylinder(height, radius, radius if top is None else top, sides)
    return solid.translate((0, 0, z))


def torus(radius: float, thickness: float, z: float = 0, *, sides: int = 64) -> Solid:
    """Return a lying ring; `thickness` is the radius of its wire."""
    wire = _CrossSection.circle(thickness, 16).translate((radius, 0))
    return wire.revolve(sides).translate((0, 0, z))


def polygon(outline: ArrayLike) -> Outline:
    """Return the area inside an outline."""
    rows = np.asarray(outline, float).tolist()
    return _CrossSection([rows], manifold3d.FillRule.NonZero)


def circle(radius: float, x: float = 0, y: float = 0, *, sides: int = 48) -> Outline:
    """Return a disc."""
    return _CrossSection.circle(radius, sides).translate((x, y))


def rectangle(width: float, depth: float, radius: float = 0) -> Outline:
    """Return a rectangle about the origin with true round corners, so that its flats stay flat."""
    radius = min(radius, width * 0.499, depth * 0.499)
    if radius < 1e-3:
        return _CrossSection.square((width, depth), True)
    inner = _CrossSection.square((width - 2 * radius, depth - 2 * radius), True)
    return inner.offset(radius, manifold3d.JoinType.Round, 2, 32)


def extrude_up(outline: Outline, height: float, z: float = 0) -> Solid:
    """Raise an (x, y) outline by a height."""
    return _Manifold.extrude(outline, height).translate((0, 0, z))


def extrude_back(outline: Outline, depth: float, y: float = 0) -> Solid:
    """Push an (x, z) outline, seen from the front, through a depth centred on y."""
    return _Manifold.extrude(outline, depth).rotate((90, 0, 0)).translate((0, y + depth / 2, 0))


def extrude_across(outline: Outline, width: float, x: float = 0) -> Solid:
    """Push a (y, z) outline, seen from the side, through a width centred on x."""
    return _Manifold.extrude(outline, width).rotate((90, 0, 90)).translate((x - width / 2, 0, 0))


def slab(width: float, depth: float, height: float, radius: float = 0, z: float = 0) -> Solid:
    """Return a plate with rounded vertical edges."""
    return extrude_up(rectangle(width, depth, radius), height, z)


def revolve(profile: ArrayLike, sides: int = 64) -> Solid:
    """Turn a (radius, z) profile on the lathe."""
    return polygon(profile).revolve(sides)


def turned(profile: ArrayLike, sides: int = 64) -> Solid:
    """Turn an outer (radius, z) profile, bottom to top, into a massive body."""
    outer = np.asarray(profile, float)
    closed = points([0, outer[0, 1]], outer, [0, outer[-1, 1]])
    return revolve(closed, sides)


def vessel(profile: ArrayLike, wall: float, sides: int = 64) -> Solid:
    """Turn an outer (radius, z) profile, bottom to top, into an open vessel."""
    outer = np.asarray(profile, float)
    floor = outer[0, 1]
    inner = outer[outer[:, 1] > floor + wall][::-1] - [wall, 0]
    corner = [np.interp(floor + wall, outer[:, 1], outer[:, 0]) - wall, floor + wall]
    inner = np.maximum(points(inner, corner), [0.002, floor])
    return revolve(points([0, floor], outer, inner, [0, floor + wall]), sides)


def placed(solid: Solid, at: Vector = (0, 0, 0), turn: Vector = (0, 0, 0)) -> Solid:
    """Turn a solid about the axes x, y, z by degrees, then move it."""
    return solid.rotate(tuple(turn)).translate(tuple(at))


def mirrored(solid: Solid) -> Solid:
    """Return the mirror image, left for right."""
    return solid.mirror((1, 0, 0))


def union(solids: Sequence[Solid]) -> Solid:
    """Return several solids as one."""
    return _Manifold.batch_boolean(list(solids), manifold3d.OpType.Add)


def hull(corners: ArrayLike) -> Solid:
    """Return the convex hull of (N, 3) points."""
    return _Manifold.hull_points(np.asarray(corners, float).tolist())


def warped(solid: Solid, move: Callable[[Points], Points], *, step: float = 0) -> Solid:
    """Move every vertex by a function of (N, 3) points, after cutting edges down to `step`."""
    fine = solid.refine_to_length(step) if step > 0 else solid
    return fine.warp_batch(move)


def spline(nodes: ArrayLike, steps: int = 8, *, closed: bool = False) -> Points:
    """Return a Catmull-Rom curve through (N, D) nodes, `steps` points between two of them."""
    node = np.asarray(nodes, float)
    if closed:
        padded = np.concatenate([node[-1:], node, node[:2]])
    else:
        padded = np.concatenate([2 * node[:1] - node[1:2], node, 2 * node[-1:] - node[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for i in range(len(node) if closed else len(node) - 1):
        a, b, c, d = padded[i : i + 4]
        cubic = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
        pieces.append(0.5 * (cubic + (3 * b - a - 3 * c + d) * t**3))
    curve = np.concatenate(pieces)
    return curve if closed else np.concatenate([curve, node[-1:]])


def height_spline(nodes: ArrayLike, steps: int = 8) -> Points:
    """Return a curve through (radius, z) nodes that never turns down, for profiles and lofts."""
    curve = spline(nodes, steps)
    curve[:, 1] = np.maximum.accumulate(curve[:, 1]) + np.arange(len(curve)) * 1e-5
    curve[:, 0] = np.maximum(curve[:, 0], 0.01)
    return curve


def loft(rings: ArrayLike) -> Solid:
    """Return the solid through (R, M, 3) closed rings, closed by a fan at either end."""
    ring = np.asarray(rings, np.float64)
    count, size, _ = ring.shape
    vertices = np.concatenate([ring.reshape(-1, 3), [ring[0].mean(0)], [ring[-1].mean(0)]])
    start = np.arange(count - 1)[:, None] * size
    this = np.arange(size)[None]
    following = (this + 1) % size
    a, b = start + this, start + following
    c, d = a + size, b + size
    sides = [np.stack(corner, -1).reshape(-1, 3) for corner in ((a, b, d), (a, d, c))]
    this, following = this[0], following[0]
    bottom = np.stack([following, this, np.full(size, count * size)], -1)
    last = (count - 1) * size
    top = np.stack([last + this, last + following, np.full(size, count * size + 1)], -1)
    faces = np.concatenate([*sides, bottom, top])
    solid = _from_faces(vertices, faces)
    return solid if solid.volume() > 0 else _from_faces(vertices, faces[:, ::-1])


def _from_faces(vertices: Points, faces: NDArray[np.int64]) -> Solid:
    corners = np.ascontiguousarray(faces, np.uint32)
    return _Manifold(manifold3d.Mesh(np.asarray(vertices, np.float32), corners))


def superellipse(width: float, depth: float, power: float = 2.5, count: int = 48) -> Points:
    """Return an outline between an ellipse (power 2) and a rectangle (power 8 and above)."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    x = width / 2 * np.sign(cos) * np.abs(cos) ** (2 / power)
    y = depth / 2 * np.sign(sin) * np.abs(sin) ** (2 / power)
    return np.stack([x, y], -1)


def rounded_outline(width: float, depth: float, radius: float, count: int = 40) -> Points:
    """Return a rectangle's outline with round corners, `count` points, a multiple of 4."""
    radius = min(radius, width / 2.001, depth / 2.001)
    corner, step = np.divmod(np.arange(count), count // 4)
    angle = corner * np.pi / 2 + step / (count // 4 - 1) * np.pi / 2
    x = np.array([1, -1, -1, 1])[corner] * (width / 2 - radius) + radius * np.cos(angle)
    y = np.array([1, 1, -1, -1])[corner] * (depth / 2 - radius) + radius * np.sin(angle)
    return np.stack([x, y], -1)


def lifted(outline: Points, z: float, at: Sequence[float] = (0, 0)) -> Points:
    """Return an (N, 2) outline as an (N, 3) ring at a height."""
    return np.column_stack([outline + np.asarray(at, float), np.full(len(outline), z)])


def stack(rows: Sequence[Sequence[float]], power: float = 2.5, count: int = 48) -> Solid:
    """Loft superellipses; each row is (z, width, depth) or (z, width, depth, x, y)."""
    rings = []
    for z, width, depth, *offset in rows:
        x, y = [*offset, 0, 0][:2]
        rings.append(lifted(superellipse(width, depth, power, count), z, (x, y)))
    return loft(rings)


def round_stack(rows: Sequence[Sequence[float]], corner: float, count: int = 64) -> Solid:
    """Loft rounded rectangles; each row is (z, width, depth); `corner` is their radius."""
    return loft([lifted(rounded_outline(w, d, corner, count), z) for z, w, d in rows])


def cushion(
    width: float, depth: float, height: float, edge: float, *, corner: float = 0, z: float = 0
) -> Solid:
    """Return a block with every edge rounded.

    Args:
        width: Along x.
        depth: Along y.
        height: Along z.
        edge: Radius of the edges of top and underside.
        corner: Radius of the upright edges; at least `edge`.
        z: Height of the underside.
    """
    edge = min(edge, height / 2.01, width / 2.2, depth / 2.2)
    corner = max(corner, edge * 1.01)
    angles = np.radians(np.linspace(0, 90, 5))
    inset = edge * (1 - np.sin(angles))

    def ring(level: float, inward: float) -> Points:
        outline = rounded_outline(width - 2 * inward, depth - 2 * inward, corner - inward)
        return lifted(outline, level)

    lower = [ring(z + edge - edge * np.cos(a), i) for a, i in zip(angles, inset, strict=True)]
    upper = [
        ring(z + height - edge + edge * np.cos(a), i)
        for a, i in zip(angles[::-1], inset[::-1], strict=True)
    ]
    return loft(lower + upper)


def tube(path: ArrayLike, radius: ArrayLike, *, sides: int = 20, flatness: float = 1.0) -> Solid:
    """Sweep a circle, or an ellipse of that `flatness`, along an (N, 3) path.

    Args:
        path: (N, 3) points.
        radius: One number, or one a point.
        sides: Of the section; at least 20 unless its facets shall show.
        flatness: Second half-axis as a multiple of the first.
    """
    nodes = np.asarray(path, float)
    tangents = np.gradient(nodes, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True) + 1e-12
    across = np.cross(tangents[0], [0.0, 0.0, 1.0])
    if np.linalg.norm(across) <= 0.1:
        across = np.array([1.0, 0.0, 0.0])
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    rings = []
    for node, tangent, half in zip(
        nodes, tangents, np.broadcast_to(np.asarray(radius, float), len(nodes)), strict=True
    ):
        across = across - tangent * (across @ tangent)  # carried along: no twist
        across /= np.linalg.norm(across) + 1e-12
        rings.append(node + half * (cos * across + flatness * sin * np.cross(tangent, across)))
    return loft(rings)
