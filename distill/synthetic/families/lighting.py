"""Class 26: lamps, torches, lanterns."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import (
    Solid,
    ball,
    box,
    cylinder,
    height_spline,
    placed,
    points,
    revolve,
    slab,
    spline,
    torus,
    tube,
    turned,
    vector,
)
from distill.synthetic.parts import Assembly, Family


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
    Family("26-02", "torch", "Torch", torch),
    Family("26-02", "lantern", "Lantern", lantern),
    Family("26-05", "table-lamp", "Table lamp", table_lamp),
    Family("26-05", "desk-lamp", "Desk lamp", desk_lamp),
    Family("26-05", "pendant-lamp", "Pendant lamp", pendant_lamp),
)
