"""Classes 23 and 26: taps, fans, lamps, torches."""

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
    height_spline,
    placed,
    points,
    polygon,
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


def tap(dice: Dice) -> Assembly:
    """Return a basin tap with a spout and one lever, a cross or two handles."""
    product = Assembly()
    height, radius, reach = dice.uniform(0.7, 1.3), dice.uniform(0.1, 0.16), dice.uniform(0.7, 1.1)
    rose, end = radius * dice.uniform(1.6, 2.3), dice.uniform(0.55, 0.85)
    product.add(turned([(rose, 0), (rose, 0.05), (radius * 1.2, 0.1)]))
    spout = dice.pick("goose", "arc", "square")
    if spout == "square":
        product.add(cylinder(radius, height))
        beam = cushion(
            radius * 1.8, reach + radius, radius * 1.1, radius * 0.2, corner=radius * 0.3
        )
        product.add(beam.translate((0, -reach / 2, height - radius * 0.3)))
        product.add(
            cylinder(radius * 0.5, 0.1, height - radius * 0.3 - 0.07).translate(
                (0, -reach * 0.92, 0)
            )
        )
    else:
        if spout == "goose":
            nodes = [
                (0, 0, 0.05),
                (0, 0, height),
                (0, -reach * 0.15, height + reach * 0.45),
                (0, -reach * 0.55, height + reach * 0.6),
                (0, -reach * 0.95, height + reach * 0.35),
                (0, -reach, height * 0.85),
            ]
        else:
            nodes = [
                (0, 0, 0.05),
                (0, 0, height * 0.6),
                (0, -reach * 0.3, height * 0.95),
                (0, -reach * 0.8, height * (end + 0.1)),
                (0, -reach, height * end),
            ]
        path = spline(nodes, 9)
        product.add(tube(path, radius * 0.8, sides=24))
        step = path[-1] - path[-2]
        step /= np.linalg.norm(step)
        product.add(tube([path[-1] - step * 0.05, path[-1] + step * 0.08], radius * 0.98, sides=24))
    _add_valves(product, dice, radius, height)
    return product


def _add_valves(product: Assembly, dice: Dice, radius: float, height: float) -> None:
    lift, long = dice.uniform(0.25, 0.45), dice.uniform(0.2, 0.4)
    kind = dice.pick("lever", "cross", "two")
    if kind == "two":
        product.add(slab(1.4, radius * 3.4, 0.05, radius * 1.6))
        valve = cylinder(radius * 1.2, 0.25, top=radius).translate((0.52, 0, 0))
        cap = cylinder(radius, 0.1, 0.25).translate((0.52, 0, 0))
        grip = tube([(0.52, 0, 0.3), (0.55 + long, -0.05, 0.37)], [0.06, 0.04])
        product.add_pair(valve, cap, grip)
        return
    level = height * 0.4
    product.add(placed(cylinder(radius * 0.7, 0.2 + radius), (0, 0, level), (0, 90, 0)))
    at = radius + 0.15
    if kind == "lever":
        product.add(tube([(at, 0, level), (at + 0.06, -0.05, level + lift)], [0.05, 0.035]))
    else:
        bar = cushion(0.07, 0.36, 0.07, 0.02).translate((at + 0.05, 0, level - 0.035))
        product.add(
            bar,
            placed(cushion(0.07, 0.36, 0.07, 0.02), (at + 0.085, 0, level), (90, 0, 0)).translate(
                (-0.035, 0.035, 0)
            ),
        )


