"""Commands that measure: eval, bench, doctor."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edge_retrieval.cli.talk import (
    BackendOption,
    JsonFlag,
    RegisterOption,
    bar,
    find_register,
    open_bundle,
    print_json,
    print_table,
    read_drawing,
    say,
    write_text,
)
from edge_retrieval.errors import BundleError

MOST_THREADS = 256
"""More than any device of ours has; thousands by a slip would bring it to a halt."""


def evaluate(
    register_path: Annotated[Path, typer.Argument(metavar="REGISTER", help="Register to measure.")],
    as_json: JsonFlag = False,
) -> None:
    """Measure retrieval on a register: every figure searches among all the others.

    Needs designs with several figures and labels above them.
    """
    from edge_retrieval.metrics import by_design, leave_one_out
    from edge_retrieval.register import Register

    register = Register.open(register_path)
    register.check_rows(range(register.figures_count))  # a damaged vector must not be measured
    levels = register.levels
    codes = register.codes()  # (N, L)
    tables = {
        "figures": leave_one_out(register.vectors, codes, levels),
        "designs": by_design(register.vectors, codes, levels),
    }
    if as_json:
        print_json(
            {
                "register": str(register_path),
                "bundle": register.bundle.name,
                "fingerprint": register.bundle.fingerprint,
                **{name: [asdict(scores) for scores in table] for name, table in tables.items()},
            }
        )
        return
    titles = {
        "figures": "Ranked figures: each figure is left out in turn and searches all the others",
        "designs": "Ranked designs: each figure searches the designs, its own figure left out",
    }
    for name, table in tables.items():
        measures = dict.fromkeys(key for scores in table for key in scores.values)
        # A column a level: six of them fit a terminal of 80 letters, thirteen measures do not.
        print_table(
            titles[name],
            [("level\nrelevance", "left")]
            + [(f"{scores.level}\n{scores.relevance}", "right") for scores in table],
            [
                ("gallery", *(str(scores.gallery) for scores in table)),
                ("queries", *(str(scores.queries) for scores in table)),
                *(
                    (key, *(f"{s.values[key]:.3f}" if key in s.values else "" for s in table))
                    for key in measures
                ),
            ],
        )
    say(
        "inclusive: figures that agree deeper count too; exclusive: they are taken out of the"
        " ranking first"
    )
    register.close()


def bench(
    drawings: Annotated[
        list[Path] | None, typer.Argument(help="Drawings to search with. Default: the sample's.")
    ] = None,
    register_path: RegisterOption = None,
    runs: Annotated[int, typer.Option("--runs", help="Searches to count.", min=1)] = 50,
    threads: Annotated[
        int, typer.Option("--threads", help="Threads of the encoder.", min=1, max=MOST_THREADS)
    ] = 1,
    backend: BackendOption = "onnx",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the raw samples go, as JSON.")
    ] = Path("bench.json"),
    as_json: JsonFlag = False,
) -> None:
    """Measure what a search costs on this very device, stage by stage."""
    from edge_retrieval.bench import bench as measure
    from edge_retrieval.report import human_bytes, human_seconds
    from edge_retrieval.sample import sample_folder

    sheets = drawings or sorted((sample_folder() / "sheets").glob("*.png"))[:20]
    for sheet in sheets:
        read_drawing(sheet)
    register = find_register(register_path)
    report = measure(register, sheets, runs=runs, backend=backend, threads=threads, track=bar)
    write_text(out, json.dumps(report.to_json(), indent=1, allow_nan=False))
    if as_json:
        print_json(report.to_json())
    else:
        human = {"s": human_seconds, "B": human_bytes}
        print_table(
            f"{register.bundle.name} on {report.host['cpu']}, {backend}, {threads} thread(s),"
            f" {register.figures_count} figures",
            [("", "left")] + [(name, "right") for name in ("p50", "p90", "p99", "n")],
            [
                (
                    m.name,
                    *(human[m.unit](value) for value in (m.p50, m.p90, m.p99)),
                    str(m.n),
                )
                for m in report.measurements
            ],
        )
    say(f"raw samples: {out}")
    register.close()


def doctor(
    bundle: Annotated[
        Path | None, typer.Argument(help="Bundle or register to check. Default: what ships.")
    ] = None,
    backend: BackendOption = "onnx",
) -> None:
    """Check that this very device computes what a bundle's maker computed.

    The bundle's golden drawings are embedded here and held against the vectors it carries: a wrong
    runtime, a saturating processor or a damaged file shows at once.
    """
    from edge_retrieval.encoder import golden_check, load_encoder

    if bundle is not None and (bundle / "bundle" / "bundle.json").is_file():
        bundle = bundle / "bundle"  # a register: the encoder that it keeps
    opened = open_bundle(bundle)
    least = golden_check(opened, load_encoder(opened, backend=backend))
    verdict = f"{opened.name}: least cosine to the golden vectors {least:.4f}"
    if least < opened.golden_tolerance:
        raise BundleError(
            f"{verdict}, below {opened.golden_tolerance:.4f}: do not trust it on this device",
            hint="try --backend openvino, or the FP32 bundle",
        )
    print(f"{verdict}, at least {opened.golden_tolerance:.4f} is asked: good")
