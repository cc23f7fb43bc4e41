"""Render the tables of README.md, benchmarks/README.md and docs from benchmarks/results/*.json.

    python benchmarks/render.py           # write them
    python benchmarks/render.py --check   # exit 1 if they are not fresh

A table stands between `<!-- table:NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aarch64_table
import compatible_table
import cost_tables
import fault_tables
import fuzz_table
import helps_table
import model_tables
import page_tables
import peer_tables
import scale_plan_table
import scale_tables
import search_tables
import serving_table
import store_table
import views_table

from edge_retrieval.bench.tables import about, markdown_of, tables
from edge_retrieval.report import Report

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
)


def load(name: str) -> dict[str, Any]:
    """Read one result file."""
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return result


def table(head: list[str], rows: list[list[str]]) -> str:
    """Write a Markdown table; the first column is text, the others are figures."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cut() -> str:
    """How well figures are cut out of sheets, and how fast."""
    result = load("cut")
    return table(["", "result"], [[key, str(value)] for key, value in result["summary"].items()])


def latency() -> str:
    """One search on the machine at hand, by stage."""
    result = load("latency")
    if result["schema"] > 1:
        return of_bench(Report.from_json(result))
    rows = []
    for m in result["measurements"]:
        samples = sorted(m["samples"])
        if m["unit"] != "s" or len(samples) < 2:
            continue
        p50, p90, p99 = (percentile(samples, q) for q in (50, 90, 99))
        rows.append([m["name"], *(f"{v * 1e3:.1f} ms" for v in (p50, p90, p99)), str(len(samples))])
    settings = result["settings"]
    peak = next(m for m in result["measurements"] if m["name"] == "memory.peak")["samples"][0]
    note = (
        f"{settings['bundle']} {settings['precision']}, {settings['threads']} thread(s),"
        f" {settings['designs']} designs, {settings['figures']} figures; peak memory"
        f" {peak / 1e6:.0f} MB; {result['host']['cpu']}, {result['host']['cores']} cores."
    )
    return table(["stage", "p50", "p90", "p99", "n"], rows) + "\n\n" + note


def of_bench(report: Report) -> str:
    """All that `edge-ret bench` measured."""
    parts = [f"{about(report)}.", *report.notes]
    for one in tables(report):
        parts += [f"**{one.title}**", "\n".join(markdown_of(one))]
    return "\n\n".join(parts)


def quantization() -> str:
    """FP32 and INT8 of every backbone on both runtimes."""
    result = load("quantization")
    parts = []
    for network in result["networks"]:
        bare = network["untrained patent mAP"]
        parts.append(
            f"**{network['backbone']}**, {network['size']} px (untrained: patent mAP"
            f" {sum(bare) / len(bare):.3f}, mean of {len(bare)} seeds)"
        )
        head = [
            "", "patent mAP", "drop", "subclass mAP", "overlap@10", "cosine", "ms, 1 thread",
            "ms, 2 threads", "speed to FP32, 1 thread", "per s, batch 16", "MB", "peak MB",
        ]  # fmt: skip
        parts.append(table(head, [quantized(row, network["rows"]) for row in network["rows"]]))
    parts.append(
        f"{result['source']}, {result['figures']} figures that neither trained nor calibrated"
        " anything; each figure is left out in turn. Overlap@10 and cosine: with FP32 on"
        " onnxruntime. Seconds: medians, all rows of a backbone in turn in one process; speed:"
        " median of the ratios round by round with FP32 on the same runtime. Peak memory: of a"
        f" process that embeds 20 drawings one at a time. {result['host']['cpu']}"
        f" ({', '.join(result['host']['flags'])}), {result['host']['cores']} cores."
    )
    return "\n\n".join(parts)


def quantized(row: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """One line of `quantization`."""
    plain = next(
        one for one in rows if (one["precision"], one["backend"]) == ("fp32", row["backend"])
    )
    one, two = (row["seconds"][f"batch 1, {n} thread(s)"] for n in (1, 2))
    base = plain["seconds"]["batch 1, 1 thread(s)"]
    ratios = sorted(a / b for a, b in zip(base, one, strict=True))
    many = sorted(row["seconds"]["batch 16, 2 thread(s)"])
    runtime = {"onnx": "onnxruntime", "openvino": "OpenVINO"}[row["backend"]]
    form = {"onnx": "ONNX", "openvino": "IR"}[row["format"]]
    what = row.get("rival") or row["precision"].upper() + (", after QAT" if row["qat"] else "")
    return [
        f"{what} {form} on {runtime}",
        f"{row['scores']['patent mAP']:.3f}",
        f"{row['drop']['patent mAP']:.3f}",
        f"{row['scores']['subclass mAP']:.3f}",
        f"{row['overlap@10']:.3f}",
        f"{row['cosine']['mean']:.4f}",
        *(f"{percentile(sorted(samples), 50) * 1e3:.2f}" for samples in (one, two)),
        f"{percentile(ratios, 50):.2f}x",
        f"{16 / percentile(many, 50):.0f}",
        f"{row['bytes'] / 1e6:.2f}",
        f"{row['peak_memory'] / 1e6:.0f}",
    ]


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation of some seeds."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.4f} (one seed)"
    deviation = (sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)) ** 0.5
    return f"{mean:.4f} ± {deviation:.4f}"