def shower_head(dice: Dice) -> Assembly:
    """Return a hand shower."""
    product = Assembly()
    radius, long, thick = dice.uniform(0.35, 0.55), dice.uniform(1.1, 1.6), dice.uniform(0.08, 0.16)
    grip = dice.uniform(0.07, 0.1)
    head = turned([(radius * 0.5, thick), (radius * 0.9, thick * 0.7), (radius, 0)][::-1])
    face = placed(head, turn=(-75, 0, 0))
    product.add(face)
    path = spline(
        [
            (0, 0.02, -radius * 0.2),
            (0, 0.12, -radius - 0.1),
            (0, 0.1, -long * 0.6),
            (0, 0.05, -long),
        ],
        9,
    )
    share = np.linspace(0, 1, len(path))
    product.add(
        tube(path, grip * np.interp(share, [0, 0.4, 0.9, 1], [0.9, 1.15, 0.85, 0.8]), sides=24)
    )
    rings = dice.integer(2, 3)
    nozzles = []
    for ring in range(rings):
        at = radius * (0.25 + 0.28 * ring)
        for angle in np.arange(6 * (ring + 1)) * 2 * np.pi / (6 * (ring + 1)):
            nozzles.append(
                cylinder(0.022, 0.05, -0.03, sides=20).translate(
                    (at * np.cos(angle), at * np.sin(angle), 0)
                )
            )
    product.add_all(placed(nozzle, turn=(-75, 0, 0)) for nozzle in nozzles)
    return product


def fan(dice: Dice) -> Assembly:
    """Return an electric fan behind a wire grille."""
    product = Assembly()
    radius, blades, pitch = dice.uniform(0.6, 0.8), dice.integer(3, 5), dice.uniform(12, 28)
    product.add(placed(cylinder(0.13, 0.26, top=0.1), turn=(90, 0, 0)))
    motor = stack([(0, 0.36, 0.36), (0.3, 0.3, 0.3), (0.42, 0.16, 0.16)], 2, 40)
    product.add(placed(motor, (0, 0.08, 0), (-90, 0, 0)))
    low, high = dice.uniform(0.18, 0.3), dice.uniform(0.2, 0.32)
    lower = spline(
        [
            (0.08, -0.06),
            (radius * 0.45, -radius * low),
            (radius * 0.85, -radius * 0.12),
            (radius * 0.88, radius * 0.1),
        ],
        6,
    )
    upper = spline([(radius * 0.7, radius * high), (radius * 0.3, radius * 0.15), (0.08, 0.06)], 6)
    blade = extrude_up(polygon(points(lower, upper)), 0.02).rotate((pitch, 0, 0))
    product.add_all(
        placed(blade.rotate((0, 0, 360 / blades * number)), (0, -0.13, 0), (90, 0, 0))
        for number in range(blades)
    )
    claimed = dice.chance(0.8)
    for ring, y in ((1.0, -0.02), (1.0, -0.12), (0.22, -0.3), (0.62, -0.27)):
        hoop = torus(radius * ring, 0.01 if ring < 1 else 0.018, sides=48)
        product.add(placed(hoop, (0, y, 0), (90, 0, 0)), claimed=claimed)
    wires = dice.integer(10, 16)
    for angle in np.arange(wires) * 2 * np.pi / wires:
        across = np.array([np.cos(angle), 0, np.sin(angle)]) * radius
        path = [
            across * 0.22 + vector(0, -0.3, 0),
            across * 0.62 + vector(0, -0.275, 0),
            across + vector(0, -0.1, 0),
        ]
        product.add(tube(spline(path, 3), 0.006, sides=14), claimed=claimed)
    stand, foot = dice.uniform(0.15, 1.4), radius * dice.uniform(0.6, 0.8)
    bottom = -radius - stand
    product.add(cylinder(0.055, stand + radius * 0.95, bottom).translate((0, 0.24, 0)))
    product.add(box(0.1, 0.2, 0.12, (0, 0.2, -0.2)))
    base = [(foot, 0), (foot, 0.05), (0.1, dice.uniform(0.08, 0.16))]
    product.add(turned(base).translate((0, 0.2, bottom)))
    return product


def _shade(dice: Dice) -> tuple[Solid, float, float]:
    """Return a lampshade standing on z = 0, its height and its upper radius."""
    lower, tall = dice.uniform(0.4, 0.7), dice.uniform(0.35, 0.65)
    upper = lower * dice.uniform(0.35, 0.95)
    kind = dice.pick("cone", "cone", "dome", "faceted")
    if kind == "dome":
        outer = spline(
            [(lower, 0), (lower * 0.93, tall * 0.4), (upper * 0.75, tall * 0.85), (0.1, tall)], 7
        )
        inner = np.maximum(outer[::-1] - [0.03, 0.03], [0.001, 0])
        return revolve(points(outer, (0, tall), (0, tall - 0.03), inner)), tall, 0.1
    sides = dice.pick(4, 6, 8) if kind == "faceted" else 64
    wall = [(lower, 0), (upper, tall), (upper - 0.03, tall), (lower - 0.03, 0)]
    return (
        revolve(wall, sides).rotate((0, 0, 180 / sides)),
        tall,
        upper * (0.7 if kind == "faceted" else 1),
    )


