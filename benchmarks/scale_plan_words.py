"""A table with its words, and numbers as people say them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Titled:
    """A table with what is said above and below it; its last columns may be words."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str
    words: int = 0


def count(number: float) -> str:
    """Return a number as people say it."""
    return scaled(number, ((1e9, " billion"), (1e6, " million")), f"{number:,.0f}")


def size(number: float) -> str:
    """Return bytes as people say them."""
    units = ((1e12, " TB"), (1e9, " GB"), (1e6, " MB"), (1e3, " kB"))
    return scaled(number, units, f"{number:.0f} B")


def scaled(number: float, units: tuple[tuple[float, str], ...], small: str) -> str:
    """Return a number in the largest unit of which it is one at least, with three digits."""
    for least, unit in units:
        if number >= 0.9995 * least:
            return f"{digits(number / least)}{unit}"
    return small


def digits(number: float) -> str:
    """Return a number with three digits that count."""
    return f"{number:.3g}" if number < 999.5 else f"{number:,.0f}"


def milli(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 0.00995:
        return f"{seconds * 1e3:.2g} ms"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"


def pair(one: str, other: str) -> str:
    """Return two numbers, with their unit once if it is the same."""
    number, _, unit = one.partition(" ")
    return f"{number} / {other}" if other.endswith(f" {unit}") and unit else f"{one} / {other}"


def money(number: float, currency: str = "") -> str:
    """Return a price, with its currency where that is named."""
    told = f"{number:,.0f}" if number >= 9.995 else f"{number:.2f}"
    return f"{'< 0.01' if number < 0.005 else told} {currency}".rstrip()


def hours(number: float) -> str:
    """Return hours as people say them."""
    units = ((24.0, 48.0, " days"), (1.0, 1.0, " h"), (1 / 60, 1 / 60, " min"))
    for each, least, unit in units:
        if number >= 0.995 * least:
            told = number / each
            return (f"{told:,.0f}" if told >= 9.95 else f"{told:.2g}") + unit
    return f"{number * 3600:.2g} s"
