"""Classes 12, 19 and 21: bicycles, pens, toys, dumbbells."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import (
    Points,
    ball,
    box,
    cylinder,
    extrude_back,
    placed,
    points,
    polygon,
    rectangle,
    revolve,
    slab,
    spline,
    stack,
    torus,
    tube,
    turned,
    vector,
)
from distill.synthetic.parts import Assembly, Family

HANDLEBARS = (
    ((0, 0, 0), (0.02, 0.16, 0.03), (-0.06, 0.28, 0.05)),
    ((0, 0, 0), (0.03, 0.2, 0), (0.02, 0.3, 0)),
    ((0, 0, 0), (0.04, 0.17, 0), (0.1, 0.19, -0.05), (0, 0.19, -0.13)),
)


def bicycle(dice: Dice) -> Assembly:
    """Return a bicycle."""
    product = Assembly()
    wheel, base, pipe = dice.uniform(0.3, 0.36), dice.uniform(0.95, 1.1), dice.uniform(0.014, 0.02)
    rear, front = np.array([-base / 2, 0, wheel]), np.array([base / 2, 0, wheel])
    tyres_claimed = dice.chance(0.8)
    tyre, spokes = dice.uniform(0.014, 0.028), dice.integer(8, 14)
    for hub in (rear, front):
        product.add(
            placed(torus(wheel - 0.02, tyre, sides=64), hub, (90, 0, 0)), claimed=tyres_claimed
        )
        product.add(placed(torus(wheel - 0.055, 0.008, sides=48), hub, (90, 0, 0)))
        product.add(placed(cylinder(0.025, 0.1, -0.05, sides=24), hub, (90, 0, 0)))
        for angle in np.arange(spokes) * 2 * np.pi / spokes:
            end = hub + (wheel - 0.055) * np.array([np.cos(angle), 0, np.sin(angle)])
            product.add(tube([hub, end], 0.003, sides=14))
    crank = np.array([-0.08, 0, wheel - 0.05])
    saddle = np.array([-0.2 - dice.uniform(0, 0.06), 0, wheel + dice.uniform(0.42, 0.55)])
    head = np.array([base / 2 - 0.2, 0, wheel + dice.uniform(0.45, 0.6)])
    step_through = dice.uniform(0.2, 0.5) * dice.pick(0, 0, 1)
    lower_head = head + vector(0.04, 0, -0.12)
    top_start = saddle + (crank - saddle) * step_through
    pipes = [
        (crank, saddle, 1.0),
        (top_start, head, 1.0),
        (crank, lower_head, 1.3),
        (rear, crank, 0.7),
        (rear, saddle + (crank - saddle) * 0.08, 0.6),
        (head, front, 0.9),
        (saddle, saddle + vector(-0.04, 0, 0.13), 0.8),
        (head, head + vector(-0.03, 0, 0.08), 1.0),
    ]
    for start, end, share in pipes:
        product.add(tube([start, end], pipe * share))
    seat = stack(
        [(0, 0.2, 0.1, 0, 0), (0.03, 0.26, 0.14, -0.02, 0), (0.05, 0.24, 0.12, -0.02, 0)], 2.2, 32
    )
    product.add(seat.translate(tuple(saddle + vector(-0.04, 0, 0.13))))
    bar = np.array(dice.pick(*HANDLEBARS))
    for side in (1, -1):
        product.add(tube(spline(bar * [1, side, 1] + head + vector(-0.03, 0, 0.08), 6), 0.011))
        end = crank + vector(side * 0.12, side * 0.06, -side * 0.1)
        product.add(tube([crank + vector(0, side * 0.05, 0), end], 0.009))
        product.add(box(0.09, 0.06, 0.02, end + vector(0, side * 0.04, -0.01)))
    product.add(placed(cylinder(0.08, 0.012), crank + vector(0, -0.03, 0), (90, 0, 0)))
    if dice.chance(0.3):
        product.add(
            box(0.3, 0.14, 0.015, (-base / 2 - 0.02, 0, 2 * wheel + 0.05)), claimed=dice.chance()
        )
    return product


def pen(dice: Dice) -> Assembly:
    """Return a ball pen or a fountain pen."""
    product = Assembly()
    radius, long = dice.uniform(0.07, 0.12), dice.uniform(1.4, 2.0)
    cone, butt = radius * dice.uniform(0.8, 1), radius * dice.uniform(0.8, 1.05)
    tip = [(0.012, -0.34), (0.02, -0.28), (radius * 0.55, -0.12), (cone, 0)]
    product.add(turned(tip, 40))
    product.add(cylinder(radius, long, top=butt, sides=dice.pick(6, 40, 40, 40)))
    grooves, reach = dice.integer(0, 7), dice.uniform(0.3, 0.5)
    product.add_all(torus(radius, 0.012, z, sides=40) for z in np.linspace(0.05, reach, grooves))
    kind = dice.pick("click", "cap", "plain")
    if kind == "click":
        product.add(cylinder(radius * 0.5, 0.2, long, sides=32))
    if kind == "cap":
        cap = [(radius * 1.2, long * 0.55), (radius * 1.2, long + 0.02), (radius * 0.9, long + 0.1)]
        product.add(turned(cap, 40))
    low = long * dice.uniform(0.58, 0.68)
    if kind != "plain" or dice.chance(0.3):
        out = radius * 1.5
        clip = [
            (0, -radius * 0.8, long - 0.03),
            (0, -out, long - 0.03),
            (0, -out, (low + long) / 2),
            (0, -out, low),
            (0, -out + 0.03, low - 0.04),
        ]
        product.add(tube(spline(clip, 7), 0.022, flatness=1.4))
    return product.turned((0, 90, 0))


def _add_wheels(
    product: Assembly, axles: list[float], width: float, radius: float, claimed: bool
) -> None:
    profile = [
        (0, -0.1),
        (radius, -0.1),
        (radius, 0.06),
        (radius * 0.8, 0.1),
        (radius * 0.6, 0.06),
        (radius * 0.2, 0.06),
        (0, 0.08),
    ]
    for x in axles:
        for side in (-1, 1):
            wheel = placed(revolve(profile, 48), (x, side * width / 2, radius), (-90 * side, 0, 0))
            product.add(wheel, claimed=claimed)


def toy_car(dice: Dice) -> Assembly:
    """Return a toy car."""
    product = Assembly()
    width, long, radius = dice.uniform(0.75, 0.95), dice.uniform(1.8, 2.3), dice.uniform(0.2, 0.28)
    roof, hood = dice.uniform(0.85, 1.1), dice.uniform(0.5, 0.62)
    kind = dice.pick("saloon", "van", "coupe")
    ends = {
        "saloon": (-0.3, 0.12, hood),
        "van": (-0.47, 0.2, roof * 0.9),
        "coupe": (-0.2, 0.05, hood),
    }
    back, ahead, boot = ends[kind]
    outline = points(
        (-long / 2, 0.18),
        (-long / 2, boot * 0.9),
        (-long * 0.46, boot),
        (long * (back - 0.08 if kind != "van" else -0.45), boot if kind != "van" else roof * 0.97),
        (long * back, roof),
        (long * ahead, roof),
        (long * (ahead + 0.16), hood + 0.02),
        (long * 0.44, hood * 0.9),
        (long / 2, hood * 0.7),
        (long / 2, 0.18),
    )
    body = extrude_back(polygon(outline).offset(-0.05).offset(0.05), width)

    def tapered(rows: Points) -> Points:
        x, y, z = rows.T
        # Linear in z from the ground up: the sides stay plane.
        return np.column_stack([x, y * (1 - 0.2 * (z - 0.2)), z])

    body = body.warp_batch(tapered)
    for x in (-long * 0.3, long * 0.3):
        for side in (-1, 1):
            arch = cylinder(radius * 1.2, width * 0.4, -width * 0.2)
            body -= placed(arch, (x, side * width / 2, radius), (90, 0, 0))
    middle = long * (back + ahead) / 2
    glass = rectangle(long * (ahead - back) * 0.85, (roof - hood) * 0.6, 0.06)
    window = extrude_back(glass.translate((middle, (roof + hood) / 2)), width * 3)
    core = box(long, width * 0.74, 3)
    product.add(body - (window - core))
    product.add_all(
        placed(
            cylinder(0.07, 0.06, sides=24), (long / 2 - 0.03, side * width * 0.33, 0.38), (0, 90, 0)
        )
        for side in (-1, 1)
    )
    _add_wheels(product, [-long * 0.3, long * 0.3], width * 0.92, radius, dice.chance(0.85))
    return product


def toy_truck(dice: Dice) -> Assembly:
    """Return a toy truck or a toy engine."""
    product = Assembly()
    width, long, radius = dice.uniform(0.7, 0.9), dice.uniform(1.8, 2.3), dice.uniform(0.18, 0.26)
    cab, load, corner = dice.uniform(0.6, 0.8), dice.uniform(0.35, 0.9), dice.uniform(0, 0.08)
    product.add(slab(long, width * 0.9, 0.22, 0.05, 0.22))
    if dice.chance(0.6):
        product.add(slab(long * 0.3, width, cab, corner, 0.44).translate((long * 0.33, 0, 0)))
        pane = box(long * 0.14, width * 1.04, cab * 0.4, (long * 0.36, 0, 0.44 + cab * 0.45))
        product.add(
            pane,
            box(long * 0.3 + 0.03, width * 0.8, cab * 0.36, (long * 0.335, 0, 0.44 + cab * 0.47)),
        )
        bed = box(long * 0.6, width, load, (-long * 0.19, 0, 0.44))
        if dice.chance():
            bed -= box(long * 0.6 - 0.1, width - 0.1, load, (-long * 0.19, 0, 0.5))
        product.add(bed)
    else:
        house = slab(long * 0.3, width, cab, corner, 0.44).translate((-long * 0.32, 0, 0))
        window = box(long * 0.16, width * 3, cab * 0.4, (-long * 0.32, 0, 0.44 + cab * 0.45))
        product.add(house - window)
        product.add(
            slab(long * 0.36, width * 1.12, 0.06, 0.03, 0.44 + cab).translate((-long * 0.32, 0, 0))
        )
        boiler = placed(
            cylinder(width * 0.36, long * 0.58), (-long * 0.17, 0, 0.44 + width * 0.34), (0, 90, 0)
        )
        product.add(boiler, cylinder(0.08, 0.4, 0.9, top=0.14).translate((long * 0.3, 0, 0)))
        product.add(ball(0.13, (long * 0.05, 0, 0.44 + width * 0.7)))
    _add_wheels(product, [-long * 0.32, 0, long * 0.32], width * 0.95, radius, dice.chance(0.85))
    return product


def toy_robot(dice: Dice) -> Assembly:
    """Return a toy robot."""
    product = Assembly()
    body, chest = dice.uniform(0.75, 1.0), dice.uniform(0.75, 1.0)
    head, corner = dice.uniform(0.5, 0.7), dice.uniform(0, 0.14)
    shoulder = 0.72 + body
    product.add(slab(chest, 0.5, body, corner, 0.7))
    product.add(cylinder(0.12, 0.2, shoulder - 0.05))
    round_head = dice.chance(0.3)
    top = shoulder + 0.1
    if round_head:
        product.add(cylinder(head / 2, 0.45, top))
    else:
        product.add(slab(head, 0.45, 0.45, corner, top))
    arm, reach, eye = dice.uniform(0.07, 0.11), dice.uniform(0, 0.3), dice.uniform(0.06, 0.09)
    side = chest / 2
    swing = spline(
        [
            (side + 0.12, 0, shoulder - 0.2),
            (side + 0.2, -0.02, shoulder - 0.55),
            (side + 0.17, -reach, shoulder - 0.85),
        ],
        7,
    )
    product.add_pair(
        placed(cylinder(0.13, 0.14), (side - 0.02, 0, shoulder - 0.2), (0, 90, 0)),
        tube(swing, arm),
        ball(arm * 1.3, swing[-1]),
        slab(0.28, 0.32, 0.72, 0.06, 0.06).translate((chest * 0.26, 0, 0)),
        slab(0.34, 0.5, 0.14, 0.1).translate((chest * 0.26, -0.06, 0)),
    )
    face = -head / 2 if round_head else -0.225
    product.add_pair(
        placed(cylinder(eye, 0.08, sides=28), (head * 0.22, face + 0.05, top + 0.3), (90, 0, 0))
    )
    product.add(box(head * 0.45, 0.1, 0.05, (0, face, top + 0.08)))
    panel = dice.pick("gauge", "panel", "none")
    if panel == "gauge":
        product.add(placed(cylinder(0.16, 0.05), (0, -0.24, 0.75 + body * 0.6), (90, 0, 0)))
    elif panel == "panel":
        product.add(box(chest * 0.6, 0.05, body * 0.35, (0, -0.25, 0.75 + body * 0.4)))
    if dice.chance(0.7):
        product.add(cylinder(0.02, 0.25, top + 0.43, sides=20), ball(0.055, (0, 0, top + 0.7)))
    return product


def dumbbell(dice: Dice) -> Assembly:
    """Return a dumbbell with round, six-sided or stacked weights."""
    product = Assembly()
    grip, half = dice.uniform(0.09, 0.13), dice.uniform(0.3, 0.45)
    bulge, weight, bevel = dice.uniform(0, 0.25), dice.uniform(0.34, 0.5), dice.uniform(0.02, 0.06)
    level = np.linspace(-half, half, 13)
    bar = np.column_stack([grip * (1 + bulge * np.cos(level / half * 1.5)), level])
    product.add(placed(turned(bar), turn=(0, 90, 0)))
    kind = dice.pick("hexagon", "round", "plates")
    plates = dice.integer(2, 4) if kind == "plates" else 1
    thick, shrink = dice.uniform(0.35, 0.6) / plates, dice.uniform(0.75, 0.95)
    at, radius = half, weight
    for _ in range(plates):
        profile = [
            (radius - bevel, 0),
            (radius, bevel),
            (radius, thick - bevel),
            (radius - bevel, thick),
        ]
        disc = turned(profile, 6 if kind == "hexagon" else 64)
        product.add_pair(placed(disc, (at, 0, 0), (0, 90, 0)))
        at += thick
        radius *= shrink
    if kind == "plates":
        product.add_pair(
            placed(cylinder(grip * 1.6, 0.1, sides=6), (at, 0, 0), (0, 90, 0)),
            placed(cylinder(grip * 0.9, 0.22), (at, 0, 0), (0, 90, 0)),
        )
    return product


def kettlebell(dice: Dice) -> Assembly:
    """Return a kettlebell."""
    product = Assembly()
    radius, grip = dice.uniform(0.5, 0.65), dice.uniform(0.085, 0.13)
    wide, tall = dice.uniform(0.5, 0.72), dice.uniform(1.6, 1.95)
    product.add(ball(radius, sides=64).trim_by_plane((0, 0, 1), -radius * 0.85))
    path = [
        (-radius * wide * 0.85, 0, radius * 0.55),
        (-radius * wide, 0, radius * 1.2),
        (-radius * 0.4, 0, radius * tall),
        (radius * 0.4, 0, radius * tall),
        (radius * wide, 0, radius * 1.2),
        (radius * wide * 0.85, 0, radius * 0.55),
    ]
    product.add(tube(spline(path, 8), grip, sides=24))
    if dice.chance(0.4):
        product.add(placed(cylinder(radius * 0.5, 0.05), (0, -radius * 0.86, 0), (90, 0, 0)))
    if dice.chance(0.4):
        product.add(cylinder(radius * 0.7, 0.1, -radius * 0.92))
    return product


FAMILIES = (
    Family("12-11", "bicycle", "Bicycle", bicycle),
    Family("19-06", "pen", "Pen", pen),
    Family("21-01", "toy-car", "Toy car", toy_car),
    Family("21-01", "toy-truck", "Toy vehicle", toy_truck),
    Family("21-01", "toy-robot", "Toy robot", toy_robot),
    Family("21-02", "dumbbell", "Dumbbell", dumbbell),
    Family("21-02", "kettlebell", "Kettlebell", kettlebell),
)