def table_lamp(dice: Dice) -> Assembly:
    """Return a lamp with a shade on a turned foot, a column or a tripod."""
    product = Assembly()
    kind = dice.pick("turned", "turned", "column", "tripod")
    height = dice.uniform(1.8, 2.6) if kind == "tripod" else dice.uniform(0.7, 1.3)
    shade, tall, upper = _shade(dice)
    beads, foot = dice.uniforms(0.06, 0.3, 6), dice.uniform(0.25, 0.38)
    if kind == "turned":
        body = height_spline(np.column_stack([beads, np.linspace(0.05, height, 6)]), 7)
        body[:, 0] = np.maximum(body[:, 0], 0.035)
        product.add(revolve(points((0, 0), (foot, 0), (foot, 0.05), body, (0, height))))
    elif kind == "column":
        product.add(cylinder(0.03, height), turned([(foot, 0), (foot, 0.04), (0.05, 0.08)]))
    else:
        for angle in np.arange(3) * 2 * np.pi / 3 + 0.5:
            spread = np.array([np.cos(angle), np.sin(angle), 0]) * foot * 1.8
            product.add(tube([spread, vector(0, 0, height)], [0.022, 0.03]))
    low = height - tall * 0.25
    product.add(shade.translate((0, 0, low)))
    product.add(
        cylinder(0.05, 0.12, height - 0.02), cylinder(0.015, tall * 0.75 + 0.04, height, sides=24)
    )
    product.add(tube([(-upper, 0, low + tall - 0.04), (upper, 0, low + tall - 0.04)], 0.012))
    return product


def desk_lamp(dice: Dice) -> Assembly:
    """Return a desk lamp with a jointed arm."""
    product = Assembly()
    elbow = np.array([dice.uniform(0.2, 0.5), 0, dice.uniform(0.7, 1.0)])
    tip = elbow + vector(-dice.uniform(0.5, 0.9), 0, dice.uniform(0.1, 0.4))
    foot, tilt = dice.uniform(0.3, 0.42), dice.uniform(-5, 30)
    product.add(turned([(foot, 0), (foot, 0.05), (0.08, 0.08)], 64))
    foot_end = np.array([0, 0, 0.05])
    for start, end in ((foot_end, elbow), (elbow, tip)):
        if dice.chance():
            product.add(tube([start, end], 0.03))
        else:
            for y in (-0.04, 0.04):
                product.add(tube([start + vector(0, y, 0), end + vector(0, y, 0)], 0.016))
    product.add(placed(cylinder(0.06, 0.14, -0.07), elbow, (90, 0, 0)))
    mouth, deep = dice.uniform(0.24, 0.36), dice.uniform(0.3, 0.42)
    hood = dice.pick("cone", "bell")
    outer = (
        np.array([(0.08, 0.0), (mouth, -deep)])
        if hood == "cone"
        else spline([(0.06, 0.02), (mouth * 0.75, -deep * 0.3), (mouth, -deep)], 8)
    )
    inner = (outer - [0.03, 0.01])[::-1]
    inner[:, 0] = np.maximum(inner[:, 0], 0.01)
    shade = revolve(
        points((0, outer[0, 1] + 0.06), (outer[0, 0], outer[0, 1] + 0.06), outer, inner, (0, -0.01))
    )
    product.add(placed(shade, tip, (0, tilt, 0)))
    product.add(placed(ball(0.09, (0, 0, -deep * 0.45)), tip, (0, tilt, 0)), claimed=False)
    product.add(placed(cylinder(0.05, 0.12, -0.06), tip + vector(0, 0, 0.03), (90, 0, 0)))
    return product


