"""Every kind of product that can be made, in the order of the Locarno classification.

Codes were compared with a transcription of the 15th edition. A family looks like its product and
varies in both what parts it has and how they are proportioned.
"""

from __future__ import annotations

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
