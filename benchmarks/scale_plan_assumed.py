"""What the plan assumes: each an argument of scale_plan.py, and printed with the tables."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Assumed:
    """What nobody can measure here: prices, sizes of machines, how much is asked.

    Attributes:
        core_hour: Price of one core for an hour.
        memory_gb_month: Price of a gigabyte of memory for a month.
        disk_gb_month: Price of a gigabyte of disk (SSD) for a month.
        currency: What prices are in.
        cores: Of a machine.
        memory_gb: Of a machine.
        disk_tb: Of a machine.
        fill: Share of a machine's memory, disk and cores that a plan may fill.
        rate: Searches a second at the busiest time.
        mean_share: Mean over a month of searches a second, as a share of `rate`.
        hop_ms: Milliseconds from one machine to another and back, without the work.
        sheet_kb: A sheet as the office keeps it.
        disk_mb_s: What a disk reads or writes, megabytes a second.
        disk_read_us: Microseconds to read one vector that is not in memory.
        workers: Cores that index or embed, all machines together.
        restart_s: Seconds until another is there in its place.
        shard: Figures of one searching shard.
        class_share: Share of all figures in the class that is searched, where one is.
        p99_s: The time that 99 of 100 searches must not exceed.
        laptop_cores: Of a laptop.
        seed: Of all that is simulated.
    """

    core_hour: float = 0.05
    memory_gb_month: float = 3.0
    disk_gb_month: float = 0.10
    currency: str = "EUR"
    cores: int = 16
    memory_gb: float = 64.0
    disk_tb: float = 4.0
    fill: float = 0.7
    rate: float = 20.0
    mean_share: float = 0.1
    hop_ms: float = 0.5
    sheet_kb: float = 50.0
    disk_mb_s: float = 500.0
    disk_read_us: float = 100.0
    workers: int = 256
    restart_s: float = 60.0
    shard: int = 10_000_000
    class_share: float = 0.1
    p99_s: float = 0.5
    laptop_cores: int = 4
    seed: int = 0

    @classmethod
    def from_arguments(cls, args: argparse.Namespace) -> Assumed:
        """Return what was given on the command line."""
        return cls(**{one.name: getattr(args, one.name) for one in fields(cls)})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let every assumption be given on the command line."""
    for name, value in asdict(Assumed()).items():
        option = "--" + name.replace("_", "-")
        kind = type(value) if name in ("currency", "seed") else _number(name, type(value))
        parser.add_argument(option, type=kind, default=value, help=f"{meaning(name)} ({value})")


SHARES = ("fill", "mean_share", "class_share")


def _number(name: str, kind: type) -> Callable[[str], float]:
    """Return what reads an assumption: above 0, and a share at most 1."""

    def read(text: str) -> float:
        value: float = kind(text)
        if not 0 < value < math.inf or (name in SHARES and value > 1):
            wanted = "above 0, at most 1" if name in SHARES else "above 0"
            raise argparse.ArgumentTypeError(f"{text} is not {wanted}")
        return value

    return read


def meaning(name: str) -> str:
    """Return what an assumption means, as its class says it."""
    found = re.search(rf"^ +{name}: (.+?)\.?$", Assumed.__doc__ or "", flags=re.M)
    assert found is not None
    return found[1]