def pendant_lamp(dice: Dice) -> Assembly:
    """Return a hanging lamp."""
    product = Assembly()
    shade, tall, _ = _shade(dice)
    cord, rose = dice.uniform(0.5, 1.1), dice.uniform(0.15, 0.25)
    top = tall + cord
    product.add(shade)
    product.add(cylinder(0.012, cord + 0.05, tall - 0.03, sides=24), claimed=dice.chance(0.7))
    product.add(
        cylinder(0.07, 0.14, tall - 0.06), turned([(rose, top - 0.02), (rose * 0.9, top + 0.06)])
    )
    product.add(
        ball(0.12, (0, 0, tall * 0.4)), cylinder(0.02, tall * 0.55, tall * 0.4), claimed=False
    )
    return product


def torch(dice: Dice) -> Assembly:
    """Return a pocket torch."""
    product = Assembly()
    radius, long, flare = dice.uniform(0.14, 0.2), dice.uniform(1.1, 1.9), dice.uniform(1.1, 1.9)
    neck, face = dice.uniform(0.15, 0.4), radius * flare
    front = long + neck
    body = [
        (radius * 0.9, 0),
        (radius, 0.05),
        (radius, long),
        (face, front),
        (face, front + 0.25),
        (face * 0.85, front + 0.25),
        (face * 0.4, front + 0.05),
    ]
    product.add(turned(body))
    rings, reach = dice.integer(2, 9), dice.uniform(0.3, 0.65)
    if dice.chance(0.6):
        product.add_all(
            torus(radius, 0.016, z, sides=48) for z in np.linspace(0.2, 0.2 + reach * long, rings)
        )
    else:
        product.add_all(
            box(0.05, 0.03, long * 0.6, (0, -radius, long * 0.15)).rotate((0, 0, 45 * i))
            for i in range(8)
        )
    button = placed(slab(0.1, 0.2, 0.06, 0.05), (0, -radius + 0.01, long * 0.85), (90, 0, 0))
    product.add(button, torus(face, 0.025, front + 0.1))
    if dice.chance(0.3):
        product.add(placed(torus(0.12, 0.015, sides=40), (0, 0, -0.1), (90, 0, 0)))
    return product.turned((0, 90, 0))


def lantern(dice: Dice) -> Assembly:
    """Return a hand lantern with a bow."""
    body = Assembly()
    radius, tall = dice.uniform(0.35, 0.5), dice.uniform(0.6, 1.0)
    base, roof = radius * dice.uniform(1.1, 1.35), dice.uniform(0.2, 0.4)
    sides = dice.pick(4, 6, 48)
    body.add(turned([(base, 0), (base, 0.12), (radius * 0.9, 0.2)], sides))
    body.add(cylinder(radius * 0.8, tall, 0.18, sides=sides), claimed=dice.chance(0.6))
    top = 0.18 + tall
    body.add(
        turned(
            [
                (base, top),
                (base, top + 0.06),
                (radius * 0.3, top + roof),
                (radius * 0.3, top + roof + 0.1),
            ],
            sides,
        )
    )
    posts = sides if sides < 10 else 4
    for angle in np.arange(posts) * 2 * np.pi / posts:
        x, y = radius * 0.92 * np.cos(angle), radius * 0.92 * np.sin(angle)
        body.add(cylinder(0.025, tall + 0.1, 0.15, sides=20).translate((x, y, 0)))
    product = body.turned((0, 0, 180 / sides))
    span = base * np.cos(np.pi / sides)
    bow: list[tuple[float, float, float]] = [
        (-span, 0, top + 0.03),
        (-span * 0.98, 0, top + roof * 0.6),
        (-span * 0.7, 0, top + roof + base * 0.35),
        (0, 0, top + roof + base * 0.75),
    ]
    bow += [(-x, y, z) for x, y, z in bow[-2::-1]]
    product.add(tube(spline(bow, 9), 0.022))
    return product


FAMILIES = (
    Family("23-01", "tap", "Tap", tap),
    Family("23-01", "shower-head", "Hand shower", shower_head),
    Family("23-04", "fan", "Electric fan", fan),
    Family("26-02", "torch", "Torch", torch),
    Family("26-02", "lantern", "Lantern", lantern),
    Family("26-05", "table-lamp", "Table lamp", table_lamp),
    Family("26-05", "desk-lamp", "Desk lamp", desk_lamp),
    Family("26-05", "pendant-lamp", "Pendant lamp", pendant_lamp),
)
