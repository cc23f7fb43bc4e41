"""Class 07: tableware and cookware."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import (
    Points,
    Solid,
    ball,
    cylinder,
    height_spline,
    mirrored,
    points,
    revolve,
    spline,
    torus,
    tube,
    turned,
    vessel,
)
from distill.synthetic.parts import Assembly, Family


def radius_at(profile: Points, height: float) -> float:
    """Return the radius of a (radius, z) profile at a height."""
    return float(np.interp(height, profile[:, 1], profile[:, 0]))


def side_handle(
    radius: float, low: float, high: float, reach: float, thickness: float, flatness: float = 1.5
) -> Solid:
    """Return an ear-shaped handle on the right side of a vessel of that radius."""
    path = [
        (radius - 0.02, 0, high),
        (radius + reach * 0.7, 0, high + 0.02),
        (radius + reach, 0, (low + high) / 2 + 0.03),
        (radius + reach * 0.55, 0, low),
        (radius - 0.04, 0, low - 0.01),
    ]
    return tube(spline(path, 9), thickness, flatness=flatness)


def _beads(profile: Points, heights: list[float], thickness: float) -> list[Solid]:
    return [torus(radius_at(profile, z) - 0.005, thickness, z) for z in heights]


def mug(dice: Dice) -> Assembly:
    """Return a mug or a cup, some on a saucer."""
    product = Assembly()
    base, top, height = dice.uniform(0.55, 0.95), dice.uniform(0.75, 1.05), dice.uniform(1.1, 1.9)
    belly = (base + top) / 2 * dice.uniform(0.85, 1.25)
    wall, reach, grip = dice.uniform(0.05, 0.09), dice.uniform(0.4, 0.6), dice.uniform(0.06, 0.1)
    if dice.chance(0.6):
        nodes = [(base * 0.92, 0), (base, 0.07), (belly, height * 0.5), (top, height)]
        profile = height_spline(nodes, 8)
    else:
        profile = np.array([(base, 0.0), (top, height)])
    product.add(vessel(profile, wall))
    middle = radius_at(profile, height * 0.5)
    handle = side_handle(middle, height * 0.22, height * 0.78, reach, grip)
    product.add(handle - turned(profile - [wall * 0.5, 0]))
    if dice.chance(0.25):
        saucer = [
            (0, -0.1),
            (base * 0.8, -0.1),
            (base * 1.8, 0.08),
            (base * 1.82, 0.12),
            (base, 0.0),
            (0, 0.0),
        ]
        product.add(revolve(saucer), claimed=dice.chance(0.6))
    elif dice.chance(0.35):
        heights = (np.linspace(0.2, 0.85, dice.integer(1, 3)) * height).tolist()
        product.add_all(_beads(profile, heights, 0.025))
    return product


def bowl(dice: Dice) -> Assembly:
    """Return a bowl on a foot ring."""
    product = Assembly()
    foot, top, height = dice.uniform(0.45, 0.75), dice.uniform(1.1, 1.6), dice.uniform(0.55, 1.0)
    belly = foot + (top - foot) * dice.uniform(0.55, 1.0)
    nodes = [(foot, 0), (foot, 0.06), (belly, height * 0.5), (top, height)]
    profile = height_spline(nodes, 8)
    wall = dice.uniform(0.04, 0.08)
    product.add(vessel(profile, wall))
    if dice.chance(0.4):
        product.add(torus(top - wall / 2, wall * 0.8, height))
    if dice.chance(0.3):
        handle = tube(
            spline(
                [
                    (top - 0.05, -0.25, height * 0.85),
                    (top + 0.2, -0.2, height * 0.9),
                    (top + 0.2, 0.2, height * 0.9),
                    (top - 0.05, 0.25, height * 0.85),
                ],
                7,
            ),
            0.05,
        )
        product.add_pair(handle)
    return product


def plate(dice: Dice) -> Assembly:
    """Return a plate with a rim."""
    product = Assembly()
    radius, rim = dice.uniform(0.6, 0.9), dice.uniform(1.25, 1.6)
    rise = dice.uniform(0.16, 0.3)
    well = dice.uniform(0.06, 0.14)
    edge = radius * rim
    outer = [(0, 0), (radius * 0.85, 0), (radius * 0.85, 0.02), (radius * 1.08, well)]
    inner = [
        (edge, rise),
        (edge, rise + 0.03),
        (radius, well + 0.06),
        (radius * 0.93, 0.07),
        (0, 0.07),
    ]
    product.add(revolve([*outer, *inner], 72))
    if dice.chance(0.5):
        count = dice.integer(1, 2)
        for share in np.linspace(0.4, 0.8, count):
            ring = radius + (edge - radius) * share
            product.add(torus(ring, 0.016, well + 0.055 + (rise - well - 0.02) * share, sides=72))
    return product


def goblet(dice: Dice) -> Assembly:
    """Return a goblet: a bowl on a stem."""
    product = Assembly()
    radius, stem = dice.uniform(0.7, 1.0), dice.uniform(0.5, 1.2)
    depth = dice.uniform(0.8, 1.4)
    belly, lip = radius * dice.uniform(0.55, 0.75), radius * dice.uniform(0.4, 0.7)
    nodes = [
        (0.05, stem),
        (belly * 0.85, stem + depth * 0.2),
        (belly, stem + depth * 0.5),
        (lip, stem + depth),
    ]
    product.add(vessel(height_spline(nodes, 8), 0.035))
    knot = dice.pick(0.05, 0.05, 0.14)
    stalk = spline(
        [
            (0.14, 0.08),
            (0.05, stem * 0.35),
            (knot, stem * 0.6),
            (0.05, stem * 0.8),
            (0.09, stem + 0.05),
        ],
        7,
    )
    foot = radius * dice.uniform(0.45, 0.6)
    product.add(revolve(points((0, 0), (foot, 0), (foot, 0.025), stalk, (0, stem + 0.05))))
    return product


def pitcher(dice: Dice) -> Assembly:
    """Return a pitcher with a spout and a handle."""
    product = Assembly()
    base, height = dice.uniform(0.6, 0.85), dice.uniform(1.8, 2.6)
    belly, neck = base * dice.uniform(1.0, 1.3), base * dice.uniform(0.55, 0.85)
    lip = neck * dice.uniform(1.05, 1.3)
    nodes = [(base, 0), (belly, height * 0.3), (neck, height * 0.78), (lip, height)]
    profile = height_spline(nodes, 9)

    def pour(rows: Points) -> Points:
        x, y, z = rows.T
        high = np.clip((z - height * 0.75) / (height * 0.25), 0, 1) ** 2
        left = np.clip(-x / lip, 0, 1) ** 3 * np.exp(-((y / (0.35 * lip)) ** 2))
        return np.column_stack([x - 0.4 * lip * high * left, y, z + 0.06 * height * high * left])

    product.add(vessel(profile, 0.06, 96).warp_batch(pour))
    reach, grip = dice.uniform(0.4, 0.6), dice.uniform(0.06, 0.09)
    middle = radius_at(profile, height * 0.5)
    handle = side_handle(middle, height * 0.3, height * 0.85, reach, grip)
    product.add(handle - turned(profile - [0.03, 0]))
    if dice.chance(0.3):
        heights = (np.array([0.15, 0.6])[: dice.integer(1, 2)] * height).tolist()
        product.add_all(_beads(profile, heights, 0.025))
    return product


def _lid(radius: float, height: float, dome: float) -> list[Solid]:
    """Return a domed lid and its knob on a pot of that radius and height."""
    curve = spline(
        [
            (radius * 0.92, height + 0.05),
            (radius * 0.5, height + dome),
            (0.06, height + dome + 0.03),
        ],
        6,
    )
    top = height + dome + 0.03
    cover = revolve(
        points(
            (0, height), (radius + 0.02, height), (radius + 0.02, height + 0.035), curve, (0, top)
        )
    )
    knob = turned(
        [
            (0.06, top - 0.03),
            (0.07, top + 0.05),
            (0.15, top + 0.08),
            (0.15, top + 0.12),
            (0.1, top + 0.15),
        ]
    )
    return [cover, knob]


def pot(dice: Dice) -> Assembly:
    """Return a cooking pot with two ears, most with a lid."""
    product = Assembly()
    radius, height = dice.uniform(0.8, 1.1), dice.uniform(0.6, 1.3)
    base = radius * dice.uniform(0.8, 0.99)
    product.add(vessel([(base, 0), (radius, 0.12), (radius, height)], 0.04))
    product.add(torus(radius, 0.025, height))
    wide, reach = dice.uniform(0.2, 0.32), dice.uniform(0.18, 0.3)
    ear = [
        (radius - 0.02, -wide, height * 0.8),
        (radius + reach, -wide * 0.8, height * 0.82),
        (radius + reach, wide * 0.8, height * 0.82),
        (radius - 0.02, wide, height * 0.8),
    ]
    product.add_pair(tube(spline(ear, 7), 0.045))
    dome = dice.uniform(0.1, 0.25)
    if dice.chance(0.7):
        product.add_all(_lid(radius, height, dome))
    return product


def pan(dice: Dice) -> Assembly:
    """Return a frying pan with a long handle."""
    product = Assembly()
    radius, height = dice.uniform(0.8, 1.1), dice.uniform(0.2, 0.42)
    base, reach = radius * dice.uniform(0.72, 0.92), dice.uniform(1.2, 1.9)
    lift, flatness = dice.uniform(0.05, 0.3), dice.uniform(0.5, 1.0)
    product.add(vessel([(base, 0), (base + 0.03, 0.02), (radius, height)], 0.04))
    path = spline(
        [
            (radius - 0.05, 0, height * 0.75),
            (radius + 0.3, 0, height + 0.05),
            (radius + reach, 0, height + lift),
        ],
        8,
    )
    grip = tube(path, np.linspace(0.06, 0.1, len(path)), flatness=flatness)
    end = path[-1]
    hole = cylinder(0.035, 1, -0.5, sides=24).translate((end[0] - 0.1, 0, end[2]))
    product.add(grip - hole if dice.chance() else grip, claimed=dice.chance(0.85))
    if dice.chance(0.35):
        product.add_all(_lid(radius, height, 0.15))
    return product


def kettle(dice: Dice) -> Assembly:
    """Return a kettle with a spout and a handle over the top or at the side."""
    product = Assembly()
    radius, height = dice.uniform(0.8, 1.05), dice.uniform(0.8, 1.3)
    shoulder = radius * dice.uniform(0.75, 0.95)
    nodes = [
        (radius * 0.97, 0),
        (radius * 1.02, 0.15),
        (shoulder, height * 0.65),
        (radius * 0.42, height),
    ]
    profile = height_spline(nodes, 8)
    product.add(turned(profile))
    product.add(
        turned(
            [(radius * 0.4, height - 0.02), (radius * 0.36, height + 0.05), (0.06, height + 0.1)]
        ),
        ball(0.09, (0, 0, height + 0.16)),
    )
    tip = height * dice.uniform(0.9, 1.1)
    spout = spline(
        [(radius * 0.7, 0, height * 0.3), (radius * 1.3, 0, height * 0.6), (radius * 1.5, 0, tip)],
        7,
    )
    product.add(tube(spout, np.linspace(0.2, 0.08, len(spout))))
    if dice.chance():
        arch = [
            (-radius * 0.62, 0, height * 0.72),
            (-radius * 0.64, 0, height * 1.35),
            (0, 0, height * 1.6),
            (radius * 0.64, 0, height * 1.35),
            (radius * 0.62, 0, height * 0.72),
        ]
        product.add(tube(spline(arch, 8), 0.055, flatness=1.5))
    else:
        handle = side_handle(radius * 0.85, height * 0.25, height * 0.82, 0.5, 0.07)
        product.add(mirrored(handle))
    return product


FAMILIES = (
    Family("07-01", "mug", "Mug", mug),
    Family("07-01", "bowl", "Bowl", bowl),
    Family("07-01", "plate", "Plate", plate),
    Family("07-01", "goblet", "Goblet", goblet),
    Family("07-01", "pitcher", "Pitcher", pitcher),
    Family("07-02", "pot", "Cooking pot", pot),
    Family("07-02", "pan", "Frying pan", pan),
    Family("07-02", "kettle", "Kettle", kettle),
)
