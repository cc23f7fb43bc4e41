"""Every kind of product that can be made, in the order of the Locarno classification.

Codes were compared with a transcription of the 15th edition. A family looks like its product and
varies in both what parts it has and how they are proportioned.
"""

from __future__ import annotations

from distill.synthetic.families import (
    containers,
    electronics,
    fixtures,
    furniture,
    leisure,
    personal,
    tableware,
    timepieces,
    tools,
)
from distill.synthetic.parts import Family

_MODULES = (
    personal,
    furniture,
    tableware,
    tools,
    containers,
    timepieces,
    leisure,
    electronics,
    fixtures,
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
