"""What the system tells of its processor while it works: heat, clock, throttling, energy, load.

Each returns None where the system does not tell. `root` is where /proc and /sys are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from edge_retrieval.host import number_in, text_in

ROOT = Path("/")

HOTTEST, COLDEST = 150.0, -40.0
"""A sensor beyond these is not there, or broken."""

OF_PROCESSORS = ("x86_pkg_temp", "cpu", "soc", "coretemp", "k10temp", "tcpu")
"""How thermal zones of processors are named, in part; without one of them, all zones are asked."""

THROTTLED_NOW = 0b1111
"""Bits of `vcgencmd get_throttled`: under-voltage, capped clock, throttled, soft limit; now."""


def temperature(root: Path = ROOT) -> tuple[str, float] | None:
    """Return the name and the degrees Celsius of the hottest sensor of the processor."""
    found = list(_temperatures(root))
    own = [one for one in found if any(name in one[0].lower() for name in OF_PROCESSORS)]
    return max(own or found, key=lambda one: one[1], default=None)


def _temperatures(root: Path) -> Iterator[tuple[str, float]]:
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        yield from _plausible(text_in(zone / "type") or zone.name, number_in(zone / "temp"))
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        name = text_in(chip / "name") or chip.name
        for file in sorted(chip.glob("temp*_input")):
            yield from _plausible(name, number_in(file))


def _plausible(name: str, thousandths: int | None) -> Iterator[tuple[str, float]]:
    if thousandths is not None and COLDEST < thousandths / 1e3 < HOTTEST:
        yield name, thousandths / 1e3


def clock(root: Path = ROOT) -> float | None:
    """Return the mean clock of the cores in hertz."""
    cores = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    told = [number * 1e3 for file in cores if (number := number_in(file))]
    if not told:  # a virtual machine has no cpufreq, but may know what it was given
        lines = (text_in(root / "proc/cpuinfo") or "").splitlines()
        values = [line.partition(":")[2] for line in lines if line.startswith("cpu MHz")]
        told = [float(value) * 1e6 for value in values if value.strip()]
    return float(np.mean(told)) if told else None


def throttled(root: Path = ROOT) -> tuple[str, float] | None:
    """Return ("now", 0 or 1) as a Raspberry Pi tells, or ("events", how many since it started)."""
    if root == ROOT and (tool := shutil.which("vcgencmd")):
        try:
            told = subprocess.run(
                [tool, "get_throttled"], capture_output=True, text=True, timeout=5, check=True
            ).stdout
            return "now", float(bool(throttled_bits(told) & THROTTLED_NOW))
        except (OSError, subprocess.SubprocessError, ValueError):
            pass
    counts: dict[tuple[object, ...], int] = {}
    for core in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*")):
        package = number_in(core / "topology/physical_package_id")
        number = number_in(core / "topology/core_id")
        for kind in ("package", "core"):
            # Every logical processor repeats the counter of its core, and that of its package.
            file = core / f"thermal_throttle/{kind}_throttle_count"
            if (count := number_in(file)) is not None:
                own = package if kind == "package" else (package, number)
                unknown = package is None or (kind == "core" and number is None)
                counts[kind, core.name if unknown else own] = count
    return ("events", float(sum(counts.values()))) if counts else None


def throttled_bits(told: str) -> int:
    """Return the number in "throttled=0x50005"; ValueError if there is none."""
    return int(told.partition("=")[2].strip(), 16)


class EnergyCounter:
    """Counts the joules of a domain; its counter starts anew when it is full.

    Attributes:
        name: Of the domain: "package-0".
    """

    def __init__(self, name: str, file: Path, range_: int) -> None:
        self.name = name
        self._file, self._range = file, range_
        self._last = number_in(file) or 0

    def joules(self) -> float:
        """Return what was used since the last call."""
        now = number_in(self._file) or self._last
        used = now - self._last
        self._last = now
        return (used if used >= 0 else used + self._range) / 1e6


def energy_counters(root: Path = ROOT) -> list[EnergyCounter]:
    """Return the counters of whole packages that may be read (RAPL)."""
    found = []
    for domain in sorted((root / "sys/class/powercap").glob("*-rapl:*")):
        name = text_in(domain / "name") or domain.name
        if domain.name.count(":") != 1 or number_in(domain / "energy_uj") is None:
            continue  # parts of a package; or for root alone
        range_ = number_in(domain / "max_energy_range_uj") or 0
        found.append(EnergyCounter(name, domain / "energy_uj", range_))
    return found


def watts(root: Path = ROOT) -> dict[str, float]:
    """Return the power that hwmon chips measure now, by chip."""
    found: dict[str, float] = {}
    for file in sorted((root / "sys/class/hwmon").glob("hwmon*/power*_input")):
        if (number := number_in(file)) is not None:
            chip = text_in(file.parent / "name") or file.parent.name
            found[chip] = found.get(chip, 0.0) + number / 1e6
    return found


def busy_seconds(root: Path = ROOT, cores: Collection[int] = ()) -> float | None:
    """Return the time that cores together have worked since the system started.

    That of other systems on the same cores ("steal") is counted, waiting for disks is not.

    Args:
        root: Where /proc is.
        cores: Their numbers; none: all of the system's.

    Returns:
        Seconds; None where the system does not count those of every core named.
    """
    wanted = {f"cpu{number}" for number in cores} or {"cpu"}
    found = [
        [int(part) for part in fields[1:9]]
        for line in (text_in(root / "proc/stat") or "").splitlines()
        if (fields := line.split()) and fields[0] in wanted and len(fields) >= 9
    ]
    if len(found) != len(wanted):
        return None
    ticks = sum(sum(times) - times[3] - times[4] for times in found)  # less idle, less waiting
    return ticks / os.sysconf("SC_CLK_TCK")
