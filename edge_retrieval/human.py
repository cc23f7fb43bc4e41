"""Numbers in SI units as people read them: three digits and a unit. For the edge only."""

from __future__ import annotations


def human(value: float, unit: str) -> str:
    """Return a number in one of `report.UNITS` as people read it: "1.23 ms", "2.40 GHz"."""
    if unit == "s":
        return human_seconds(value)
    if unit == "B":
        return human_bytes(value)
    if unit == "degC":
        return f"{value:.1f} °C"
    if unit == "1":
        return f"{value:.3f}"
    if unit == "1/s":
        return f"{value:.0f}/s" if abs(value) >= 99.95 else f"{_three_digits(value)}/s"
    for letter, size in (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)):
        if abs(value) >= size * 0.9995:
            return f"{_three_digits(value / size)} {letter}{unit}"
    return f"0 {unit}" if value == 0 else f"{_three_digits(value * 1e3)} m{unit}"


def human_seconds(seconds: float) -> str:
    """Return "1.23 ms": three digits, from ns to minutes."""
    if abs(seconds) >= 119.5:
        minutes, rest = divmod(round(abs(seconds)), 60)
        return f"{'-' if seconds < 0 else ''}{minutes} min {rest:02d} s"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= size * 0.9995:
            return f"{_three_digits(seconds / size)} {unit}"
    return "0 s" if seconds == 0 else f"{_three_digits(seconds * 1e9)} ns"


def human_bytes(count: float) -> str:
    """Return "66.0 MB": three digits, decimal units, from B to TB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= size * 0.9995:
            return f"{_three_digits(count / size)} {unit}"
    return f"{round(count)} B"


def _three_digits(value: float) -> str:
    """Return the value, below 1000, to three digits without an exponent."""
    whole = abs(value)
    places = 2 if whole < 9.995 else 1 if whole < 99.95 else 0
    return f"{value:.{places}f}"
