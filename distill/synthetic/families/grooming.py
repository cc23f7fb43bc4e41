"""Class 28: toilet articles."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import (
    box,
    cushion,
    cylinder,
    extrude_back,
    lifted,
    loft,
    placed,
    points,
    polygon,
    spline,
    stack,
    superellipse,
    tube,
)
from distill.synthetic.parts import Assembly, Family


def comb(dice: Dice) -> Assembly:
    """Return a comb, with or without a handle."""
    product = Assembly()
    long, spine, thick = dice.uniform(1.6, 2.2), dice.uniform(0.14, 0.22), dice.uniform(0.04, 0.07)
    teeth, deep = dice.integer(14, 30), dice.uniform(0.35, 0.55)
    handle, arch = dice.uniform(0.5, 0.9) * dice.pick(0, 1), dice.uniform(0, 0.12)
    half = long / 2
    upper = spline(
        [
            (-half - handle - 0.03, spine * 0.5),
            (-half - handle * 0.5, spine * 0.8),
            (0, spine + arch),
            (half, spine * 0.8),
            (half + 0.06, 0),
        ],
        8,
    )
    lower = [
        (half + 0.06, -deep * 0.9),
        (half, -deep * 0.95),
        (half, 0),
        (-half, 0),
        (-half - 0.02, -0.02),
        (-half - handle - 0.02, 0.0),
    ]
    product.add(extrude_back(polygon(points(upper, lower)), thick))
    pitch = long / teeth
    for x in np.arange(teeth) * pitch - half:
        reach = deep * (1 - 0.15 * (2 * x / long) ** 2)
        tooth = [
            (x, 0.02),
            (x + pitch * 0.55, 0.02),
            (x + pitch * 0.4, -reach),
            (x + pitch * 0.15, -reach),
        ]
        product.add(extrude_back(polygon(tooth), thick * 0.8))
    return product


def hairbrush(dice: Dice) -> Assembly:
    """Return a hairbrush with rows of bristles."""
    product = Assembly()
    long, wide, pitch = dice.uniform(1.4, 2.0), dice.uniform(0.24, 0.38), dice.uniform(0.26, 0.38)
    x = np.linspace(-long, 1, 40)
    share = (x + long) / (1 + long)
    curve = spline(
        [
            (0, 0.12),
            (0.02, 0.16),
            (0.15, 0.2),
            (0.42, 0.13),
            (0.55, 0.15),
            (0.68, wide * 1.8),
            (0.8, wide * 2),
            (0.92, wide * 1.7),
            (0.98, wide),
            (1, 0.1),
        ],
        5,
    )
    widths = np.interp(share, curve[:, 0], curve[:, 1])
    thick = np.interp(share, [0, 0.03, 0.12, 0.5, 0.95, 1], [0.08, 0.14, 0.17, 0.12, 0.1, 0.05])
    rings = [
        lifted(superellipse(w, t, 2.5, 28), 0)[:, [2, 0, 1]] + [a, 0, 0]
        for a, w, t in zip(x, widths, thick, strict=True)
    ]
    product.add(loft(rings))
    middle = -long + 0.8 * (1 + long)
    pad = stack(
        [(0.02, 0.24 * (1 + long), wide * 1.55), (0.09, 0.23 * (1 + long), wide * 1.45)], 2.2
    )
    product.add(pad.translate((middle, 0, 0)))
    columns, rows, claimed = dice.integer(6, 9), dice.integer(3, 5), dice.chance(0.8)
    for across in np.linspace(-0.7, 0.7, rows):
        reach = 0.11 * (1 + long) * np.sqrt(1 - across**2) * 0.9
        for place in np.linspace(-reach, reach, columns):
            pin = cylinder(0.014, pitch, 0.05, top=0.01, sides=14)
            product.add(pin.translate((middle + place, across * wide * 0.72, 0)), claimed=claimed)
    return product


def razor(dice: Dice) -> Assembly:
    """Return a safety razor."""
    product = Assembly()
    long, head, tilt = dice.uniform(1.3, 1.7), dice.uniform(0.6, 0.8), dice.uniform(15, 45)
    swell, curve = dice.uniform(0.09, 0.14), dice.uniform(-0.12, 0.0)
    path = spline([(0, 0, 0), (0, -0.03, long * 0.4), (0, 0.05, long * 0.75), (0, curve, long)], 9)
    share = np.linspace(0, 1, len(path))
    thick = np.interp(share, [0, 0.03, 0.15, 0.5, 0.9, 1], [0.04, 0.08, swell, 0.09, 0.06, 0.05])
    product.add(tube(path, thick, sides=24, flatness=1.3))
    blades = dice.integer(1, 3)
    cartridge = [cushion(head, 0.22, 0.1, 0.03, corner=0.05)]
    cartridge += [
        box(head * 0.84, 0.025, 0.02, (0, -0.06 + 0.05 * blade, 0.095)) for blade in range(blades)
    ]
    for solid in cartridge:
        product.add(placed(solid, (0, curve - 0.02, long - 0.02), (tilt, 0, 0)))
    for z in np.linspace(0.25, 0.5, dice.integer(0, 5)) * long:
        product.add(placed(box(0.12, 0.03, 0.025), (0, -0.03 - swell, z)))
    return product


FAMILIES = (
    Family("28-03", "comb", "Comb", comb),
    Family("28-03", "hairbrush", "Hairbrush", hairbrush),
    Family("28-03", "razor", "Razor", razor),
)
