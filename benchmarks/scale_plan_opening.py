"""What grows with a register besides its search: opening it, naming what it holds, after a writer.

    python benchmarks/scale_plan_opening.py --figures 100000

On a made register, in rounds: seconds to map and check the columns (each process that opens it), to
make them anew from the database (the first process after a change), to name the contents (each
record), to read the database for its checksum (each writer, at its end), and to verify everything.
Writes the key `opening` of benchmarks/results/scale_plan.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from made_register import make_register
from made_vectors import MadeVectors
from scale_plan_constants import MEASURED, put

from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.provenance import host, now
from edge_retrieval.register import Register
from edge_retrieval.register.columns import COLUMNS
from edge_retrieval.register.files import DATABASE
from edge_retrieval.register.working import size_and_crc

ROUNDS = 3


def cpu_of(work: Callable[[], object]) -> float:
    """Return processor seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def columns_of(folder: Path) -> float:
    """Return the seconds until an opened register has its columns."""
    with Register.open(folder) as register:
        return cpu_of(lambda: register.columns)


def measured(folder: Path) -> dict[str, float]:
    """Return the seconds of each, once."""
    (folder / COLUMNS).unlink(missing_ok=True)
    made = columns_of(folder)
    loaded = columns_of(folder)
    with Register.open(folder) as register:
        assert len(register.columns.design_of)
        named = cpu_of(lambda: register.contents)
        verified = cpu_of(register.verify)
    return {
        "columns_made": made,
        "columns_loaded": loaded,
        "contents": named,
        "database_crc": cpu_of(lambda: size_and_crc(folder / DATABASE)),
        "verify": verified,
    }


def main() -> None:
    """Make a register, measure in rounds, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--figures", type=int, default=100_000)
    parser.add_argument("-o", "--out", type=Path, default=MEASURED)
    args = parser.parse_args()
    bundle = Bundle.open(default_bundle_path())
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "made"
        vectors = np.concatenate(list(MadeVectors(args.figures, dim=bundle.dim).rows()))
        make_register(folder, vectors, bundle)
        for _ in range(ROUNDS):
            rounds.append(measured(folder))
            print(rounds[-1], flush=True)
    opening = {"figures": args.figures, "rounds": rounds, "host": host(), "created": now()}
    put(args.out, {"opening": opening})


if __name__ == "__main__":
    main()
