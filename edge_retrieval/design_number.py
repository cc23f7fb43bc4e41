"""The number of a design in its spellings."""

from __future__ import annotations

import re


def us_digits(number: str) -> str:
    """Return what all spellings of a US design number share; "" if it is none.

    "USD0909824", "D909,824" and "909824" share "909824".
    """
    found = re.fullmatch(
        r"(?:US)?\s*-?D?\s*-?[0,]*([1-9][\d,]*)(?:\s*-?S\d?)?", number.strip().upper()
    )
    return found[1].replace(",", "") if found else ""


def spelled_once(number: str) -> str:
    """Return one spelling of a design's number: those of one design are equal in it."""
    return us_digits(number) or number.strip().upper()
