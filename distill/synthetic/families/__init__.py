"""Every kind of product that can be made, in the order of the Locarno classification.

Codes were compared with a transcription of the 15th edition. A family looks like its product and
varies in both what parts it has and how they are proportioned.
"""

from __future__ import annotations

from collections.abc import Sequence

from distill.synthetic.families import (
    containers,
    cutlery,
    electronics,
    fixtures,
    furniture,
    grooming,
    leisure,
    lighting,
    personal,
    seats,
    tableware,
    timepieces,
    tools,
    vases,
)
from distill.synthetic.parts import Family
from edge_retrieval.errors import ConfigError

_MODULES = (
    personal,
    grooming,
    furniture,
    seats,
    tableware,
    cutlery,
    tools,
    containers,
    vases,
    timepieces,
    leisure,
    electronics,
    fixtures,
    lighting,
)

FAMILIES: dict[str, Family] = {
    family.key: family
    # A stable sort: within a subclass the commonest kind stays first.
    for family in sorted(
        (family for module in _MODULES for family in module.FAMILIES),
        key=lambda family: family.locarno,
    )
}
"""Families by key, "06-01/chair"."""


def chosen_families(only: Sequence[str] = (), without: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the keys of some families, in the order of `FAMILIES`.

    Args:
        only: Names of the wanted: keys, "06-01/chair", or what follows the slash, "chair". None:
            all are wanted.
        without: Names of those that are left out of them.

    Raises:
        ConfigError: There is no such family, or none is left.
    """
    wanted = [_key_of(name) for name in only] or list(FAMILIES)
    unwanted = [_key_of(name) for name in without]
    left = tuple(key for key in FAMILIES if key in wanted and key not in unwanted)
    if not left:
        raise ConfigError("no family is left to make", hint="leave fewer of them out")
    return left


def _key_of(name: str) -> str:
    wanted = name.strip().casefold()
    for key in FAMILIES:
        if wanted in (key, key.partition("/")[2]):
            return key
    raise ConfigError(
        f"no family {name!r}",
        hint=f"choose from {', '.join(key.partition('/')[2] for key in FAMILIES)}",
    )