def seeds(
    rows: list[dict[str, Any]], name: str, measures: dict[str, tuple[str, str]]
) -> list[list[str]]:
    """One line for each value of `name`: mean and spread of each measure over the seeds."""
    lines = []
    for value in dict.fromkeys(row[name] for row in rows):
        own = [row for row in rows if row[name] == value]
        cells = []
        for where, measure in measures.values():
            found = [row[where][measure] for row in own if measure in row[where]]
            cells.append(spread(found) if found else "")
        lines.append([value, *cells])
    return lines


TESTED = {
    "H-AP": ("test", "H-AP"),
    "patent mAP": ("test", "patent mAP"),
    "subclass mAP": ("test", "subclass mAP"),
    "subclass mAP, exclusive": ("test", "subclass mAP, exclusive"),
    "class mAP, exclusive": ("test", "class mAP, exclusive"),
}


def losses(name: str) -> str:
    """The losses on one backbone: on real multi-view patents, and on held-out designs."""
    result = load(name)
    rows, config = result["rows"], result["config"]
    held = sorted({key for row in rows for key in row["held_out"] if key.startswith("mAP ")})
    inner = {key.removeprefix("mAP "): ("held_out", key) for key in held}
    outer = table(["loss", *TESTED], seeds(rows, "loss", TESTED))
    within = table(["loss", *inner], seeds(rows, "loss", inner))
    note = (
        f"{config['backbone']} (weights at the start: {config['weights']}),"
        f" {config['size']} px, {rows[0]['steps']} steps, {len({r['seed'] for r in rows})} seeds,"
        f" mean ± standard deviation. Trained on {' and '.join(result['train'])}; tested on"
        f" {result['test']} (gallery {rows[0]['gallery']}); {result['convention']}."
    )
    said = (
        "The same runs on designs held out of the training sources (mAP; class and subclass"
        " exclusive; other designs with each seed, hence the spread):"
    )
    return "\n\n".join([outer, note, said, within, f"![](results/{name}.png)"])


