"""Does the shipped encoder find more than what anyone has at hand, and what does it cost?

    python benchmarks/model.py path/to/uspto-multiview --distractors path/to/uspto-2007 \\
        --weights path/to/weights --teacher runs/teacher \\
        --bundle bundles/small-fp32 --bundle bundles/small-int8

Pixels, histograms of gradients, untrained networks, ImageNet features (as they are, and whitened
with the statistics of the training drawings), the teacher and our bundles embed the same single
figures, captions removed. Every figure of the test part of models/splits/uspto-multiview.toml
searches (a) all other test figures, (b) those and the distractors, (b2) those and the figures of
the training and validation parts as well; and (c) made drawings of the families of
models/splits/made.toml search one another. Intervals: 95 % of resamples of patents with all their
query figures; the gallery stays as it is. Seconds: one figure at a time on one thread, embedding
alone, all encoders in turn; `--only-seconds` takes them anew and keeps the rest. Writes
benchmarks/results/model.json and model.png; `python benchmarks/render.py` makes the tables.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from encoders import (
    GROUPS,
    REFERENCE,
    Contestant,
    Rows,
    imagenet_ones,
    of_bundle,
    plain_ones,
    refuse_equal_names,
    teacher,
    untrained_ones,
)
from figures import RESULTS, Figures, read_squares, unit
from model_plot import draw
from ranking import MEASURES, RESAMPLES, Resampling, Values, query_values

from distill.leaks import refuse_leaks, signatures
from distill.synthetic import generate
from edge_retrieval.arrays import Codes, Embeddings
from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json
from edge_retrieval.split import Split, read_split
from edge_retrieval.taxonomy import partial_codes

SPLITS = Path(__file__).parents[1] / "models" / "splits"
MADE = {"designs": 200, "seed": 2, "views": 6, "restyled": 1.0}
"""Of each figure of a made design the hand differs: a style must not tell what belongs together."""
HEADLINE = "patent mAP"
"""What encoders are held against one another by."""
BATCH = 16
ROUNDS, AT_ONCE = 15, 8
"""Rounds of timing, and figures of each encoder in a round, one at a time."""
PATENT_ONLY = ("patent mAP", "hit_rate@1", "hit_rate@5")
"""What distractors without Locarno classes allow to measure."""


class Gallery(NamedTuple):
    """Figures that are searched; the first `queries` of them search all the others.

    Attributes:
        rows: Places in all figures that are embedded.
        queries: How many of them search.
        codes: ``(N, 3)`` of `rows`.
        measures: What it tells.
        about: What is in it.
    """

    rows: np.ndarray
    queries: int
    codes: Codes
    measures: Sequence[str]
    about: dict[str, int | str]

    def values(self, embeddings: Embeddings) -> dict[str, Values]:
        """Return ``(Q,)`` for each measure, of the embeddings of all figures."""
        found = query_values(embeddings[self.rows], self.codes, self.queries)
        return {name: found[name] for name in self.measures}

    def resampling(self) -> Resampling:
        """Return draws of the patents that search."""
        patents = np.unique(self.codes[: self.queries, -1], return_inverse=True)[1].reshape(-1)
        return Resampling.of(patents)


def galleries_of(
    patents: Figures, others: Figures, made: Figures, split: Split
) -> tuple[Figures, np.ndarray, dict[str, Gallery]]:
    """Put all figures in one row, and say who searches what.

    Returns:
        All figures; ``(N,)`` which of them statistics may be taken from; the galleries.
    """
    part = np.array([split.part_of(number) or "" for number in patents.designs])
    test, rest = patents.only(part == "test"), patents.only(part != "test")
    distractors = others.without_designs(patents.designs)
    every = Figures.joined([test, distractors, rest, made])
    starts = np.cumsum([0, len(test), len(distractors), len(rest), len(made)])
    ranges = [np.arange(*ends) for ends in itertools.pairwise(starts)]
    spans = {
        "test": ranges[:1],
        "distractors": ranges[:2],
        "all": ranges[:3],
        "made": ranges[3:],
    }
    galleries = {}
    for name, chosen in spans.items():
        rows = np.concatenate(chosen)
        plain = name in ("distractors", "all")
        # Distractors bear other classes: above their number nothing is known of them.
        labels = [() if plain else every.labels[row] for row in rows]
        _, codes = partial_codes(zip(labels, (every.designs[row] for row in rows), strict=True))
        if codes.shape[1] < 3:
            codes = np.pad(codes, ((0, 0), (3 - codes.shape[1], 0)), constant_values=-1)
        queries = len(made) if name == "made" else len(test)
        about: dict[str, int | str] = {
            "figures": len(rows),
            "designs": len({every.designs[row] for row in rows}),
            "queries": queries,
            "patents that search": len({every.designs[row] for row in rows[:queries]}),
        }
        galleries[name] = Gallery(rows, queries, codes, PATENT_ONLY if plain else MEASURES, about)
    training = np.zeros(len(every), bool)
    own = np.array([split.trains(number) for number in every.designs], bool)
    training[ranges[1]] = training[ranges[2]] = True
    training &= own
    return every, training, galleries


def refuse_twins(patents: Figures, others: Figures, split: Split) -> None:
    """Refuse to measure where a test patent is, by its drawings, one that ours may have trained on.

    Raises:
        EvaluationError: It is; the surest pair is named.
    """
    test = np.array([split.part_of(number) == "test" for number in patents.designs], bool)
    size = min(patents.squares, key=lambda side: abs(side - 128))
    seen = Figures.joined([patents.only(~test), others.without_designs(patents.designs)])
    parts = ((part, signatures(part.squares[size])) for part in (seen, patents.only(test)))
    (trained, trained_sig), (tested, tested_sig) = parts
    refuse_leaks(trained_sig, trained.designs, tested_sig, tested.designs)


def embedded(contestant: Contestant, figures: Figures, training: np.ndarray) -> Embeddings:
    """Return ``(N, F)`` of all figures, rows of length 1."""
    parts = [
        contestant.embed(
            figures.images(contestant.preprocessing, slice(start, min(start + BATCH, len(figures))))
        )
        for start in range(0, len(figures), BATCH)
    ]
    rows: Rows = np.concatenate(parts)
    return unit(contestant.finish(rows, rows[training]) if contestant.finish else rows)


def timed(contestants: Sequence[Contestant], figures: Figures) -> dict[str, Any]:
    """Return seconds a figure of each, in turn, round after round; the first round warms up.

    On one thread the processor's time is that of a machine which does nothing else.
    """
    samples: dict[str, Any] = {one.name: {"cpu": [], "wall": []} for one in contestants}
    rng = np.random.default_rng(0)
    turns = [rng.integers(0, len(figures), AT_ONCE) for _ in range(ROUNDS + 1)]
    # The teacher in rounds of its own: for a while after its large pictures every network takes
    # twice its time, even that of the processor, and whoever came next would be charged for that.
    large = [one for one in contestants if one.group == "teacher"]
    for group in ([one for one in contestants if one not in large], large):
        for turn, chosen in enumerate(turns):
            for one in group:
                images = [figures.images(one.preprocessing, slice(r, r + 1)) for r in chosen]
                cpu, wall = time.process_time(), time.perf_counter()
                for image in images:
                    one.embed(image)
                if turn:
                    samples[one.name]["cpu"].append((time.process_time() - cpu) / AT_ONCE)
                    samples[one.name]["wall"].append((time.perf_counter() - wall) / AT_ONCE)
    return samples


def measured(
    embeddings: Embeddings,
    galleries: dict[str, Gallery],
    resamplings: dict[str, Resampling],
    reference: dict[str, dict[str, Values]],
) -> tuple[dict[str, Any], dict[str, dict[str, Values]]]:
    """Return what to write of one encoder, and its values for others to be held against."""
    told: dict[str, Any] = {}
    kept: dict[str, dict[str, Values]] = {}
    for name, gallery in galleries.items():
        values = kept[name] = gallery.values(embeddings)
        draws = resamplings[name]
        against = reference.get(name)
        told[name] = {measure: _told(own, draws) for measure, own in values.items()}
        if told[name][HEADLINE] is not None:
            own, other = values[HEADLINE], (against or values)[HEADLINE]
            told[name][HEADLINE] |= _compared(own, other, draws)
    return told, kept


def _told(own: Values, draws: Resampling) -> dict[str, Any] | None:
    found = draws.interval(own)
    return None if found is None else dict(found._asdict())


def _compared(own: Values, other: Values, draws: Resampling) -> dict[str, Any]:
    """Return how one encoder stands to another, and what each patent adds to its mean."""
    ratio = draws.ratio(own, other)
    sums, queries = draws.sums(own)
    return {
        "difference": draws.difference(own, other)._asdict(),
        "ratio": None if ratio is None else ratio._asdict(),
        "patent_sums": " ".join(f"{value:.6g}" for value in sums),
        "patent_queries": " ".join(map(str, queries)),
    }


def contestants_of(args: argparse.Namespace) -> list[Contestant]:
    """Open all that was named; the reference comes first."""
    bundles = args.bundle or [default_bundle_path()]
    found = imagenet_ones(args.weights, args.work)
    found += plain_ones()
    found += untrained_ones(Bundle.open(bundles[0]), args.work)
    found += [teacher(args.teacher, args.work)] if args.teacher else []
    found += [of_bundle(folder) for folder in bundles]
    refuse_equal_names(found)
    return found


def again(contestants: Sequence[Contestant], source: Path) -> None:
    """Take the seconds of what was measured anew, on a quieter machine, say."""
    result = json.loads((RESULTS / "model.json").read_text("utf-8"))
    wanted = {row["encoder"] for row in result["rows"]}
    if wanted != {one.name for one in contestants}:
        sys.exit(f"model.json is of {', '.join(sorted(wanted))}: name the same encoders")
    figures = read_squares(source, sorted({one.preprocessing.size for one in contestants}))
    part = read_split(SPLITS / "uspto-multiview.toml").within("test")
    test = figures.only(np.array([part(number) for number in figures.designs]))
    result |= {"seconds": timed(contestants, test), "host": host(), "versions": versions()}
    save_json(RESULTS / "model.json", result)
    draw(result, RESULTS / "model.png")


def main() -> None:
    """Measure every encoder on the same figures and save all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path, help="folder with metadata.csv (uspto-multiview)")
    parser.add_argument("--distractors", type=Path, required=True, help="a source (uspto-2007)")
    parser.add_argument("--weights", type=Path, required=True, help="folder of ImageNet weights")
    parser.add_argument("--bundle", type=Path, action="append", help="default: the shipped one")
    parser.add_argument("--teacher", type=Path, help="a run or a bundle")
    parser.add_argument("--work", type=Path, default=Path("runs/model"), help="networks, drawings")
    parser.add_argument("--only-seconds", action="store_true", help="keep all else as it is")
    args = parser.parse_args()

    torch.set_num_threads(1)  # the teacher's, too: seconds are those of one thread
    args.work.mkdir(parents=True, exist_ok=True)
    contestants = contestants_of(args)
    if args.only_seconds:
        again(contestants, args.source)
        return
    drawn = args.work / f"made-{MADE['designs']}-{MADE['seed']}"
    if not (drawn / "metadata.csv").is_file():
        families = read_split(SPLITS / "made.toml").parts["test"]
        generate(drawn, families=families, **MADE)  # type: ignore[arg-type]
    sizes = sorted({one.preprocessing.size for one in contestants})
    patents, others, made = (read_squares(p, sizes) for p in (args.source, args.distractors, drawn))
    split = read_split(SPLITS / "uspto-multiview.toml")
    refuse_twins(patents, others, split)
    every, training, galleries = galleries_of(patents, others, made, split)
    resamplings = {name: gallery.resampling() for name, gallery in galleries.items()}

    rows: list[dict[str, Any]] = []
    reference: dict[str, dict[str, Values]] = {}
    for one in contestants:
        began = time.perf_counter()
        embeddings = embedded(one, every, training)
        for prefix in (None, *one.prefixes):
            own = embeddings if prefix is None else unit(embeddings[:, :prefix])
            told, values = measured(own, galleries, resamplings, reference)
            reference = reference or values  # the first is what all are held against
            rows.append(
                {
                    "encoder": one.name,
                    "group": one.group,
                    "prefix": prefix,
                    "dim": own.shape[1],
                    "size": one.preprocessing.size,
                    "bytes": one.bytes,
                    "galleries": told,
                }
            )
        patent = rows[-1 - len(one.prefixes)]["galleries"]["test"]["patent mAP"]
        print(
            f"{one.name:44} patent mAP {patent['value']:.3f} ({patent['low']:.3f} to"
            f" {patent['high']:.3f}), {time.perf_counter() - began:.0f} s",
            flush=True,
        )
    rows.sort(key=lambda row: GROUPS.index(row["group"]))
    result = {
        "question": "what is found on designs never trained on, beside what anyone has at hand",
        "source": args.source.name,
        "distractors": args.distractors.name,
        "made": MADE,
        "convention": "leave one figure out; AP over the whole ranking; cosine; subclass: figures"
        " of the query's own patent are taken out",
        "reference": REFERENCE,
        "resamples": RESAMPLES,
        "galleries": {name: gallery.about for name, gallery in galleries.items()},
        "statistics": {"whitening": int(training.sum())},
        "skipped": [*patents.skipped, *others.skipped, *made.skipped],
        "rows": rows,
        "seconds": timed(
            contestants, every.only(np.arange(len(every)) < galleries["test"].queries)
        ),
        "host": host(),
        "versions": versions(),
        "created": now(),
    }
    save_json(RESULTS / "model.json", result)
    draw(result, RESULTS / "model.png")


if __name__ == "__main__":
    main()
