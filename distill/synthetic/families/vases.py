"""Class 11: vases and flowerpots."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.families.tableware import radius_at, side_handle
from distill.synthetic.geometry import (
    Points,
    box,
    height_spline,
    lifted,
    loft,
    mirrored,
    placed,
    revolve,
    round_stack,
    torus,
    turned,
    vessel,
)
from distill.synthetic.parts import Assembly, Family


def vase(dice: Dice) -> Assembly:
    """Return a turned vase, plain, ringed or with ears."""
    product = Assembly()
    height, nodes = dice.uniform(1.4, 2.6), dice.integer(4, 5)
    profile = height_spline(
        np.column_stack([dice.uniforms(0.3, 0.9, nodes), np.linspace(0, height, nodes)]), 9
    )
    profile[:, 0] = np.maximum(profile[:, 0], 0.15)
    product.add(vessel(profile, 0.05))
    reach = dice.uniform(0.22, 0.35)
    if dice.chance(0.35):
        for share in (0.25, 0.5, 0.75)[: dice.integer(1, 3)]:
            product.add(torus(radius_at(profile, share * height), 0.035, share * height))
    if dice.chance(0.3):
        ear = side_handle(
            radius_at(profile, height * 0.6), height * 0.45, height * 0.8, reach, 0.045
        )
        ear -= turned(profile - [0.02, 0])
        product.add(ear, mirrored(ear))
    return product


def fluted_vase(dice: Dice) -> Assembly:
    """Return a vase with flutes, upright or twisted."""
    product = Assembly()
    height, flutes = dice.uniform(1.3, 2.4), dice.integer(6, 14)
    profile = height_spline(
        np.column_stack([dice.uniforms(0.4, 0.85, 4), np.linspace(0, height, 4)]), 9
    )
    deep, twist = dice.uniform(0.05, 0.12), dice.uniform(0.4, 1.4) * dice.pick(0, 0, 1)
    angle = np.linspace(0, 2 * np.pi, 112, endpoint=False)

    def ring(radius: float, z: float) -> Points:
        wave = np.abs(np.cos((angle + twist * z / height) * flutes / 2))
        at = radius * (1 + deep * wave)
        return lifted(np.column_stack([at * np.cos(angle), at * np.sin(angle)]), z)

    outside = loft([ring(r, z) for r, z in profile])
    upper = profile[profile[:, 1] > 0.1]
    hollow = [*upper, (upper[-1, 0], height + 0.05)]
    product.add(outside - loft([ring(r * 0.9, z) for r, z in hollow]))
    return product


def flowerpot(dice: Dice) -> Assembly:
    """Return a flowerpot, round or square, with a rim, some on a saucer."""
    product = Assembly()
    base, flare = dice.uniform(0.45, 0.7), dice.uniform(1.15, 1.6)
    height, rim = dice.uniform(0.8, 1.4), dice.uniform(0.15, 0.3)
    top = base * flare
    if dice.chance(0.7):
        outer = [
            (base, 0),
            (top * 0.96, height - rim),
            (top * 1.06, height - rim),
            (top * 1.08, height),
        ]
        product.add(vessel(outer, 0.07))
        if dice.chance(0.4):
            product.add(
                revolve(
                    [
                        (0, -0.1),
                        (base * 1.3, -0.1),
                        (base * 1.45, 0.08),
                        (base * 1.38, 0.08),
                        (base * 1.25, 0),
                        (0, 0),
                    ]
                )
            )
    else:
        outside = round_stack([(0, 2 * base, 2 * base), (height, 2 * top, 2 * top)], 0.08)
        hole = round_stack(
            [
                (0.1, 2 * base - 0.15, 2 * base - 0.15),
                (height + 0.01, 2 * top - 0.15, 2 * top - 0.15),
            ],
            0.08,
        )
        product.add(outside - hole)
        collar = round_stack(
            [
                (height - rim, 2 * top + 0.1, 2 * top + 0.1),
                (height, 2 * top + 0.12, 2 * top + 0.12),
            ],
            0.08,
        )
        product.add(
            collar - hole - placed(box(2 * top - 0.15, 2 * top - 0.15, 1), (0, 0, height - 0.5))
        )
    return product


FAMILIES = (
    Family("11-02", "vase", "Vase", vase),
    Family("11-02", "fluted-vase", "Fluted vase", fluted_vase),
    Family("11-02", "flowerpot", "Flowerpot", flowerpot),
)
