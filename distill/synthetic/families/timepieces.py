"""Class 10: clocks and watches."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import (
    Solid,
    ball,
    box,
    cushion,
    cylinder,
    extrude_up,
    loft,
    placed,
    polygon,
    round_stack,
    rounded_outline,
    spline,
    stack,
    tube,
)
from distill.synthetic.parts import Assembly, Family


def _case(shape: str, rows: list[tuple[float, float, float]]) -> Solid:
    """Loft a case, round or with round corners, through rows of (z, width, height)."""
    if shape == "round":
        return stack(rows, 2, 64)
    return round_stack(rows, min(rows[0][1:]) * 0.18)


def _hand(length: float, width: float, angle: float, level: float) -> Solid:
    tail = width * 2.5
    outline = [(-width, -tail), (width, -tail), (width * 0.4, length), (-width * 0.4, length)]
    return extrude_up(polygon(outline), width * 0.6).rotate((0, 0, angle)).translate((0, 0, level))


def _dial(dice: Dice, radius: float, level: float) -> tuple[list[Solid], list[Solid]]:
    """Return hour marks and hands of a dial that faces up at a level."""
    marks = dice.pick(4, 12, 12)
    long, thick = radius * dice.uniform(0.1, 0.2), radius * dice.uniform(0.025, 0.05)
    turns = dice.uniforms(0, 360, 2)
    hours = [
        box(
            thick * (1.7 if mark % (marks // 4) == 0 else 1),
            long,
            radius * 0.03,
            (0, radius * 0.86, level),
        ).rotate((0, 0, 360 / marks * mark))
        for mark in range(marks)
    ]
    width = radius * dice.uniform(0.035, 0.06)
    hands = [
        _hand(radius * share, width, turn, level + i * width * 0.3)
        for i, (share, turn) in enumerate(zip((0.5, 0.75), turns, strict=True))
    ]
    hands.append(cylinder(width * 1.6, width * 1.5, level))
    return hours, hands


def _clock_body(dice: Dice, shape: str, depth: float) -> tuple[Assembly, float, float]:
    """Return a clock's body facing up, its width and its height."""
    product = Assembly()
    width, bezel = 2.0, dice.uniform(0.74, 0.92)
    height = width if shape == "round" else width * dice.uniform(0.75, 1.1)
    rows = [
        (0, width * 0.94, height * 0.94),
        (0.06, width, height),
        (depth, width, height),
        (depth + 0.05, width * (bezel + 0.05), height * (bezel + 0.05)),
    ]
    inner = bezel * 0.96
    dish = _case(
        shape,
        [
            (depth - 0.06, width * inner, height * inner),
            (depth + 0.2, width * inner, height * inner),
        ],
    )
    product.add(_case(shape, rows) - dish)
    hours, hands = _dial(dice, min(width, height) / 2 * inner * 0.95, depth - 0.06)
    product.add(*hours)
    product.add(*hands, claimed=dice.chance(0.8))
    return product.turned((90, 0, 0)), width, height


def wall_clock(dice: Dice) -> Assembly:
    """Return a flat clock for the wall."""
    shape = dice.pick("round", "round", "square")
    product, width, height = _clock_body(dice, shape, dice.uniform(0.15, 0.35))
    drop = dice.uniform(0.7, 1.2)
    if dice.chance(0.25):
        product.add(box(0.5, 0.2, drop, (0, -0.1, -height / 2 - drop + 0.1)))
        product.add(placed(cylinder(0.16, 0.05), (0, -0.2, -height / 2 - drop * 0.6), (90, 0, 0)))
        product.add(box(0.04, 0.03, drop * 0.5, (0, -0.21, -height / 2 - drop * 0.5)))
    elif dice.chance(0.3):
        for angle in range(0, 360, 30):
            ray = box(0.07, 0.06, 0.45, (0, -0.1, width / 2 - 0.03)).rotate((0, angle, 0))
            product.add(ray)
    return product