def heads() -> str:
    """The losses on linear heads of frozen networks."""
    result = load("heads")
    places = {"test": result["test"]} | {name: name for name in result["held_out"]}
    measures = {
        f"{shown}: {measure}": (place, measure)
        for place, shown in places.items()
        for measure in ("H-AP", "patent mAP", "subclass mAP")
    }
    parts = []
    for backbone in dict.fromkeys(row["backbone"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["backbone"] == backbone]
        lines = [
            [cell.replace(" (one seed)", "") for cell in line] if line[0].startswith("(") else line
            for line in seeds(rows, "loss", measures)
        ]
        parts.append(f"{backbone}:\n\n" + table(["loss", *measures], lines))
    parts.append(
        f"Frozen ImageNet features at {result['size']} px, a linear head to 128 numbers,"
        f" {result['steps']} steps, {result['seeds']} seeds, mean ± standard deviation. Trained on"
        f" {' and '.join(result['train'])} less a fifth of the designs, which make the columns"
        f" named after them. Levels inclusive; {result['convention']}."
    )
    return "\n\n".join(parts)


def distillation() -> str:
    """A student with and without a teacher."""
    result = load("distillation")
    lines = seeds(result["rows"], "way", TESTED)
    bare = [f"{result['teacher_scores'][measure]:.4f}" for _, measure in TESTED.values()]
    lines.append([f"(the teacher's plain features: {result['teacher']} px)", *bare])
    note = (
        f"{result['backbone']}, {result['size']} px, {result['rows'][0]['steps']} steps,"
        f" {len({r['seed'] for r in result['rows']})} seeds, mean ± standard deviation; trained on"
        f" {' and '.join(result['train'])}, tested on {result['test']}; {result['convention']}."
    )
    return table(["", *TESTED], lines) + "\n\n" + note


def throughput() -> str:
    """The training loop against a bare loop."""
    result = load("throughput")
    rows = []
    for name, what in (("bare", "bare forward and backward"), ("train", "the whole training loop")):
        samples = sorted(row[name] for row in result["rows"])
        rows.append([what, *(f"{percentile(samples, q):.0f}/s" for q in (50, 0, 100))])
    ratios = sorted(row["ratio"] for row in result["rows"])
    rows.append(["ratio", *(f"{percentile(ratios, q):.2f}" for q in (50, 0, 100))])
    note = (
        f"{result['backbone']}, {result['size']} px, batches of {result['batch']},"
        f" {result['threads']} threads, {len(result['rows'])} rounds of {result['steps']} steps in"
        f" turn; {result['host']['cpu']}."
    )
    return table(["images a second", "median", "least", "most"], rows) + "\n\n" + note


def percentile(samples: list[float], q: float) -> float:
    """Interpolate linearly between the sorted samples."""
    place = (len(samples) - 1) * q / 100
    low = int(place)
    high = min(low + 1, len(samples) - 1)
    return samples[low] + (samples[high] - samples[low]) * (place - low)


def crashes() -> str:
    """What became of registers that were killed, damaged and read while written."""
    result = load("crashes")
    kills, company, damage = result["kills"], result["company"], result["damage"]
    rows = [
        [
            f"{kills['kills']} kills -9 at random moments, after {kills['commits']:,} commits",
            f"{len(kills['faults'])} with a fault or a loss",
        ],
        [
            f"{company['reads']} reads while another process writes",
            f"{len(company['faults'])} wrong; longest wait to open"
            f" {1e3 * company['longest wait to open, s']:.0f} ms",
        ],
    ]
    for kind in ("flips", "truncations"):
        part = damage[kind]
        found, harmless = part["verify"].get("found", 0), part["verify"].get("harmless", 0)
        missed = part["verify"].get("MISSED", 0)
        refused, right = part["search"].get("refused", 0), part["search"].get("answered", 0)
        what = {"flips": "flipped bits", "truncations": "truncations"}[kind]
        rows.append(
            [
                f"{part['count']:,} {what}: verify",
                f"{found} found, {harmless} harmless, {missed} missed",
            ]
        )
        rows.append([f"{part['count']:,} {what}: search", f"{right} right, {refused} refused"])
    rows.append(["wrong answers and crashes", str(len(damage["faults"]))])
    return table(["", "result"], rows)


def peers() -> str:
    """The same folder, indexed and searched by us and by the others; of a quiet machine only."""
    if not (RESULTS / "peers.json").exists():
        return "*Not measured yet on a machine that does nothing else.*"
    return peer_tables.peers(load("peers"), table)


def scale_plan(name: str) -> str:
    """One of the tables of the plan to a billion figures."""
    return scale_plan_table.markdown(name, load("scale_plan_table"), table)


TABLES: dict[str, Callable[[], str]] = {
    "aarch64": lambda: aarch64_table.aarch64(
        [load(name) for name in ("aarch64", "aarch64-fp32") if (RESULTS / f"{name}.json").exists()],
        table,
    ),
    "compatible": lambda: compatible_table.compatible(load("compatible"), table),
    "compatible_short": lambda: compatible_table.compatible_short(load("compatible"), table),
    "crashes": crashes,
    "fuzz": lambda: fuzz_table.fuzz(load("fuzz"), table),
    "faults": lambda: fault_tables.faults(load("faults"), table),
    "long_run": lambda: fault_tables.long_run(load("long_run"), table),
    "cold_start": lambda: cost_tables.cold_start(load("cold_start"), table),
    "warm": lambda: cost_tables.warm(load("warm"), table),
    "cut": cut,
    "decoding": lambda: page_tables.decoding(load("decoding"), table),
    "indexing": lambda: page_tables.indexing(load("indexing"), table),
    "latency": latency,
    "model": lambda: model_tables.model(load("model"), table),
    "model_full": lambda: model_tables.model_full(load("model"), table),
    "peers": peers,
    "quantization": quantization,
    "serving": lambda: serving_table.serving(load("serving"), table),
    "store": lambda: store_table.store(load("store"), table),
    "scale_index": lambda: scale_tables.scale_index(load("scale_index"), table),
    "setups": lambda: scale_tables.setups(load("setups"), table),
    "views": lambda: views_table.views(load("views"), table),
    "views_cost": lambda: views_table.views_cost(load("views"), table),
    "votes": lambda: views_table.votes(load("views")),
    "what_helps": lambda: helps_table.what_helps(load("what_helps"), table),
    "losses_scratch": lambda: losses("losses-scratch"),
    "heads": heads,
    "distillation": distillation,
    "throughput": throughput,
    "search": lambda: search_tables.search(load("search"), table),
    "search_million": lambda: search_tables.search_million(load("search"), table),
    **{name: partial(scale_plan, name) for name in scale_plan_table.NAMES},
    "search_filtered": lambda: search_tables.search_filtered(load("search"), table),
}


def render(text: str) -> str:
    """Put every table of a document in its place."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[4]}"

    return re.sub(r"(<!-- table:(\w+) -->)\n(.*?)(<!-- end -->)", fill, text, flags=re.S)


def main() -> None:
    """Write the tables, or say which document is stale."""
    parser = argparse.ArgumentParser(description="Render tables from benchmark results.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    args = parser.parse_args()
    stale = []
    for document in DOCUMENTS:
        before = document.read_text(encoding="utf-8")
        after = render(before)
        if after == before:
            continue
        stale.append(document.name)
        if not args.check:
            document.write_text(after, encoding="utf-8")
    if args.check and stale:
        sys.exit(f"stale: {', '.join(stale)}; run: python benchmarks/render.py")


if __name__ == "__main__":
    main()
