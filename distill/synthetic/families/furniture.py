"""Class 06: tables and storage."""

from __future__ import annotations

import numpy as np

from distill.synthetic.dice import Dice
from distill.synthetic.geometry import (
    Points,
    Solid,
    box,
    cylinder,
    hull,
    placed,
    revolve,
    slab,
    spline,
    tube,
    turned,
    vector,
)
from distill.synthetic.parts import Assembly, Family

LEG_STYLES = ("square", "round", "tapered", "sled", "panel")


def _square_leg(foot: Points, head: Points, foot_half: float, head_half: float) -> Solid:
    corners = [
        end + vector(i * half, j * half, 0)
        for end, half in ((foot, foot_half), (head, head_half))
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    return hull(corners)


def add_legs(
    product: Assembly,
    dice: Dice,
    size: tuple[float, float, float],
    style: str | None = None,
    splay: float | None = None,
) -> None:
    """Put four legs, sled runners or side panels under something.

    Args:
        product: What stands on them.
        dice: Choices.
        size: Width, depth and height of the room that the legs take.
        style: One of `LEG_STYLES`; None: any.
        splay: How far the feet stand out; None: any.
    """
    width, depth, height = size
    style = style or dice.pick(*LEG_STYLES)
    radius = dice.uniform(0.016, 0.036)
    splay = dice.uniform(0, 0.1) if splay is None else splay
    if style == "panel":
        product.add_pair(box(radius, depth * 0.96, height, (width / 2 - radius, 0, 0)))
        return
    if style == "sled":
        side, front = width / 2 - radius, depth / 2 - radius
        runner = [(-front, height), (-front, 0.06), (0.06 - depth / 2, radius)]
        runner += [(-y, z) for y, z in runner[::-1]]
        product.add_pair(tube(spline([(side, y, z) for y, z in runner], 6), radius * 0.7))
        return
    for x in (-1, 1):
        for y in (-1, 1):
            inset = radius * 1.3
            head = np.array([x * (width / 2 - inset), y * (depth / 2 - inset), height])
            foot = head + vector(x * splay, y * splay, -height)
            thin = radius * (0.55 if style == "tapered" else 1)
            if style == "square":
                product.add(_square_leg(foot, head, radius, radius))
            else:
                product.add(tube([foot, head], [thin, radius]))
    if dice.chance(0.4):
        _add_stretchers(product, (width, depth, height), radius, splay, dice.uniform(0.2, 0.5))


def _add_stretchers(
    product: Assembly, size: tuple[float, float, float], radius: float, splay: float, share: float
) -> None:
    width, depth, height = size
    outward = splay * (1 - share) - radius * 1.3
    level = height * share
    long, deep = width + 2 * outward, depth + 2 * outward
    for sign in (-1, 1):
        product.add(box(long, radius, radius * 1.2, (0, sign * deep / 2, level)))
        product.add(box(radius, deep, radius * 1.2, (sign * long / 2, 0, level * 0.8)))


def table(dice: Dice) -> Assembly:
    """Return a table with legs at its corners."""
    product = Assembly()
    height, width = dice.uniform(0.38, 0.75), dice.uniform(0.7, 1.5)
    depth, thickness = dice.uniform(0.5, 0.8), dice.uniform(0.02, 0.045)
    product.add(slab(width, depth, thickness, dice.pick(0.0, 0.0, 0.05, 0.15), height))
    apron, shelf = dice.uniform(0.04, 0.1), dice.uniform(0.15, 0.4)
    if dice.chance(0.6):
        product.add(box(width * 0.9, depth * 0.86, apron, (0, 0, height - apron)))
    add_legs(product, dice, (width * 0.96, depth * 0.94, height))
    if dice.chance(0.3):
        product.add(box(width * 0.86, depth * 0.8, 0.02, (0, 0, height * shelf)))
    return product


def pedestal_table(dice: Dice) -> Assembly:
    """Return a round or square table on one column."""
    product = Assembly()
    height, width, thickness = (
        dice.uniform(0.5, 0.9),
        dice.uniform(0.5, 1.0),
        dice.uniform(0.015, 0.04),
    )
    half = width / 2
    if dice.chance(0.7):
        bevel = dice.pick(0.0, thickness)
        top = [(half - bevel, height), (half, height + thickness / 2), (half, height + thickness)]
        product.add(turned(top))
    else:
        product.add(slab(width, width, thickness, 0.04, height))
    radius, foot = dice.uniform(0.02, 0.05), half * dice.uniform(0.55, 0.8)
    beads = dice.uniforms(0.025, 0.08, 7)
    column = dice.pick("plain", "cone", "turned")
    if column == "turned":
        levels = np.linspace(0.03, height, 7)
        product.add(turned(spline(np.column_stack([beads, levels]), 5)))
    else:
        product.add(cylinder(radius * (2.5 if column == "cone" else 1), height, top=radius))
    legs = dice.integer(3, 5)
    if dice.chance(0.5):
        for angle in np.arange(legs) * 2 * np.pi / legs + 0.4:
            x, y = foot * np.cos(angle), foot * np.sin(angle)
            path = [(0, 0, 0.25 * height), (x * 0.55, y * 0.55, 0.13 * height), (x, y, 0.02)]
            product.add(tube(spline(path, 6), 0.02))
    else:
        plate = [(0, 0), (foot, 0), (foot, 0.012), (radius * 2, 0.03), (0, 0.03)]
        product.add(revolve(plate))
    return product


def _feet(product: Assembly, dice: Dice, width: float, depth: float, room: float) -> None:
    if room > 0.04:
        style = dice.pick("square", "tapered", "panel")
        add_legs(product, dice, (width * 0.95, depth * 0.9, room), style, 0)


def _handle(kind: str, x: float, front: float, z: float, width: float) -> list[Solid]:
    if kind == "knob":
        return [placed(cylinder(0.012, 0.03, top=0.018, sides=32), (x, front, z), (90, 0, 0))]
    if kind == "bar":
        return [box(width * 0.4, 0.025, 0.012, (x, front - 0.012, z))]
    return []


def shelf(dice: Dice) -> Assembly:
    """Return an open shelf of rows and columns."""
    product = Assembly()
    width, depth, height = dice.uniform(0.5, 1.2), dice.uniform(0.25, 0.4), dice.uniform(0.8, 1.7)
    wall, room = dice.uniform(0.015, 0.035), dice.uniform(0, 0.15) * dice.pick(0, 1)
    columns, rows = dice.integer(1, 3), dice.integer(2, 5)
    body = box(width, depth, height, (0, 0, room))
    cell, level = (width - wall) / columns, (height - wall) / rows
    backless = dice.chance(0.3)
    for i in range(columns):
        for j in range(rows):
            x = -width / 2 + wall + i * cell + (cell - wall) / 2
            z = room + wall + j * level
            cut_depth = depth * 3 if backless else depth
            body -= box(cell - wall, cut_depth, level - wall, (x, -wall, z))
    product.add(body)
    _feet(product, dice, width, depth, room)
    return product


def chest(dice: Dice) -> Assembly:
    """Return a chest of drawers."""
    product = Assembly()
    width, depth, height = dice.uniform(0.5, 1.2), dice.uniform(0.35, 0.5), dice.uniform(0.5, 1.2)
    wall, room = dice.uniform(0.015, 0.03), dice.uniform(0.05, 0.18)
    columns, rows = dice.integer(1, 2), dice.integer(2, 5)
    body = box(width, depth, height, (0, 0, room))
    cell, level = (width - wall) / columns, (height - wall) / rows
    handle = dice.pick("knob", "bar", "bar", "none")
    front = -depth / 2
    for i in range(columns):
        for j in range(rows):
            x = -width / 2 + wall + i * cell + (cell - wall) / 2
            z, inner = room + wall + j * level, level - wall
            body -= box(cell - wall, 0.05, inner, (x, front, z))
            drawer = box(cell - wall - 0.006, 0.025, inner - 0.006, (x, front + 0.01, z + 0.003))
            product.add(drawer)
            product.add_all(_handle(handle, x, front, z + inner * 0.6, cell))
    product.add(body)
    if dice.chance(0.5):
        product.add(box(width + 0.04, depth + 0.03, 0.03, (0, 0, room + height)))
    _feet(product, dice, width, depth, room)
    return product


def cabinet(dice: Dice) -> Assembly:
    """Return a cabinet with one to three doors."""
    product = Assembly()
    width, depth, height = dice.uniform(0.5, 1.1), dice.uniform(0.35, 0.5), dice.uniform(0.7, 1.7)
    wall, room = 0.02, dice.uniform(0.05, 0.15)
    product.add(box(width, depth, height, (0, 0, room)))
    doors = dice.integer(1, 3)
    panels = dice.pick(0, 1, 2)
    leaf, front = (width - wall) / doors, -depth / 2
    for number in range(doors):
        x = -width / 2 + wall / 2 + (number + 0.5) * leaf
        door = box(leaf - 0.01, 0.02, height - wall, (x, front - 0.012, room + wall / 2))
        for panel in range(panels):
            share = (height - 0.1) / panels
            low = room + 0.06 + panel * share
            door -= box(leaf * 0.7, 0.012, share - 0.05, (x, front - 0.024, low))
        product.add(door)
        grip = x + leaf * (0.42 if number % 2 == 0 else -0.42)
        product.add_all(_handle("knob", grip, front - 0.015, room + height * 0.55, leaf))
    if dice.chance(0.5):
        product.add(box(width + 0.04, depth + 0.03, 0.03, (0, 0, room + height)))
    _feet(product, dice, width, depth, room)
    return product


FAMILIES = (
    Family("06-03", "table", "Table", table),
    Family("06-03", "pedestal-table", "Pedestal table", pedestal_table),
    Family("06-04", "shelf", "Shelf", shelf),
    Family("06-04", "chest", "Chest of drawers", chest),
    Family("06-04", "cabinet", "Cabinet", cabinet),
)
