"""Classes 02 and 03: footwear, hats, suitcases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import (
    Points,
    Solid,
    box,
    cushion,
    cylinder,
    extrude_back,
    loft,
    placed,
    polygon,
    spline,
    stack,
    superellipse,
    tube,
    union,
)
from distill.synthetic.parts import Assembly, Family

SHOE_LENGTH = 2.6


class _Last:
    """The form over which a shoe is made: x from heel to toe, widths and heights along it."""

    def __init__(self, dice: Dice, heel: float) -> None:
        rows = 44
        self.x = -SHOE_LENGTH / 2 * np.cos(np.linspace(0.08, np.pi - 0.08, rows))
        ball_width, toe_lift = dice.uniform(0.84, 0.96), dice.uniform(0.02, 0.12)
        # Closes the outline at heel and toe like a superellipse.
        closing = np.maximum(1 - (np.abs(self.x) / (SHOE_LENGTH / 2)) ** 4, 1e-4) ** 0.4
        self.width = (
            self.along(
                [-0.5, -0.35, -0.05, 0.25, 0.4, 0.5],
                [0.66, 0.7, 0.62, ball_width, ball_width * 0.95, 0.8],
            )
            * closing
        )
        self.ground = self.along(
            [-0.5, -0.25, 0.05, 0.25, 0.5], [heel, heel * 0.8, heel * 0.2, 0, toe_lift]
        )
        self.closing = closing

    def along(self, places: list[float], values: list[float]) -> NDArray[np.float64]:
        """Return a smooth curve through values at places, -0.5 heel to 0.5 toe, for every row."""
        curve = spline(np.column_stack([places, values]), 6)
        result: NDArray[np.float64] = np.interp(self.x / SHOE_LENGTH, curve[:, 0], curve[:, 1])
        return result

    def body(self, widen: float, height: NDArray[np.float64], lift: float, power: float) -> Solid:
        """Loft a body on the last: `height` (R,) above `lift` above the ground line."""
        rings = []
        for x, width, tall, ground in zip(
            self.x * (1 + widen / 3), self.width + widen, height, self.ground, strict=True
        ):
            section = superellipse(width, tall, power, 36)
            rings.append(
                np.column_stack(
                    [np.full(36, x), section[:, 0], section[:, 1] + ground + lift + tall / 2]
                )
            )
        return loft(rings)


def _upper_height(last: _Last, ankle: float, instep: float) -> NDArray[np.float64]:
    heights = last.along(
        [-0.5, -0.42, -0.3, -0.1, 0.1, 0.3, 0.43, 0.5],
        [ankle * 0.9, ankle, ankle, ankle * 0.93, instep, 0.52, 0.42, 0.34],
    )
    return heights * last.closing**0.4


def sneaker(dice: Dice) -> Assembly:
    """Return a laced sports shoe."""
    product = Assembly()
    sole = dice.uniform(0.14, 0.26)
    last = _Last(dice, dice.uniform(0.0, 0.15))
    product.add(last.body(0.08, np.full(len(last.x), sole), 0, 8))
    ankle, instep = dice.uniform(0.85, 1.1), dice.uniform(0.72, 0.8)
    height = _upper_height(last, ankle, instep)
    upper = last.body(0, height, sole - 0.06, 2.6)
    heel = -SHOE_LENGTH * 0.27
    top = sole + ankle * 0.72
    opening = stack(
        [(top, 0.5, 0.3, heel + 0.1, 0), (top + 0.3, 0.95, 0.46, heel, 0), (4, 1.2, 0.6, heel, 0)],
        2.2,
    )
    product.add(upper - opening)
    cover = last.body(0.03, height + 0.02, sole - 0.06, 2.6) - opening
    slant = dice.uniform(5, 20)
    if dice.chance(0.6):
        product.add(cover ^ placed(box(1, 3, 3), (SHOE_LENGTH * 0.53, 0, -0.5), (0, slant, 0)))
    if dice.chance(0.6):
        product.add(cover ^ placed(box(1, 3, 3), (-SHOE_LENGTH * 0.56, 0, -0.5), (0, slant, 0)))
    lean, band = dice.uniform(15, 40), dice.uniform(0.06, 0.12)
    for x in np.linspace(-0.2, 0.2, dice.integer(0, 3)):
        product.add(cover ^ placed(box(band, 3, 0.8), (x, 0, sole), (0, lean, 0)))
    laces = np.linspace(-0.12, 0.5, dice.integer(4, 6))
    levels = np.interp(laces, last.x, last.ground + height) + sole - 0.05
    for x, z in zip(laces, levels, strict=True):
        path = spline(
            [(x - 0.04, -0.26, z - 0.09), (x, 0, z + 0.03), (x - 0.04, 0.26, z - 0.09)], 7
        )
        product.add(tube(path, 0.022, flatness=1.6))
    return product


def boot(dice: Dice) -> Assembly:
    """Return a boot with a shaft."""
    product = Assembly()
    heel, sole = dice.uniform(0.1, 0.3), 0.1
    last = _Last(dice, heel)
    product.add(last.body(0.06, np.full(len(last.x), sole), 0, 8))
    block = stack([(0, 0.5, 0.56, -0.98, 0), (heel + 0.05, 0.6, 0.66, -0.95, 0)], 5)
    if heel > 0.15:
        product.add(block)
    upper = last.body(0, _upper_height(last, 1.0, 0.76), sole - 0.05, 2.6)
    tall, wide = dice.uniform(1.4, 2.3), dice.uniform(0.9, 1.15)
    ankle = -SHOE_LENGTH * 0.27
    shaft = stack(
        [
            (sole + heel + 0.3, 0.9, 0.62, ankle, 0),
            (sole + 0.9, 0.86, 0.64, ankle, 0),
            (sole + tall, wide, 0.74, ankle - 0.02, 0),
        ],
        2.2,
    )
    hollow = stack(
        [
            (sole + tall * 0.7, 0.7, 0.5, ankle, 0),
            (sole + tall + 0.1, wide * 0.88, 0.64, ankle, 0),
        ],
        2.2,
    )
    product.add(union([upper, shaft]) - hollow)
    cuff = stack(
        [
            (sole + tall - 0.2, wide + 0.02, 0.77, ankle - 0.02, 0),
            (sole + tall - 0.03, wide + 0.06, 0.79, ankle - 0.02, 0),
        ],
        2.2,
    )
    style = dice.pick("cuff", "strap", "plain")
    if style == "cuff":
        product.add(cuff - hollow)
    elif style == "strap":
        product.add(
            stack([(sole + 0.85, 0.92, 0.7, ankle, 0), (sole + 0.97, 0.92, 0.7, ankle, 0)], 2.2)
        )
    return product


def sandal(dice: Dice) -> Assembly:
    """Return a sandal: a sole and straps."""
    product = Assembly()
    sole = dice.uniform(0.12, 0.24)
    last = _Last(dice, dice.uniform(0.0, 0.3))
    product.add(last.body(0.08, np.full(len(last.x), sole), 0, 8))
    rise, width = dice.uniform(0.38, 0.5), dice.uniform(2.2, 4.5)
    straps = [0.62, dice.uniform(0.0, 0.25), -0.85][: dice.integer(2, 3)]
    for x in straps:
        half = float(np.interp(x, last.x, last.width)) / 2
        ground = float(np.interp(x, last.x, last.ground))
        up = rise * (1.25 if x < 0.3 else 1.0)
        path = spline(
            [
                (x, -half, ground + sole * 0.6),
                (x, -half * 0.85, ground + sole + up * 0.6),
                (x, 0, ground + sole + up),
                (x, half * 0.85, ground + sole + up * 0.6),
                (x, half, ground + sole * 0.6),
            ],
            7,
        )
        product.add(tube(path, 0.04 * width, flatness=1 / width))
    return product


def hat(dice: Dice) -> Assembly:
    """Return a brimmed hat or a cap with a peak."""
    product = Assembly()
    width, tall, taper = dice.uniform(0.9, 1.05), dice.uniform(0.55, 0.85), dice.uniform(0.78, 0.95)
    long = width * 1.2
    brim, curl = dice.uniform(0.25, 0.5), dice.uniform(0, 0.25)
    if dice.chance(0.6):
        crown = stack(
            [
                (0, width, long),
                (tall * 0.8, width * taper, long * taper),
                (tall * 0.95, width * taper * 0.9, long * taper * 0.9),
                (tall, width * taper * 0.6, long * taper * 0.6),
            ],
            2,
            64,
        )
        product.add(
            crown
            - stack(
                [
                    (-0.1, width * 0.94, long * 0.94),
                    (tall * 0.6, width * taper * 0.9, long * taper * 0.9),
                ],
                2,
                64,
            )
        )
        flat = stack(
            [(-0.02, width + 2 * brim, long + 2 * brim), (0.02, width + 2 * brim, long + 2 * brim)],
            2,
            72,
        )
        flat = flat.refine_to_length(0.1)

        def curled(rows: Points) -> Points:
            x, y, z = rows.T
            return np.column_stack([x, y, z + curl * (2 * x / (width + 2 * brim)) ** 2])

        product.add(
            flat.warp_batch(curled)
            - stack([(-0.2, width * 0.94, long * 0.94), (0.3, width * 0.9, long * 0.9)], 2, 64)
        )
        product.add(
            stack([(0.06, width * 1.015, long * 1.015), (0.2, width * 1.0, long * 1.0)], 2, 64)
        )
        return product
    levels = np.linspace(0, 1, 9)[:-1]
    dome = [(tall * s, width * np.sqrt(1 - s**2.2), long * np.sqrt(1 - s**2.2)) for s in levels]
    product.add(
        stack([(-0.12, width, long), *dome, (tall * 0.985, width * 0.12, long * 0.12)], 2, 64)
        - stack([(-0.2, width * 0.95, long * 0.95), (tall * 0.5, width * 0.7, long * 0.7)], 2, 64)
    )
    peak = extrude_back(polygon(superellipse(width * 0.95, 2 * (long / 2 + brim), 2.4, 56)), 0.03)
    peak = placed(peak, (0, 0, -0.08), (90, 0, 0)).trim_by_plane((0, -1, 0), long * 0.3)
    product.add(
        peak.refine_to_length(0.1).warp_batch(
            lambda rows: np.column_stack(
                [rows[:, 0], rows[:, 1], rows[:, 2] - 0.5 * rows[:, 0] ** 2]
            )
        )
    )
    product.add(cylinder(0.05, 0.05, tall * 0.97, sides=24))
    return product


def suitcase(dice: Dice) -> Assembly:
    """Return a suitcase, most on wheels with a telescopic handle."""
    product = Assembly()
    width, depth, height = dice.uniform(0.8, 1.2), dice.uniform(0.35, 0.5), dice.uniform(1.1, 1.6)
    corner, ribs = dice.uniform(0.06, 0.16), dice.pick(0, 3, 5, 7)
    shell = cushion(width, height, depth, corner * 0.7, corner=corner).rotate((90, 0, 0))
    product.add(shell.translate((0, depth / 2, height / 2)))
    seam = cushion(width + 0.02, height + 0.02, 0.03, 0.005, corner=corner).rotate((90, 0, 0))
    product.add(seam.translate((0, 0.015, height / 2)))
    for x in np.linspace(-0.36, 0.36, ribs) * width:
        product.add_all(
            box(0.035, 0.03, height * 0.8, (x, side * depth / 2, height * 0.1)) for side in (-1, 1)
        )
    grip = dice.uniform(0.12, 0.18)
    loop = [
        (-grip, 0, height - 0.01),
        (-grip * 0.9, 0, height + 0.08),
        (grip * 0.9, 0, height + 0.08),
        (grip, 0, height - 0.01),
    ]
    product.add(tube(spline(loop, 7), 0.022))
    lift = dice.uniform(0.25, 0.6)
    if dice.chance(0.75):
        for x in (-1, 1):
            for y in (-1, 1):
                wheel = placed(
                    cylinder(0.055, 0.06, -0.03, sides=32),
                    (x * width * 0.4, y * depth * 0.3, -0.05),
                    (0, 90, 0),
                )
                product.add(wheel)
        if dice.chance(0.6):
            product.add_pair(box(0.03, 0.02, lift, (width * 0.2, depth * 0.38, height - 0.01)))
            product.add(
                cushion(width * 0.4 + 0.06, 0.05, 0.05, 0.015, z=height + lift - 0.02).translate(
                    (0, depth * 0.38, 0)
                )
            )
    return product


FAMILIES = (
    Family("02-03", "hat", "Hat", hat),
    Family("02-04", "sneaker", "Sports shoe", sneaker),
    Family("02-04", "boot", "Boot", boot),
    Family("02-04", "sandal", "Sandal", sandal),
    Family("03-01", "suitcase", "Suitcase", suitcase),
)