def alarm_clock(dice: Dice) -> Assembly:
    """Return a clock that stands: on feet with bells, on feet, or on a base."""
    shape = dice.pick("round", "square")
    depth = dice.uniform(0.4, 0.8)
    product, width, height = _clock_body(dice, shape, depth)
    half = height / 2
    base, bell = dice.uniform(0.7, 1.15), dice.uniform(0.26, 0.36)
    kind = dice.pick("bells", "bells", "feet", "base") if shape == "round" else "base"
    if kind == "bells":
        dome = ball(bell).trim_by_plane((0, 0, 1), 0).rotate((0, 35, 0))
        product.add_pair(dome.translate((0.62, -depth / 2, half * 0.86)))
        arch = [
            (-0.5, -depth / 2, half * 1.1),
            (0, -depth / 2, half * 1.5),
            (0.5, -depth / 2, half * 1.1),
        ]
        product.add(tube(spline(arch, 9), 0.035))
    if kind in ("bells", "feet"):
        foot = tube(
            [(0.5, -depth / 2, -half * 0.75), (0.74, -depth / 2, -half - 0.14)], [0.07, 0.04]
        )
        product.add_pair(foot)
    if kind == "base":
        pad = cushion(width * base, depth * 1.4, 0.14, 0.03, z=-half - 0.1)
        product.add(pad.translate((0, -depth / 2, 0)))
    return product


def watch(dice: Dice) -> Assembly:
    """Return a wristwatch on a strap or a link band."""
    product = Assembly()
    shape = dice.pick("round", "round", "square")
    width, thick = dice.uniform(0.9, 1.1), dice.uniform(0.18, 0.3)
    tall = width if shape == "round" else width * dice.uniform(0.95, 1.25)
    rim = dice.uniform(0.7, 0.82)
    rows = [
        (0, width * 0.9, tall * 0.9),
        (0.05, width, tall),
        (thick, width, tall),
        (thick + 0.05, width * (rim + 0.08), tall * (rim + 0.08)),
    ]
    dish = _case(
        shape, [(thick + 0.01, width * rim, tall * rim), (thick + 0.2, width * rim, tall * rim)]
    )
    product.add(_case(shape, rows) - dish)
    hours, hands = _dial(dice, min(width, tall) / 2 * rim, thick + 0.01)
    product.add(*hours, *hands)
    product.add(
        placed(cylinder(0.07, 0.1, sides=24), (width / 2 - 0.02, 0, thick * 0.5), (0, 90, 0))
    )
    if dice.chance(0.3):
        for y in (-0.25, 0.25):
            pusher = placed(
                cylinder(0.05, 0.1, sides=24), (width * 0.44, y * width, thick * 0.5), (0, 90, 0)
            )
            product.add(pusher)
    _add_band(product, dice, width, tall, thick)
    return product.turned((90, 0, 0))


def _add_band(product: Assembly, dice: Dice, width: float, tall: float, thick: float) -> None:
    band, long, sag = (
        width * dice.uniform(0.5, 0.7),
        dice.uniform(1.1, 1.5),
        dice.uniform(0.1, 0.45),
    )
    claimed, links = dice.chance(0.65), dice.chance(0.4)
    edge = tall * 0.5
    for side in (-1, 1):
        path = spline(
            [
                (side * tall * 0.4, thick * 0.45),
                (side * (edge + long * 0.35), thick * 0.3 - sag * 0.4),
                (side * (edge + long * 0.8), -sag - long * 0.35),
            ],
            10,
        )
        half_widths = np.linspace(band / 2, band * 0.4, len(path))
        rings = []
        for (y, z), half in zip(path, half_widths, strict=True):
            section = rounded_outline(2 * half, 0.08, 0.03, 20)
            rings.append(np.column_stack([section[:, 0], np.full(20, y), z + section[:, 1]]))
        product.add(loft(rings), claimed=claimed)
        if links:
            for (y, z), half in list(zip(path, half_widths, strict=True))[6::2]:
                product.add(box(2 * half + 0.03, 0.035, 0.1, (0, y, z - 0.05)), claimed=claimed)


FAMILIES = (
    Family("10-01", "wall-clock", "Wall clock", wall_clock),
    Family("10-01", "alarm-clock", "Alarm clock", alarm_clock),
    Family("10-02", "watch", "Wristwatch", watch),
)
