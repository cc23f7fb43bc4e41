"""Class 06: seats."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.families.furniture import add_legs
from distill.synthetic.geometry import (
    Points,
    Solid,
    box,
    cushion,
    cylinder,
    extrude_back,
    extrude_up,
    placed,
    polygon,
    rectangle,
    revolve,
    slab,
    spline,
    superellipse,
    tube,
    warped,
)
from distill.synthetic.parts import Assembly, Family


def _seat(dice: Dice, width: float, depth: float, height: float) -> Solid:
    thickness = dice.uniform(0.02, 0.05)
    corner, soft = dice.uniform(0, 0.2), dice.uniform(0.05, 0.1)
    kind = dice.pick("board", "board", "cushion", "round")
    if kind == "cushion":
        return cushion(width, depth, soft, 0.03, corner=0.06, z=height)
    if kind == "round":
        return extrude_up(polygon(superellipse(width, depth, 2.6, 64)), thickness, height)
    return slab(width, depth, thickness, corner, height)


def _add_back(
    product: Assembly, dice: Dice, width: float, depth: float, height: float, count: int = 0
) -> None:
    """Put a back on a seat: a panel, slats, spindles, a ladder or a frame."""
    rise = dice.uniform(0.34, 0.52)
    lean, hollow = dice.uniform(0.02, 0.14), dice.uniform(0, 0.08)
    y = depth / 2 - 0.03
    post = dice.uniform(0.011, 0.02)
    number = count or dice.integer(3, 7)
    share = dice.uniform(1.3, 2.4)
    panel_width, panel_corner = dice.uniform(0.8, 1), dice.uniform(0.01, 0.16)
    style = dice.pick("panel", "slats", "spindles", "ladder", "frame")
    solids: list[Solid] = []
    if style == "panel":
        outline = rectangle(width * panel_width, rise * 0.75, panel_corner)
        panel = extrude_back(outline.translate((0, height + rise * 0.66)), post * 2, y)
        solids.append(warped(panel, lambda points: points, step=0.06))
        post_x = width * 0.3
    else:
        post_x = width / 2 - post
    if style in ("slats", "spindles"):
        solids.append(box(width, 0.026, 0.07, (0, y, height + rise - 0.07)))
        for x in np.linspace(-0.42, 0.42, number) * width:
            slat = box(width / number * 0.45, 0.014, rise - 0.02, (x, y, height))
            spindle = cylinder(0.008, rise - 0.02, height, sides=20).translate((x, y, 0))
            solids.append(slat if style == "slats" else spindle)
    else:
        for x in (-post_x, post_x):
            solids.append(box(post * 2, post * 2, rise * 0.9, (x, y, height)))
    if style in ("ladder", "frame"):
        rungs = number // 2 + 1 if style == "ladder" else 1
        tall = rise / (rungs * share)
        for rung in range(rungs):
            z = height + rise * (rung + 1) / rungs - tall
            solids.append(box(width - 0.01, 0.018, tall, (0, y, z)))

    def leaning(points: Points) -> Points:
        x, depth_, z = points.T
        back = depth_ + lean * (z - height) / rise - hollow * (2 * x / width) ** 2
        return np.column_stack([x, back, z])

    for solid in solids:
        product.add(warped(solid, leaning, step=0.06))


def chair(dice: Dice) -> Assembly:
    """Return a dining chair, now and then with arms."""
    product = Assembly()
    width, depth, height = dice.uniform(0.4, 0.52), dice.uniform(0.4, 0.5), dice.uniform(0.4, 0.48)
    product.add(_seat(dice, width, depth, height))
    add_legs(product, dice, (width * 0.94, depth * 0.92, height))
    _add_back(product, dice, width, depth, height)
    arm = dice.uniform(0.012, 0.02)
    if dice.chance(0.3):
        rise = height + dice.uniform(0.17, 0.23)
        path = [
            (width / 2 - 0.01, depth / 2 - 0.03, rise),
            (width / 2 + 0.02, -depth * 0.1, rise),
            (width / 2 + 0.02, -depth * 0.32, rise - 0.02),
            (width / 2 - 0.02, -depth * 0.4, height + 0.02),
        ]
        product.add_pair(tube(spline(path, 8), arm))
    return product


def stool(dice: Dice) -> Assembly:
    """Return a stool, low or for a bar, on legs or on a column."""
    product = Assembly()
    width = dice.uniform(0.32, 0.42)
    height = dice.uniform(0.42, 0.78)
    product.add(_seat(dice, width, width, height))
    ring = dice.uniform(0.2, 0.45)
    if dice.chance(0.3):
        product.add(cylinder(0.025, height, 0))
        foot = [(0, 0), (width * 0.55, 0), (width * 0.55, 0.015), (0.03, 0.05), (0, 0.05)]
        product.add(revolve(foot))
        if dice.chance():
            rest = revolve(
                [(width * 0.4, 0), (width * 0.45, 0), (width * 0.45, 0.02), (width * 0.4, 0.02)]
            )
            product.add(rest.translate((0, 0, height * ring)))
            product.add(box(width * 0.84, 0.02, 0.02, (0, 0, height * ring)))
    else:
        style = dice.pick("square", "round", "tapered", "sled")
        add_legs(product, dice, (width * 0.86, width * 0.86, height), style)
    return product


def bench(dice: Dice) -> Assembly:
    """Return a bench of boards or of one plank, with or without a back."""
    product = Assembly()
    width, depth, height = dice.uniform(0.95, 1.5), dice.uniform(0.3, 0.45), dice.uniform(0.4, 0.46)
    boards = dice.pick(1, 1, 3, 4, 5)
    thickness = dice.uniform(0.02, 0.05)
    gap = 0.25 * depth / boards if boards > 1 else 0.0
    board = (depth - gap * (boards - 1)) / boards
    for number in range(boards):
        y = -depth / 2 + board / 2 + number * (board + gap)
        product.add(box(width, board, thickness, (0, y, height)))
    add_legs(product, dice, (width * dice.uniform(0.8, 0.98), depth * 0.92, height))
    if dice.chance(0.5):
        _add_back(product, dice, width, depth, height, count=dice.integer(5, 11))
    return product


def armchair(dice: Dice) -> Assembly:
    """Return an upholstered armchair or, wider, a sofa."""
    product = Assembly()
    seats = dice.pick(1, 1, 1, 2, 3)
    arm, edge = dice.uniform(0.1, 0.18), dice.uniform(0.02, 0.06)
    inner = dice.uniform(0.5, 0.6) * seats
    width, depth = inner + 2 * arm, dice.uniform(0.7, 0.85)
    seat, back = dice.uniform(0.2, 0.26), dice.uniform(0.75, 0.95)
    arm_height = dice.uniform(0.5, 0.62)
    product.add(box(width - 0.03, depth - 0.03, seat - 0.08, (0, 0, 0.08)))
    for number in range(seats):
        x = -inner / 2 + (number + 0.5) * inner / seats
        pad = cushion(inner / seats - 0.004, depth - arm, 0.16, edge, corner=0.05, z=seat)
        product.add(pad.translate((x, -arm / 2, 0)))
        rest = cushion(inner / seats - 0.004, arm, back - seat, edge, corner=0.05, z=seat)
        product.add(rest.translate((x, depth / 2 - arm * 0.75, 0)))
    side = cushion(arm, depth, arm_height - 0.08, edge, corner=0.04, z=0.08)
    product.add_pair(side.translate((width / 2 - arm / 2, 0, 0)))
    foot = cylinder(0.018, 0.09, top=0.025, sides=24)
    for y in (-1, 1):
        product.add_pair(foot.translate((width / 2 - 0.07, y * (depth / 2 - 0.07), 0)))
    return product


def office_chair(dice: Dice) -> Assembly:
    """Return a swivel chair on a star of five castors."""
    product = Assembly()
    width, depth, height = (
        dice.uniform(0.44, 0.52),
        dice.uniform(0.44, 0.5),
        dice.uniform(0.42, 0.5),
    )
    reach = dice.uniform(0.26, 0.33)
    product.add(_seat(dice, width, depth, height))
    product.add(cylinder(0.025, height - 0.1, 0.1), cylinder(0.04, height * 0.4, 0.1))
    castors_claimed = dice.chance(0.7)
    for arm in range(5):
        angle = 2 * np.pi * arm / 5 + 0.3
        x, y = reach * np.cos(angle), reach * np.sin(angle)
        product.add(tube([(0, 0, 0.13), (x, y, 0.07)], [0.03, 0.018]))
        castor = placed(cylinder(0.03, 0.036, -0.018, sides=32), turn=(90, 0, 0))
        product.add(
            castor.rotate((0, 0, 72 * arm)).translate((x, y, 0.03)), claimed=castors_claimed
        )
    _add_back(product, dice, width, depth, height)
    if dice.chance(0.5):
        rise = height + dice.uniform(0.18, 0.24)
        post = tube([(width / 2 - 0.02, 0, height + 0.01), (width / 2 + 0.04, 0, rise)], 0.015)
        rest = cushion(0.06, 0.26, 0.03, 0.012, corner=0.025, z=rise)
        product.add_pair(post, rest.translate((width / 2 + 0.04, 0, 0)))
    return product


FAMILIES = (
    Family("06-01", "chair", "Chair", chair),
    Family("06-01", "stool", "Stool", stool),
    Family("06-01", "bench", "Bench", bench),
    Family("06-01", "armchair", "Armchair", armchair),
    Family("06-01", "office-chair", "Office chair", office_chair),
)
