"""What distributions say that they need: a name, parts, bounds, and when.

The base install holds nothing that reads this.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Requirement(NamedTuple):
    """What a distribution says that it needs.

    Attributes:
        name: Of another distribution, normalised: "ruamel-yaml".
        extras: Parts of that one that are needed as well.
        bounds: Of its version: ">=1.26,<3".
        marker: When it is needed; "": always.
    """

    name: str
    extras: tuple[str, ...]
    bounds: str
    marker: str


def normal(name: str) -> str:
    """Return a distribution's name as names are compared: "Ruamel.Yaml" is "ruamel-yaml"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_requirement(text: str) -> Requirement:
    """Read a line such as "onnx[reference]>=1.16; python_version < '3.14'".

    Raises:
        ValueError: It is none.
    """
    found = re.fullmatch(
        r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?\s*([^;]*?)\s*(?:;\s*(.*?))?\s*", text
    )
    if found is None:
        raise ValueError(f"no requirement: {text!r}")
    name, extras, bounds, marker = found.groups()
    parts = tuple(normal(part.strip()) for part in (extras or "").split(",") if part.strip())
    return Requirement(normal(name), parts, bounds.strip("()"), marker or "")


def applies(marker: str, extras: Sequence[str], here: Mapping[str, str]) -> bool:
    """Tell whether a marker holds with one of some extras, or with none.

    Args:
        marker: As metadata write it: `extra == 'web' and sys_platform != 'win32'`.
        extras: Normalised names; a marker that asks for an extra holds for these alone.
        here: What markers ask for; see `environment`.

    Returns:
        True also where the marker is of a form that is not known: better listed than left out.
    """
    if not marker:
        return True
    try:
        tree = ast.parse(marker.strip(), mode="eval").body
        return any(_holds(tree, {**here, "extra": extra}) for extra in (*extras, ""))
    except (SyntaxError, ValueError, KeyError):
        return True


def _holds(node: ast.expr, here: Mapping[str, str]) -> bool:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_holds(value, here) for value in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_holds(value, here) for value in values)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            one, other = _value(left, here), _value(right, here)
            names = {n.id for n in (left, right) if isinstance(n, ast.Name)}
            if "extra" in names:
                one, other = normal(one), normal(other)
            return _compared(op, one, other, versions=any("version" in name for name in names))
    raise ValueError("a marker of another form")


def _value(node: ast.expr, here: Mapping[str, str]) -> str:
    match node:
        case ast.Name(id=name):
            return here[name]
        case ast.Constant(value=str(value)):
            return value
    raise ValueError("a marker of another form")


def _compared(op: ast.cmpop, one: str, other: str, *, versions: bool) -> bool:
    if isinstance(op, ast.In | ast.NotIn):
        return (one in other) == isinstance(op, ast.In)
    left: Any = one
    right: Any = other
    if versions and all(re.fullmatch(r"\d+(\.\d+)*", text) for text in (one, other)):
        left, right = ([int(part) for part in text.split(".")] for text in (one, other))
    match op:
        case ast.Eq():
            return bool(left == right)
        case ast.NotEq():
            return bool(left != right)
        case ast.Lt():
            return bool(left < right)
        case ast.LtE():
            return bool(left <= right)
        case ast.Gt():
            return bool(left > right)
        case ast.GtE():
            return bool(left >= right)
    raise ValueError("a marker of another form")


def environment() -> dict[str, str]:
    """Return what markers may ask of this Python and this machine."""
    return {
        "os_name": os.name,
        "sys_platform": sys.platform,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "python_full_version": platform.python_version(),
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
    }
