"""Which designs train, which validate, which test?

    python benchmarks/split.py path/to/uspto-multiview

Writes models/splits/uspto-multiview.toml and models/splits/made.toml, always the same. Neither was
ever drawn a second time, and no figure of a test part was looked at to draw it.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from distill.synthetic import FAMILIES
from edge_retrieval.design_number import us_digits

SPLITS = Path(__file__).parents[1] / "models" / "splits"
SEED = 2506
GAP = 100
WANTED = {"test": 44, "validation": 14}
"""Designs of each part, in the order in which they are filled; the rest trains."""
HELD_FAMILIES = 10


def groups(designs: Iterable[str], gap: int = GAP) -> list[list[str]]:
    """Put designs together whose numbers follow one another within `gap`: often siblings."""
    found: list[list[str]] = []
    for design in sorted(designs, key=_number):
        if found and _number(design) - _number(found[-1][-1]) <= gap:
            found[-1].append(design)
        else:
            found.append([design])
    return found


def drawn(designs: Iterable[str]) -> dict[str, list[str]]:
    """Give whole groups, shuffled, to the first part that they still fit into."""
    shuffled = groups(designs)
    random.Random(SEED).shuffle(shuffled)
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for group in shuffled:
        fitting = (part for part in WANTED if len(parts[part]) + len(group) <= WANTED[part])
        parts[next(fitting, "train")] += group
    return {part: sorted(own) for part, own in parts.items()}


def held_families() -> list[str]:
    """Draw families of made drawings to test on: one of each of ten classes that have others."""
    classes: dict[str, list[str]] = {}
    for key in FAMILIES:
        classes.setdefault(key[:2], []).append(key)
    rng = random.Random(SEED)
    chosen = sorted(rng.sample([code for code in classes if len(classes[code]) > 1], HELD_FAMILIES))
    return sorted(rng.choice(classes[code]) for code in chosen)


def designs_of(source: Path) -> list[str]:
    """Return the numbers of the designs of a table source, each once."""
    with (source / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return sorted({row["design"] for row in csv.DictReader(file)})


def split_text(parts: dict[str, list[str]]) -> str:
    """Write the split of the real patents."""
    lines = [
        "# The 104 patents of uspto-multiview, drawn once by benchmarks/split.py: numbers that",
        f"# follow one another within {GAP} are often siblings of one maker and stay together; the",
        f"# groups, shuffled with random.Random({SEED}), fill test, then validation, then train.",
        f"seed = {SEED}",
        f"gap = {GAP}",
    ]
    return "\n".join([*lines, *(_array(part, own) for part, own in parts.items())]) + "\n"


def families_text(families: Sequence[str]) -> str:
    """Write the families of made drawings to test on."""
    lines = [
        "# Families of made drawings that the shipped models never trained on, drawn once by",
        f"# benchmarks/split.py with random.Random({SEED}): one of each of ten classes that have",
        "# others. To make drawings without them: edge-ret data synth --without",
        f"# {','.join(key.partition('/')[2] for key in families)}",
        f"seed = {SEED}",
    ]
    return "\n".join([*lines, _array("test", families)]) + "\n"


def _array(name: str, values: Sequence[str]) -> str:
    return "\n".join([f"{name} = [", *(f'    "{value}",' for value in values), "]"])


def _number(design: str) -> int:
    return int(us_digits(design))


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path, help="folder with metadata.csv (uspto-multiview)")
    args = parser.parse_args()
    parts = drawn(designs_of(args.source))
    SPLITS.mkdir(exist_ok=True)
    (SPLITS / "uspto-multiview.toml").write_text(split_text(parts), encoding="utf-8")
    (SPLITS / "made.toml").write_text(families_text(held_families()), encoding="utf-8")
    print({part: len(own) for part, own in parts.items()}, held_families())


if __name__ == "__main__":
    main()
