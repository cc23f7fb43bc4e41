"""After a change of the encoder, must a register be embedded anew, or does a projection do?

    python benchmarks/compatible.py path/to/uspto-multiview --distractors path/to/uspto-2007 \\
        --made path/to/made --pair "earlier to small" bundles/earlier models/small \\
        --pair "small to its teacher" models/small runs/teacher

A projection is fitted on figures that both encoders have embedded: rows of the old encoder -> rows
of the new one (then the stored vectors are multiplied once), or the other way round (then nothing
stored changes, and each query is multiplied). It is fitted on real designs (the training part of
models/splits/uspto-multiview.toml and one half of the distractors), on made drawings, or on both,
of several numbers, with several seeds; never on what is searched. Each figure of the test part
searches the others and, in the larger gallery, the other half of the distractors. Held against it:
the old encoder, the new one with all embedded anew from their sheets, the new one with all embedded
anew from the small pictures that a register keeps, a gallery half of which is projected and half
new, no projection at all, and one fitted on what is searched as well: a bound, which nobody
reaches. Intervals: 95 % of resamples of patents.

    Shen et al., Towards Backward-Compatible Representation Learning, CVPR 2020, arXiv:2003.11942,
    train the new encoder so that it needs no projection; Ramanujan et al., Forward Compatible
    Training, CVPR 2022, arXiv:2112.02805, fit a projection, with features kept for it beforehand;
    Vejendla, Drift-Adapter, EMNLP 2025, arXiv:2509.23471, fits one afterwards, as here.

Writes benchmarks/results/compatible.json; `python benchmarks/render.py` makes the table.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from compatible_data import BATCH, TIMED, Drawn, embedded, opened, read
from compatible_fits import FITS, Mapping, Rows, fit_all, ridge
from compatible_search import MEASURES, Arena, Found, places, told_of
from encoders import Contestant
from figures import RESULTS, Figures
from model import refuse_twins
from numpy.typing import NDArray
from ranking import RESAMPLES

from edge_retrieval.drawing import fit_batch, from_png
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json
from edge_retrieval.split import read_split

SPLIT = Path(__file__).parents[1] / "models" / "splits" / "uspto-multiview.toml"
SIZES = {"real": (300, 1000), "made": (300, 1000), "both": (4000,)}
"""Figures that a projection is fitted on; fewer where there are not so many."""
SEEDS, HALVES = 3, 3
"""Draws of the figures of the fit, and for each of the designs of the gallery that are new."""
WAYS = ("gallery projected", "half of it projected", "queries projected")
BOUND = "fitted on what is searched, too"
ROUNDS, AT_ONCE = 9, 100_000
"""Rounds of timing, and rows that are projected at once."""


class Sets(NamedTuple):
    """All figures.

    Attributes:
        test: Those that search.
        others: The half of the distractors that is searched.
        fits: What may be fitted on, by kind.
    """

    test: Drawn
    others: Drawn
    fits: dict[str, Figures]


class Pair(NamedTuple):
    """Rows of all figures by the old and by the new encoder.

    Attributes:
        old: ``(N, D)`` of the gallery; the queries come first.
        new: ``(N, E)`` of the same.
        kept: ``(N, E)`` of the pictures that a register keeps of them.
        fits: Kind -> rows of both and the design of each, that may be fitted on.
    """

    old: Rows
    new: Rows
    kept: Rows
    fits: dict[str, tuple[Rows, Rows, NDArray[np.int64]]]


def main() -> None:
    """Embed, fit, search, save."""
    args = arguments()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    pairs = {
        name: (opened(old, args.weights, args.work), opened(new, args.weights, args.work))
        for name, old, new in args.pair
    }
    sizes = sorted({one.preprocessing.size for both in pairs.values() for one in both})
    sets = sets_of(
        read(args.source, sizes, args.work, kept=True),
        read(args.distractors, sizes, args.work, kept=True),
        read(args.made, sizes, args.work, kept=False),
    )
    told = [measured(name, *pair, sets, args.work) for name, pair in pairs.items()]
    result = {
        "question": "must a register be embedded anew when the encoder changes",
        "source": args.source.name,
        "distractors": args.distractors.name,
        "convention": "each figure of the test part is left out of its own search; designs are"
        " ranked by their best figure; mAP and hit_rate@10 of designs; patent mAP of figures;"
        " H-AP of designs, in the gallery whose classes are known",
        "galleries": {
            "test": counts(sets.test.sheets),
            "with distractors": counts(Figures.joined([sets.test.sheets, sets.others.sheets])),
        },
        "fits": {kind: counts(figures) for kind, figures in sets.fits.items()},
        "resamples": RESAMPLES,
        "seeds": SEEDS,
        "halves": HALVES,
        "recipes": json.loads(args.recipes.read_text("utf-8")) if args.recipes else {},
        "pairs": told,
        "host": host(),
        "versions": versions(),
        "created": now(),
    }
    save_json(RESULTS / "compatible.json", rounded(result))


def rounded(told: Any) -> Any:
    """Keep six digits of each number: there are many."""
    if isinstance(told, float):
        return float(f"{told:.6g}")
    if isinstance(told, dict):
        return {name: rounded(value) for name, value in told.items()}
    return [rounded(value) for value in told] if isinstance(told, list) else told


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path, help="folder with metadata.csv (uspto-multiview)")
    parser.add_argument("--distractors", type=Path, required=True, help="a source (uspto-2007)")
    parser.add_argument("--made", type=Path, required=True, help="drawings of edge-ret data synth")
    parser.add_argument(
        "--pair", nargs=3, action="append", required=True, metavar=("NAME", "OLD", "NEW"),
        help="two encoders: bundles, runs, fitted teachers, or imagenet:NAME",
    )  # fmt: skip
    parser.add_argument("--weights", type=Path, help="folder of ImageNet weights")
    parser.add_argument("--recipes", type=Path, help="JSON: how each encoder was made, by name")
    parser.add_argument("--work", type=Path, default=Path("runs/compatible"))
    return parser.parse_args()


def counts(figures: Figures) -> dict[str, int]:
    """Say how many there are."""
    return {"figures": len(figures), "designs": len(set(figures.designs))}


def sets_of(patents: Drawn, others: Drawn, made: Drawn) -> Sets:
    """Part all figures: those that search, those that are searched, those that are fitted on."""
    split = read_split(SPLIT)
    refuse_twins(patents.sheets, others.sheets, split)
    part = np.array([split.part_of(number) or "" for number in patents.sheets.designs])
    own = others.sheets.without_designs(patents.sheets.designs).designs
    names = np.random.default_rng(0).permutation(np.unique(own))
    searched, fitted = (np.isin(others.sheets.designs, half) for half in np.array_split(names, 2))
    real = Figures.joined([patents.sheets.only(part == "train"), others.sheets.only(fitted)])
    return Sets(
        patents.only(part == "test"),
        others.only(searched),
        {"real": real, "made": made.sheets, "both": Figures.joined([real, made.sheets])},
    )


def pair_of(old: Contestant, new: Contestant, sets: Sets, work: Path) -> Pair:
    """Embed everything with both."""
    sheets = Figures.joined([sets.test.sheets, sets.others.sheets])
    kept = Figures.joined([sets.test.kept, sets.others.kept])
    single = {
        kind: [embedded(one, sets.fits[kind], work) for one in (old, new)]
        for kind in ("real", "made")
    }
    single["both"] = [np.concatenate(rows) for rows in zip(*single.values(), strict=True)]
    designs = {kind: places(figures.designs) for kind, figures in sets.fits.items()}
    return Pair(
        embedded(old, sheets, work), embedded(new, sheets, work), embedded(new, kept, work),
        {kind: (rows[0], rows[1], designs[kind]) for kind, rows in single.items()},
    )  # fmt: skip


def measured(name: str, old: Contestant, new: Contestant, sets: Sets, work: Path) -> dict[str, Any]:
    """Return all that is told of a pair of encoders."""
    began = time.perf_counter()
    pair, arena = pair_of(old, new, sets, work), Arena(sets.test.sheets, sets.others.sheets)
    plain = {
        "old encoder": arena.searched(pair.old, pair.old),
        "embedded anew from the sheets": arena.searched(pair.new, pair.new),
        "embedded anew from the kept pictures": arena.searched(pair.new, pair.kept),
        "not projected": arena.searched(pair.new, _as_wide(pair.old, pair.new.shape[1])),
    }
    sides = plain["old encoder"], plain["embedded anew from the sheets"]
    forth = ridge(*pair.fits["real"], 0)
    plain[BOUND] = arena.searched(pair.new, bound(pair, arena)(pair.old))
    rows = [{"way": way, "galleries": arena.told(own, *sides)} for way, own in plain.items()]
    for kind, sizes in SIZES.items():
        for size in sizes:
            rows += fitted(kind, size, pair, arena, sides)
    print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return {
        "name": name,
        "old": about(old, pair.old),
        "new": about(new, pair.new),
        "cosine of a kept picture's row to that of its sheet": quantiles(pair.new, pair.kept),
        "cosines of a query": {
            "new": arena.levels(pair.new, pair.new),
            "projected": arena.levels(pair.new, forth(pair.old)),
        },
        "seconds": seconds(new, pair, forth, sets.test.pictures),
        "rows": rows,
    }


def bound(pair: Pair, arena: Arena) -> Mapping:
    """Fit on all real figures, those that are searched among them: nobody could do better."""
    old, new, design = pair.fits["real"]
    return ridge(
        np.concatenate([old, pair.old]),
        np.concatenate([new, pair.new]),
        np.concatenate([design, arena.design + design.max() + 1]),
        0,
    )


def seconds(
    new: Contestant, pair: Pair, forth: Mapping, pictures: tuple[bytes, ...]
) -> dict[str, list[float]]:
    """Return processor seconds a figure of embedding kept pictures, and of projecting rows."""
    stored = np.resize(pair.old, (AT_ONCE, pair.old.shape[1]))
    samples: dict[str, list[float]] = {"picture embedded": [], "row projected": []}
    for turn in range(-1, ROUNDS):  # the first warms up
        start = time.process_time()
        for at in range(0, TIMED, BATCH):
            masters = [from_png(png) for png in pictures[at : at + BATCH]]
            new.embed(fit_batch(masters, new.preprocessing))
        middle = time.process_time()
        forth(stored)
        end = time.process_time()
        if turn >= 0:
            samples["picture embedded"].append((middle - start) / TIMED)
            samples["row projected"].append((end - middle) / AT_ONCE)
    return samples


def fitted(
    kind: str, size: int, pair: Pair, arena: Arena, sides: tuple[Found, Found]
) -> list[dict[str, Any]]:
    """Fit several times; return what each way of using each projection finds, over all times."""
    found: dict[tuple[str, str], list[Found]] = {(way, fit): [] for way in WAYS for fit in FITS}
    cosines: dict[str, list[float]] = {fit: [] for fit in FITS}
    many = 0
    for seed in range(SEEDS):
        old, new, design = drawn(pair.fits[kind], size, seed)
        many = len(old)
        forth, back = fit_all(old, new, design, seed), fit_all(new, old, design, seed)
        for fit in FITS:
            moved = forth[fit](pair.old)
            cosines[fit].append(float((moved * pair.new).sum(axis=1).mean()))
            found[WAYS[0], fit].append(arena.searched(pair.new, moved))
            for half in range(HALVES):
                rng = np.random.default_rng([seed, half])
                renewed = rng.random(arena.design.max() + 1) < 0.5
                mixed = np.where(renewed[arena.design][:, None], pair.new, moved)
                found[WAYS[1], fit].append(arena.searched(pair.new, mixed))
            found[WAYS[2], fit].append(arena.searched(back[fit](pair.new), pair.old))
    return [
        {
            "way": way,
            "fit": fit,
            "on": kind,
            "figures": many,
            "cosine": cosines[fit],
            "each": {
                gallery: {
                    measure: [float(np.nanmean(own[gallery][measure])) for own in runs]
                    for measure in told_of(gallery)
                }
                for gallery in arena.truths
            },
            "galleries": arena.told(_averaged(runs), *sides),
        }
        for (way, fit), runs in found.items()
    ]


def drawn(
    rows: tuple[Rows, Rows, NDArray[np.int64]], size: int, seed: int
) -> tuple[Rows, Rows, NDArray[np.int64]]:
    """Draw whole designs until there are `size` figures."""
    old, new, design = rows
    order = np.random.default_rng([size, seed]).permutation(int(design.max()) + 1)
    rank = np.argsort(order)[design]
    chosen = np.argsort(rank, kind="stable")[:size]
    return old[chosen], new[chosen], design[chosen]


def _averaged(runs: list[Found]) -> Found:
    """Return the mean of each query over several fits."""
    return {
        gallery: {
            measure: np.asarray(np.mean([run[gallery][measure] for run in runs], axis=0))
            for measure in MEASURES
        }
        for gallery in runs[0]
    }


def _as_wide(rows: Rows, dim: int) -> Rows:
    """Cut rows, or fill them with zeros: what a program would compare that does not look."""
    return np.pad(rows, ((0, 0), (0, max(0, dim - rows.shape[1]))))[:, :dim]


def about(one: Contestant, rows: Rows) -> dict[str, Any]:
    """Name an encoder."""
    return {"name": one.name, "dim": rows.shape[1], "size": one.preprocessing.size}


def quantiles(rows: Rows, others: Rows) -> dict[str, float]:
    """Return how near rows of the same figures are."""
    cosine = (rows * others).sum(axis=1)
    told = {f"p{q}": float(np.percentile(cosine, q)) for q in (1, 50, 99)}
    return {"mean": float(cosine.mean()), "least": float(cosine.min()), **told}


if __name__ == "__main__":
    main()
