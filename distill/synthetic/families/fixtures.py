"""Class 23: taps, showers, fans."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import (
    box,
    cushion,
    cylinder,
    extrude_up,
    placed,
    points,
    polygon,
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


FAMILIES = (
    Family("23-01", "tap", "Tap", tap),
    Family("23-01", "shower-head", "Hand shower", shower_head),
    Family("23-04", "fan", "Electric fan", fan),
)
