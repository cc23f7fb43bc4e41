"""Class 08: tools and fittings."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import (
    Solid,
    ball,
    box,
    circle,
    cylinder,
    extrude_back,
    extrude_up,
    placed,
    points,
    polygon,
    rectangle,
    revolve,
    slab,
    spline,
    tube,
    turned,
)
from distill.synthetic.parts import Assembly, Family


def _haft(dice: Dice, length: float) -> Solid:
    """Return an upright tool handle, thicker where the hand holds it."""
    radius, swell, flatness = dice.uniform(0.09, 0.13), dice.uniform(0.1, 0.5), dice.uniform(0.7, 1)
    level = np.linspace(0, length, 25)
    grip = np.interp(level / length, [0, 0.06, 0.2, 0.45, 1], [0.7, 1, 0.7, 0.1, -0.2])
    path = np.column_stack([level * 0, level * 0, level])
    return tube(path, radius * (1 + swell * grip), sides=24, flatness=flatness)


def hammer(dice: Dice) -> Assembly:
    """Return a claw hammer or a ball-peen hammer."""
    product = Assembly()
    length = dice.uniform(1.9, 2.7)
    product.add(_haft(dice, length), claimed=dice.chance(0.8))
    reach, radius = dice.uniform(0.35, 0.55), dice.uniform(0.14, 0.22)
    drop = dice.uniform(0.2, 0.4)
    face = [(radius, 0), (radius, 0.12), (radius * 0.7, 0.2), (radius * 0.7, reach)]
    product.add(placed(turned(face), (reach, 0, length), (0, -90, 0)))
    product.add(box(0.3, radius * 1.6, radius * 1.9, (0, 0, length - radius * 0.95)))
    if dice.chance(0.4):
        product.add(placed(cylinder(radius * 0.6, 0.4), (-0.5, 0, length), (0, 90, 0)))
        product.add(ball(radius * 0.9, (-0.55, 0, length)))
        return product
    upper = spline([(-0.1, length + 0.17), (-0.5, length + 0.12), (-0.95, length - drop)], 8)
    lower = spline([(-0.93, length - drop - 0.07), (-0.5, length - 0.1), (-0.1, length - 0.17)], 8)
    claw = extrude_back(polygon(points(upper, lower)), radius * 1.6)
    notch = extrude_up(polygon([(0, -0.07), (0.75, 0), (0, 0.07)]), 3)
    product.add(claw - notch.translate((-1.05, 0, length - 1.6)))
    return product


def mallet(dice: Dice) -> Assembly:
    """Return a mallet or a sledgehammer."""
    product = Assembly()
    length = dice.uniform(1.8, 2.8)
    product.add(_haft(dice, length), claimed=dice.chance(0.8))
    reach, radius = dice.uniform(0.4, 0.65), dice.uniform(0.24, 0.38)
    kind = dice.pick("round", "eight-sided", "block", "capped")
    if kind == "block":
        product.add(box(2 * reach, radius * 1.5, radius * 2, (0, 0, length - radius)))
        return product
    sides = 8 if kind == "eight-sided" else 48
    head = cylinder(radius, 2 * reach, -reach, sides=sides)
    product.add(placed(head, (0, 0, length), (0, 90, 0)))
    if kind == "capped":
        cap = turned(
            [(radius * 0.8, 0), (radius * 1.12, 0.05), (radius * 1.12, 0.2), (radius, 0.22)]
        )
        product.add_pair(placed(cap, (reach + 0.12, 0, length), (0, -90, 0)))
    return product


def wrench(dice: Dice) -> Assembly:
    """Return a wrench with open or ring ends."""
    product = Assembly()
    length, thickness, width = (
        dice.uniform(1.6, 2.6),
        dice.uniform(0.1, 0.18),
        dice.uniform(0.2, 0.3),
    )
    shaft = extrude_back(rectangle(length, width, dice.uniform(0, 0.12)), thickness)
    heads = [(-1, dice.pick("open", "ring")), (1, dice.pick("open", "ring", "none"))]
    hexagon = dice.chance()
    for side, kind in heads:
        radius, tilt, jaw = dice.uniform(0.32, 0.46), dice.uniform(0, 20), dice.uniform(0.5, 0.62)
        if kind == "none":
            continue
        opening = radius * jaw
        if kind == "ring":
            cut = circle(opening, sides=6 if hexagon else 12)
        else:
            mouth = rectangle(2, opening * 1.3).translate((side, 0)).rotate(side * tilt)
            cut = mouth + circle(opening * 0.66, sides=32)
        cut = cut.translate((side * length / 2, 0))
        shaft -= extrude_back(cut, 3)
        head = circle(radius, side * length / 2, sides=64) - cut
        product.add(extrude_back(head, thickness * 1.5))
    if heads[1][1] == "none":
        shaft -= extrude_back(circle(width * 0.25, length * 0.46), 3)
    product.add(shaft)
    if dice.chance(0.5):
        product.add(
            extrude_back(rectangle(length * 0.5, width * 0.5, width * 0.2), thickness * 1.25)
        )
    return product


def pliers(dice: Dice) -> Assembly:
    """Return a pair of pliers."""
    product = Assembly()
    spread, long = dice.uniform(0.35, 0.55), dice.uniform(1.5, 2.0)
    nose, thick = dice.uniform(0.5, 1.0), dice.uniform(0.06, 0.09)
    tip = dice.uniform(0.04, 0.1)
    jaw = [
        (0, -0.15),
        (0.2, 0),
        (0.17, 0.25),
        (tip, 0.2 + nose),
        (0.01, 0.2 + nose),
        (0.01, 0.2),
        (-0.1, 0.1),
    ]
    product.add_pair(extrude_back(polygon(jaw), thick * 2))
    product.add(extrude_back(circle(0.22), thick * 2.6), extrude_back(circle(0.09), thick * 3.4))
    path = spline(
        [
            (0.08, 0, -0.1),
            (spread * 0.7, 0, -0.45),
            (spread, 0, -long * 0.6),
            (spread * 0.75, 0, -long),
        ],
        9,
    )
    share = np.linspace(0, 1, len(path))
    product.add_pair(
        tube(path, np.interp(share, [0, 0.3, 0.6, 1], [0.07, 0.08, 0.1, 0.075])),
        claimed=dice.chance(0.8),
    )
    return product


def knob(dice: Dice) -> Assembly:
    """Return a furniture knob."""
    product = Assembly()
    foot, neck = dice.uniform(0.3, 0.6), dice.uniform(0.12, 0.25)
    head, face = dice.uniform(0.4, 0.7), dice.uniform(0.3, 0.65)
    level = np.cumsum(
        [
            dice.uniform(0.05, 0.1),
            dice.uniform(0.2, 0.45),
            dice.uniform(0.2, 0.35),
            dice.uniform(0.1, 0.2),
        ]
    )
    nodes = [
        (foot, level[0]),
        (neck, level[1]),
        (head, level[2]),
        (min(face, head) * 0.6, level[3]),
    ]
    curve = spline(nodes, 9)
    base = [(0, 0), (foot + 0.05, 0), (foot + 0.05, level[0])]
    product.add(revolve(points(base, curve, (0, level[3]))))
    if dice.chance(0.4):
        ring = turned([(0.1, level[3] - 0.03), (0.1, level[3] + 0.03)])
        product.add(ring)
    return product.turned((90, 0, 0))


def pull_handle(dice: Dice) -> Assembly:
    """Return a bow handle for a drawer or a door."""
    product = Assembly()
    half, out, radius = dice.uniform(0.6, 1.1), dice.uniform(0.3, 0.5), dice.uniform(0.05, 0.09)
    bulge = dice.uniform(1.0, 1.35)
    nodes = [
        (-half, 0.05, 0),
        (-half, -out * 0.75, 0),
        (-half + 0.15, -out, 0),
        (0, -out * bulge, 0),
        (half - 0.15, -out, 0),
        (half, -out * 0.75, 0),
        (half, 0.05, 0),
    ]
    kind = dice.pick("round", "round", "flat", "bar")
    if kind == "bar":
        product.add(placed(cylinder(radius, 2.6 * half, -1.3 * half), (0, -out, 0), (0, 90, 0)))
        post = placed(cylinder(radius * 0.8, out), (half, 0, 0), (90, 0, 0))
        product.add_pair(post)
    else:
        flatness = 1.0 if kind == "round" else 2.2
        product.add(tube(spline(nodes, 8), radius, flatness=flatness))
    rose = placed(cylinder(radius * 1.9, 0.05), (half, 0.05, 0), (90, 0, 0))
    if dice.chance(0.7):
        product.add_pair(rose)
    return product


def lever_handle(dice: Dice) -> Assembly:
    """Return a door lever on a rose or a long plate."""
    product = Assembly()
    out, long = dice.uniform(0.3, 0.45), dice.uniform(1.0, 1.5)
    corner, sag, flatness = dice.uniform(0, 0.25), dice.uniform(-0.12, 0.1), dice.uniform(0.7, 1.4)
    plate = dice.pick("rose", "plate", "square")
    shape = {
        "rose": cylinder(0.3, 0.08),
        "square": slab(0.6, 0.6, 0.08, 0.03),
        "plate": slab(0.55, 1.6, 0.08, corner),
    }[plate]
    product.add(placed(shape, (0, 0.04, 0), (90, 0, 0)))
    product.add(placed(cylinder(0.11, out), turn=(90, 0, 0)))
    path = spline([(-0.1, -out, 0), (0.4, -out - 0.03, 0.02), (long, -out + 0.03, sag)], 9)
    product.add(tube(path, np.linspace(0.12, 0.08, len(path)), flatness=flatness))
    if plate == "plate" and dice.chance(0.7):
        keyhole = extrude_back(
            circle(0.06, 0, -0.5) + rectangle(0.05, 0.15).translate((0, -0.56)), 0.03, -0.045
        )
        product.add(keyhole)
    return product


FAMILIES = (
    Family("08-02", "hammer", "Hammer", hammer),
    Family("08-02", "mallet", "Mallet", mallet),
    Family("08-04", "wrench", "Wrench", wrench),
    Family("08-05", "pliers", "Pliers", pliers),
    Family("08-06", "knob", "Knob", knob),
    Family("08-06", "pull-handle", "Pull handle", pull_handle),
    Family("08-06", "lever-handle", "Lever handle", lever_handle),
)
