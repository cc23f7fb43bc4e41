"""Classes 14 and 16: loudspeakers, telephones, remote controls, spectacles."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import (
    Solid,
    box,
    cushion,
    cylinder,
    extrude_back,
    mirrored,
    placed,
    polygon,
    revolve,
    round_stack,
    slab,
    spline,
    stack,
    superellipse,
    torus,
    tube,
)
from distill.synthetic.parts import Assembly, Family


def _driver(radius: float) -> Solid:
    """Return a loudspeaker cone that faces up."""
    profile = [
        (0, -0.1),
        (0.25, -0.04),
        (0.3, -0.1),
        (0.8, 0),
        (0.85, 0.05),
        (1, 0.05),
        (1, -0.15),
        (0, -0.15),
    ]
    return revolve([(r * radius, z * min(radius * 2.5, 1)) for r, z in profile])


def loudspeaker(dice: Dice) -> Assembly:
    """Return a loudspeaker box with one to three cones."""
    product = Assembly()
    kind = dice.pick("wide", "tower", "cube", "shelf")
    size = dice.uniform(1.7, 2.5)
    width, height = {
        "wide": (size, 0.85),
        "tower": (0.85, size),
        "cube": (1.0, 1.0),
        "shelf": (1.0, size * 0.75),
    }[kind]
    depth, edge = dice.uniform(0.6, 0.9), dice.uniform(0.01, 0.1)
    body = cushion(width, height, depth, edge, corner=edge * 1.5).rotate((90, 0, 0))
    front = -depth
    if kind == "wide":
        cones = [(-width * 0.3, 0.0, height * 0.36), (width * 0.3, 0.0, height * 0.36)]
    elif kind == "cube":
        cones = [(0.0, 0.0, 0.4)]
    else:
        low = -height / 2 + width * 0.5
        cones = [(0.0, low, width * 0.38), (0.0, height / 2 - width * 0.3, width * 0.2)]
        if kind == "tower":
            cones.append((0.0, low + width * 0.85, width * 0.32))
    for x, z, radius in cones:
        body -= placed(cylinder(radius * 0.99, 0.12), (x, front + 0.1, z), (90, 0, 0))
        product.add(placed(_driver(radius), (x, front + 0.02, z), (90, 0, 0)))
    product.add(body)
    lift = dice.uniform(0.15, 0.3)
    if kind == "wide" and dice.chance(0.6):
        strap = [
            (-width * 0.36, -depth / 2, height / 2 - 0.02),
            (-width * 0.3, -depth / 2, height / 2 + lift),
            (width * 0.3, -depth / 2, height / 2 + lift),
            (width * 0.36, -depth / 2, height / 2 - 0.02),
        ]
        product.add(tube(spline(strap, 8), 0.045))
    if dice.chance(0.4):
        foot = box(0.12, depth * 0.7, 0.07, (width * 0.35, -depth / 2, -height / 2 - 0.07))
        product.add_pair(foot)
    return product


def round_speaker(dice: Dice) -> Assembly:
    """Return an upright round loudspeaker with rings and buttons."""
    product = Assembly()
    height, top = dice.uniform(0.9, 2.0), dice.uniform(0.75, 1.0)
    rows = [
        (0, 0.92, 0.92),
        (0.05, 1, 1),
        (height - 0.06, top, top),
        (height, top * 0.88, top * 0.88),
    ]
    # Facets so narrow that a piece between two rings does not pass for a flat.
    product.add(stack(rows, 2, 128))
    rings = dice.integer(0, 7)
    low, high = dice.uniform(0.15, 0.3), dice.uniform(0.6, 0.85)
    for share in np.linspace(low, high, rings):
        radius = (1 + (top - 1) * share) / 2
        product.add(torus(radius - 0.004, 0.015, share * height))
    buttons = dice.pick((0.0,), (-0.15, 0.15), (-0.2, 0.0, 0.2))
    product.add_all(
        cylinder(0.06, 0.03, height - 0.005, sides=32).translate((x * top, 0, 0)) for x in buttons
    )
    if dice.chance(0.35):
        loop = [
            (-0.2, 0, height - 0.02),
            (-0.16, 0, height + 0.2),
            (0.16, 0, height + 0.2),
            (0.2, 0, height - 0.02),
        ]
        product.add(tube(spline(loop, 8), 0.025, flatness=2))
    return product


def phone(dice: Dice) -> Assembly:
    """Return a mobile telephone with cameras on its back."""
    product = Assembly()
    width, ratio, thick = dice.uniform(0.7, 0.85), dice.uniform(1.9, 2.25), dice.uniform(0.07, 0.13)
    height = width * ratio
    corner = width * dice.pick(0.08, 0.13, 0.18)
    body = cushion(width, height, thick, dice.uniform(0.008, 0.05), corner=corner)
    margin, chin = dice.uniform(0.025, 0.05), dice.uniform(0.03, 0.16)
    screen = round_stack(
        [
            (thick - 0.012, width - 2 * margin, height - 2 * chin),
            (thick + 1, width - 2 * margin, height - 2 * chin),
        ],
        corner * 0.8,
    )
    product.add(body - screen)
    for side_x, side_y, long in ((-1, 0.2, 0.2), (1, 0.15, 0.3), (-1, 0.05, 0.15)):
        product.add(
            box(
                0.02,
                long * dice.uniform(0.6, 1),
                thick * 0.35,
                (side_x * width / 2, side_y * height, thick * 0.32),
            )
        )
    lenses, side = dice.integer(1, 4), dice.pick(-1, 0)
    size = width * dice.uniform(0.13, 0.19)
    x, y = side * width * 0.25, height * 0.36
    island = slab(size * 2.3, size * (2.3 if lenses > 2 else 1.2 * lenses), 0.03, size * 0.5, -0.03)
    product.add(island.translate((x, y, 0)))
    for lens in range(lenses):
        dx = (lens % 2 - 0.5) * size if lenses > 2 else 0.0
        dy = (lens // 2 - 0.5) * size if lenses > 2 else (lens - (lenses - 1) / 2) * size
        product.add(cylinder(size * 0.4, 0.06, -0.06, sides=36).translate((x + dx, y + dy, 0)))
    if chin > 0.1:
        product.add(torus(chin * 0.3, 0.012, thick).translate((0, -height / 2 + chin * 0.5, 0)))
        product.add(
            slab(width * 0.2, 0.025, 0.01, 0.012, thick).translate((0, height / 2 - chin / 2, 0))
        )
    return product.turned((90, 0, 0))


def remote(dice: Dice) -> Assembly:
    """Return a remote control with rows of buttons and a ring."""
    product = Assembly()
    width, height, thick = (
        dice.uniform(0.45, 0.65),
        dice.uniform(1.5, 2.1),
        dice.uniform(0.12, 0.24),
    )
    waist = dice.uniform(0.75, 1.0)
    corner = width * dice.pick(0.1, 0.3, 0.48)
    if dice.chance():
        body = cushion(width, height, thick, thick * 0.3, corner=corner)
    else:
        rows = [
            (-height / 2, width * 0.8, thick),
            (-height * 0.46, width, thick),
            (0, width * waist, thick),
            (height * 0.46, width, thick),
            (height / 2, width * 0.8, thick),
        ]
        body = stack(rows, 4, 56).rotate((-90, 0, 0)).translate((0, 0, thick / 2))
    product.add(body)
    columns, lines, square = dice.integer(2, 4), dice.integer(3, 6), dice.chance()
    top = height * dice.uniform(-0.08, 0.05)
    size = width * 0.3 / columns
    for x in np.linspace(-0.28, 0.28, columns) * width * waist:
        for y in np.linspace(-0.4 * height, top, lines):
            button = (
                slab(size * 1.7, size * 1.1, 0.05, size * 0.4, thick - 0.02)
                if square
                else cylinder(size * 0.75, 0.05, thick - 0.02, sides=28)
            )
            product.add(button.translate((x, y, 0)))
    ring = height * 0.22
    product.add(torus(width * 0.26, 0.03, thick - 0.005).translate((0, ring, 0)))
    product.add(cylinder(width * 0.12, 0.04, thick - 0.02).translate((0, ring, 0)))
    product.add(
        cylinder(width * 0.07, 0.04, thick - 0.02, sides=28).translate(
            (-width * 0.25, height * 0.4, 0)
        )
    )
    return product.turned((90, 0, 0))


def spectacles(dice: Dice) -> Assembly:
    """Return a pair of spectacles."""
    product = Assembly()
    width, height = dice.uniform(0.5, 0.62), dice.uniform(0.32, 0.5)
    power, rim = dice.pick(2.0, 2.5, 3.5, 5.0), dice.uniform(0.025, 0.06)
    gap, slant = dice.uniform(0.08, 0.14), dice.uniform(-0.14, 0.14)
    outline = superellipse(width, height, power, 56)
    outline[:, 1] += outline[:, 0] * slant
    inner = outline * (1 - 2 * rim / width)
    middle = width / 2 + gap / 2 + 0.02
    frame = extrude_back(polygon(outline) - polygon(inner), 0.06).translate((middle, 0, 0))
    lens = extrude_back(polygon(inner * 0.995), 0.015).translate((middle, 0, 0))
    product.add_pair(frame)
    product.add_pair(lens, claimed=dice.chance(0.65))
    hinge, long = middle + width / 2 - 0.02, dice.uniform(1.15, 1.35)
    level = height * dice.uniform(0.1, 0.35)
    temple = spline(
        [
            (hinge, 0, level),
            (hinge + 0.03, 0.08, level + 0.01),
            (hinge + 0.01, long * 0.7, level),
            (hinge - 0.03, long, level - 0.24),
        ],
        9,
    )
    arm = np.linspace(max(rim, 0.03) * 0.8, 0.022, len(temple))
    product.add_pair(tube(temple, arm, flatness=1.6))
    product.add_pair(box(0.06, 0.07, rim * 2, (hinge, 0.02, level - rim)))
    bridge = [
        (-gap / 2 - 0.05, 0, height * 0.1),
        (0, -0.02, height * 0.2),
        (gap / 2 + 0.05, 0, height * 0.1),
    ]
    product.add(tube(spline(bridge, 7), rim * 0.6))
    if dice.chance(0.3):
        product.add(tube([(-middle, 0, height * 0.48), (middle, 0, height * 0.48)], rim * 0.4))
    return product


def headphones(dice: Dice) -> Assembly:
    """Return headphones: a band and two cups."""
    product = Assembly()
    half, tall, cup = dice.uniform(0.72, 0.85), dice.uniform(0.9, 1.15), dice.uniform(0.34, 0.46)
    thick, oval, band = dice.uniform(0.2, 0.3), dice.uniform(1.0, 1.35), dice.uniform(0.04, 0.07)
    arch = spline(
        [
            (-half, 0, 0.1),
            (-half * 0.97, 0, tall * 0.55),
            (-half * 0.6, 0, tall * 0.92),
            (0, 0, tall),
            (half * 0.6, 0, tall * 0.92),
            (half * 0.97, 0, tall * 0.55),
            (half, 0, 0.1),
        ],
        7,
    )
    product.add(tube(arch, band, flatness=dice.pick(1.0, 2.2)))
    if dice.chance(0.6):
        product.add(tube(arch[12:-12] * [0.97, 1, 0.97], band * 1.3, flatness=2))
    shell = stack(
        [
            (0, cup * 1.9, cup * 1.9 * oval),
            (thick * 0.6, cup * 2, cup * 2 * oval),
            (thick, cup * 1.5, cup * 1.5 * oval),
        ],
        2.2,
        56,
    )
    pad = stack(
        [
            (-0.14, cup * 1.6, cup * 1.6 * oval),
            (-0.1, cup * 1.8, cup * 1.8 * oval),
            (0.0, cup * 1.8, cup * 1.8 * oval),
        ],
        2.2,
        56,
    )
    hollow = stack([(-0.2, cup * 1.0, cup * 1.0 * oval), (-0.05, cup, cup * oval)], 2.2, 56)
    for solid in (shell, pad - hollow):
        upright = solid.rotate((0, 0, 90)).rotate((0, 90, 0)).translate((half - 0.05, 0, 0))
        product.add(upright, mirrored(upright))
    return product


FAMILIES = (
    Family("14-01", "loudspeaker", "Loudspeaker", loudspeaker),
    Family("14-01", "round-speaker", "Portable loudspeaker", round_speaker),
    Family("14-01", "headphones", "Headphones", headphones),
    Family("14-03", "phone", "Mobile telephone", phone),
    Family("14-03", "remote", "Remote control", remote),
    Family("16-06", "spectacles", "Spectacles", spectacles),
)
