"""Class 07: cutlery."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import (
    Points,
    Solid,
    ball,
    box,
    cylinder,
    lifted,
    loft,
    spline,
    superellipse,
    tube,
)
from distill.synthetic.parts import Assembly, Family


def _cutlery_blank(
    widths: list[tuple[float, float]], dip: float, thin: float = 0.014
) -> tuple[Solid, Points]:
    """Loft the common body of spoon, fork and knife.

    Args:
        widths: (x, half width) nodes from the handle's end at -1.2 to the tip at 1.2.
        dip: Height of the head below its neck.
        thin: Half thickness of the tip.

    Returns:
        The solid, and its middle line as (N, 2) of x and z.
    """
    x = spline(np.linspace(-1.2, 1.2, 9)[:, None], 7)[:, 0]
    nodes = spline(np.array(widths), 6)
    half = np.interp(x, nodes[:, 0], np.maximum(nodes[:, 1], 0.012))
    line = spline([(-1.2, 0.0), (-0.4, 0.05), (0.3, 0.12), (0.75, dip), (1.2, 0.1)], 8)
    middle = np.interp(x, line[:, 0], line[:, 1])
    thick = np.interp(x, [-1.2, 0.2, 0.5, 1.2], [0.03, 0.04, 0.028, thin])
    rings = [
        lifted(superellipse(2 * w, 2 * t, 2.6, 28), 0)[:, [2, 0, 1]] + [a, 0, z]
        for a, w, t, z in zip(x, half, thick, middle, strict=True)
    ]
    return loft(rings), np.column_stack([x, middle])


def _handle_widths(dice: Dice) -> list[tuple[float, float]]:
    end, waist = dice.uniform(0.09, 0.16), dice.uniform(0.55, 0.95)
    return [
        (-1.2, end * 0.3),
        (-1.17, end * 0.75),
        (-1.05, end),
        (-0.35, end * waist),
        (0.25, 0.05),
    ]


def _badge(product: Assembly, dice: Dice) -> None:
    long, wide = dice.uniform(0.18, 0.34), dice.uniform(0.035, 0.06)
    if dice.chance(0.4):
        product.add(ball(1, sides=32).scale((long, wide, 0.045)).translate((-0.75, 0, 0.03)))


def spoon(dice: Dice) -> Assembly:
    """Return a spoon."""
    product = Assembly()
    wide, dip = dice.uniform(0.2, 0.32), dice.uniform(-0.03, 0.04)
    head = [
        (0.4, 0.07),
        (0.6, wide * 0.8),
        (0.82, wide),
        (1.05, wide * 0.75),
        (1.17, wide * 0.35),
        (1.2, 0.02),
    ]
    blank, line = _cutlery_blank([*_handle_widths(dice), *head], dip)
    level = float(np.interp(0.84, line[:, 0], line[:, 1]))
    hollow = ball(1, sides=48).scale((0.32, wide * 0.82, 0.1)).translate((0.83, 0, level + 0.075))
    product.add(blank - hollow)
    _badge(product, dice)
    return product


def fork(dice: Dice) -> Assembly:
    """Return a fork with three or four tines."""
    product = Assembly()
    wide, dip = dice.uniform(0.17, 0.23), dice.uniform(-0.04, 0.02)
    head = [(0.4, 0.07), (0.55, wide * 0.9), (0.75, wide), (1.1, wide * 0.95), (1.2, wide * 0.9)]
    blank, _ = _cutlery_blank([*_handle_widths(dice), *head], dip)
    tines = dice.integer(3, 4)
    pitch, long = 2 * wide / tines, dice.uniform(0.45, 0.6)
    slots = [
        box(long, pitch * 0.45, 1, (1.21 - long / 2, (slot - (tines - 2) / 2) * pitch, -0.5))
        for slot in range(tines - 1)
    ]
    for slot in slots:
        blank -= slot
    product.add(blank)
    _badge(product, dice)
    return product


def knife(dice: Dice) -> Assembly:
    """Return a table knife."""
    product = Assembly()
    wide, long = dice.uniform(0.1, 0.15), dice.uniform(0.1, 0.35)
    head = [
        (long, 0.06),
        (long + 0.1, wide),
        (0.8, wide * 1.05),
        (1.08, wide * 0.85),
        (1.18, wide * 0.4),
        (1.2, 0.02),
    ]
    handle = _handle_widths(dice)[:-1]
    rows = [*handle, (0.0, 0.07), *head] if long > 0.05 else [*handle, *head]
    blank, _ = _cutlery_blank(rows, 0.1)
    steps = dice.integer(5, 9)
    teeth = dice.chance(0.4)
    if teeth:
        for step in range(steps):
            notch = cylinder(0.03, 1, -0.5, sides=20).translate(
                (0.5 + 0.07 * step, -wide - 0.01, 0)
            )
            blank -= notch
    product.add(blank)
    if dice.chance(0.5):
        product.add(tube([(-0.02, 0, 0.09), (0.03, 0, 0.09)], 0.06, flatness=1.3))
    return product


FAMILIES = (
    Family("07-03", "spoon", "Spoon", spoon),
    Family("07-03", "fork", "Fork", fork),
    Family("07-03", "knife", "Table knife", knife),
)
