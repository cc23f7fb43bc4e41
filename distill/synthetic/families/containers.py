"""Class 09: bottles, boxes, cans, jars."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.families.tableware import radius_at
from distill.synthetic.geometry import (
    Points,
    ball,
    box,
    cylinder,
    height_spline,
    round_stack,
    slab,
    spline,
    stack,
    torus,
    tube,
    turned,
    union,
)
from distill.synthetic.parts import Assembly, Family


def _bottle_profile(dice: Dice, height: float, neck: float) -> Points:
    radius, shoulder = dice.uniform(0.38, 0.58), dice.uniform(0.5, 0.78)
    waist = radius * dice.uniform(0.8, 1.05)
    slope = neck + (radius - neck) * dice.uniform(0.15, 0.6)
    nodes = [
        (radius * 0.92, 0),
        (radius, 0.06),
        (radius, height * shoulder * 0.25),
        (waist, height * shoulder * 0.6),
        (radius * 0.98, height * shoulder),
        (slope, height * (shoulder + (1 - shoulder) * 0.5)),
        (neck, height * 0.9),
        (neck, height),
    ]
    return height_spline(nodes, 6)


def bottle(dice: Dice) -> Assembly:
    """Return a bottle, round or with rounded corners, with some kind of closure."""
    product = Assembly()
    height, neck = dice.uniform(1.6, 2.8), dice.uniform(0.13, 0.22)
    profile = _bottle_profile(dice, height, neck)
    radius = float(profile[:, 0].max())
    depth, tall, flare = dice.uniform(0.5, 0.9), dice.uniform(0.25, 0.45), dice.uniform(1.5, 2.2)
    round_body = dice.chance(0.65)
    power = 2.0 if round_body else dice.pick(3.0, 5.0)
    squash = 1.0 if round_body else depth
    bodily = np.clip((profile[:, 0] - neck) / (radius - neck), 0, 1)
    rows = [
        (z, 2 * r, 2 * r * (1 - (1 - squash) * share), 0, 0)
        for (r, z), share in zip(profile, bodily, strict=True)
    ]
    body = stack(rows, power, 64)
    claimed = dice.chance(0.7)
    closure = dice.pick("screw cap", "tall cap", "stopper", "open")
    if closure == "screw cap":
        cap = [
            (neck * 1.25, height - 0.02),
            (neck * 1.25, height + 0.2),
            (neck * 1.15, height + 0.24),
        ]
        product.add(turned(cap), claimed=claimed)
        product.add(torus(neck, 0.035, height - 0.06))
    elif closure == "tall cap":
        cap_rows = [
            (height * 0.93, neck * 2.6, neck * 2.6),
            (height + tall, neck * flare, neck * 2.2),
        ]
        product.add(stack(cap_rows, power, 64), claimed=claimed)
    elif closure == "stopper":
        product.add(ball(neck * 1.5, (0, 0, height + neck * 1.2)), claimed=claimed)
    else:
        body -= cylinder(neck * 0.8, 1, height - 0.5)
        product.add(torus(neck, 0.035, height - 0.04))
    grooves = dice.integer(2, 5)
    low, high = height * dice.uniform(0.1, 0.2), height * dice.uniform(0.42, 0.55)
    if round_body and dice.chance(0.35):
        body -= union(
            [torus(radius_at(profile, z) + 0.03, 0.06, z) for z in np.linspace(low, high, grooves)]
        )
    elif round_body and dice.chance(0.35):
        product.add(cylinder(radius * 1.02, height * 0.3, height * 0.14, sides=64))
    product.add(body)
    return product


def dispenser(dice: Dice) -> Assembly:
    """Return a bottle with a pump."""
    product = Assembly()
    height, neck = dice.uniform(1.2, 1.8), dice.uniform(0.14, 0.2)
    width, depth = dice.uniform(0.8, 1.1), dice.uniform(0.5, 0.85)
    power, shoulder = dice.pick(2.0, 3.0, 6.0), dice.uniform(0.8, 0.92)
    top_width = width * dice.uniform(0.7, 1.05)
    rows = [
        (0, width * 0.94, depth * 0.94),
        (0.05, width, depth),
        (height * shoulder, top_width, depth),
        (height * 0.95, top_width * 0.8, depth * 0.8),
        (height, neck * 2.2, neck * 2.2),
    ]
    product.add(stack(rows, power, 64))
    claimed = dice.chance(0.7)
    reach, drop = dice.uniform(0.35, 0.55), dice.uniform(0.0, 0.12)
    product.add(
        cylinder(neck * 1.25, 0.2, height - 0.02),
        cylinder(0.05, 0.35, height),
        cylinder(0.13, 0.1, height + 0.3),
        claimed=claimed,
    )
    nozzle = [(0.1, 0, height + 0.36), (-0.05, 0, height + 0.38), (-reach, 0, height + 0.38 - drop)]
    product.add(tube(nozzle, [0.1, 0.1, 0.05]), claimed=claimed)
    return product


def can(dice: Dice) -> Assembly:
    """Return a drinks can or a preserve tin."""
    product = Assembly()
    radius, height = dice.uniform(0.5, 0.8), dice.uniform(0.5, 1.6)
    neck = radius * dice.uniform(0.86, 0.95)
    product.add(turned([(neck, 0), (radius, 0.08), (radius, height), (neck, height + 0.1)]))
    product.add(torus(neck, 0.035, height + 0.1))
    product.add(slab(0.2, 0.45, 0.03, 0.1, height + 0.1).translate((0, -0.1, 0)))
    ribs = dice.pick(0, 0, 2, 3, 5)
    for z in np.linspace(0.25, 0.75, ribs) * height:
        product.add(torus(radius, 0.02, z))
    return product


def jar(dice: Dice) -> Assembly:
    """Return a jar with a screw lid."""
    product = Assembly()
    radius, height, mouth = dice.uniform(0.5, 0.8), dice.uniform(0.5, 1.5), dice.uniform(0.75, 1.0)
    lid = dice.uniform(0.16, 0.3)
    nodes = [
        (radius * 0.9, 0),
        (radius, 0.08),
        (radius, height * 0.75),
        (radius * mouth * 0.92, height),
    ]
    product.add(turned(height_spline(nodes, 7)))
    rim = radius * mouth
    cap = turned([(rim, height), (rim, height + lid), (rim * 0.95, height + lid + 0.05)])
    claimed = dice.chance(0.8)
    if dice.chance(0.4):
        ridges = [
            box(0.05, 0.04, lid * 0.8, (0, rim, height + lid * 0.1)).rotate((0, 0, angle))
            for angle in range(0, 360, 12)
        ]
        cap = union([cap, *ridges])
    product.add(cap, claimed=claimed)
    return product


def storage_box(dice: Dice) -> Assembly:
    """Return a box with a lid, or an open tray with partitions."""
    product = Assembly()
    width, depth, height = dice.uniform(1, 2), dice.uniform(0.8, 1.4), dice.uniform(0.3, 0.9)
    corner, flare, wall = dice.uniform(0.08, 0.3), dice.uniform(1.0, 1.15), 0.06
    top_width, top_depth = width * flare, depth * flare
    outside = [
        (0, width * 0.97, depth * 0.97),
        (0.05, width, depth),
        (height, top_width, top_depth),
    ]
    body = round_stack(outside, corner)
    inside = [
        (wall, width - 2 * wall, depth - 2 * wall),
        (height + 0.01, top_width - 2 * wall, top_depth - 2 * wall),
    ]
    product.add(body - round_stack(inside, corner))
    lift = dice.uniform(0.3, 0.5)
    kind = dice.pick("lidded", "lidded", "lifted lid", "tray")
    if kind == "tray":
        walls = dice.integer(1, 3)
        for x in np.linspace(-0.5, 0.5, walls + 2)[1:-1]:
            product.add(box(0.04, depth * 0.97, height * 0.8, (x * width, 0, wall)))
        rim = round_stack(
            [
                (height - 0.03, top_width + 0.12, top_depth + 0.12),
                (height, top_width + 0.12, top_depth + 0.12),
            ],
            corner,
        )
        hole = round_stack(
            [
                (height - 0.1, top_width - wall, top_depth - wall),
                (height + 0.1, top_width - wall, top_depth - wall),
            ],
            corner,
        )
        product.add(rim - hole)
        return product
    level = height + (lift if kind == "lifted lid" else 0)
    lid = round_stack(
        [
            (level, top_width + 0.06, top_depth + 0.06),
            (level + 0.1, top_width + 0.06, top_depth + 0.06),
            (level + 0.14, top_width - 0.06, top_depth - 0.06),
        ],
        corner,
    )
    product.add(lid, claimed=dice.chance(0.8))
    if dice.chance(0.5):
        product.add_pair(box(0.06, depth * 0.3, height * 0.3, (top_width / 2, 0, height * 0.62)))
    return product


def tool_case(dice: Dice) -> Assembly:
    """Return a case with a clasp and a carrying handle."""
    product = Assembly()
    width, depth, height = dice.uniform(1.2, 2), dice.uniform(0.7, 1.1), dice.uniform(0.35, 0.6)
    corner, cover = dice.uniform(0.06, 0.2), dice.uniform(0.2, 0.35)
    product.add(
        round_stack(
            [(0, width * 0.97, depth * 0.97), (0.04, width, depth), (height, width, depth)], corner
        )
    )
    product.add(
        round_stack(
            [
                (height + 0.012, width, depth),
                (height + cover, width, depth),
                (height + cover + 0.05, width * 0.95, depth * 0.93),
            ],
            corner,
        )
    )
    product.add(box(width * 0.9, depth * 0.9, 0.05, (0, 0, height - 0.02)))
    clasp = slab(0.2, 0.06, 0.22, 0.02, height - 0.1)
    front = -depth / 2
    if dice.chance():
        product.add_pair(clasp.translate((width * 0.3, front, 0)))
    else:
        product.add(clasp.translate((0, front, 0)))
    reach, half = dice.uniform(0.16, 0.26), dice.uniform(0.22, 0.32)
    level = height * 0.6
    grip = [
        (-half, front + 0.02, level),
        (-half * 0.9, front - reach, level),
        (half * 0.9, front - reach, level),
        (half, front + 0.02, level),
    ]
    if dice.chance(0.7):
        product.add(tube(spline(grip, 8), 0.04))
    return product


FAMILIES = (
    Family("09-01", "bottle", "Bottle", bottle),
    Family("09-01", "dispenser", "Dispensing bottle", dispenser),
    Family("09-03", "can", "Can", can),
    Family("09-03", "jar", "Jar", jar),
    Family("09-03", "box", "Storage box", storage_box),
    Family("09-03", "case", "Carrying case", tool_case),
)
