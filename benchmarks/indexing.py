"""How many sheets a second become searchable, beside fastembed with the same weights?

Question: sheets a second, processor seconds and peak memory to embed all sheets of a folder, from
files to vectors. Ours cuts each sheet into its figures, embeds every one, and commits vectors,
pictures and records to a register; fastembed embeds each sheet whole and keeps nothing.

    python benchmarks/indexing.py path/to/sheets --fastembed path/to/python --rounds 5

Each run is a process of its own, in turn; time begins when libraries and model are loaded, and
holds the start of whatever processes the contestant starts for the work. fastembed gets the
bundle's own ONNX file: before it a Slice, for its images always have three channels and these
weights take one; its `preprocessor_config.json` asks for the bundle's size, mean and deviation, by
one bicubic resize. It runs as by default, and in its other documented ways (`threads`, `parallel`,
`batch_size`): the fastest of them is the one that ours is compared with. No network is used.
fastembed 0.9 needs an older huggingface_hub than is pinned here, so it lives in an environment of
its own, with the same onnxruntime, numpy and Pillow: `--fastembed` names its interpreter.
Writes benchmarks/results/indexing.json; `python benchmarks/render.py` makes the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from edge_retrieval.bundle import Bundle
from edge_retrieval.provenance import available_cores, host, now, versions
from edge_retrieval.report import save_json

RESULTS = Path(__file__).parent / "results"
MODEL = Path(__file__).parents[1] / "models" / "small"


class Contestant(NamedTuple):
    """One way to do it; `options` are fastembed's own, or `jobs` and `threads` of ours."""

    name: str
    ours: bool
    options: dict[str, Any]


def contestants(cores: int) -> list[Contestant]:
    """Ours with all cores and with one job; fastembed in every way that its documents offer."""
    return [
        Contestant("edge-retrieval", True, {"jobs": cores}),
        Contestant("edge-retrieval, one job", True, {"jobs": 1}),
        Contestant("fastembed, as by default", False, {}),
        Contestant("fastembed, batches of 16", False, {"batch_size": 16}),
        Contestant(
            f"fastembed, {cores} processes", False, {"parallel": cores, "batch_size": 16}
        ),
        Contestant(
            f"fastembed, {cores} processes of 1 thread",
            False,
            {"parallel": cores, "batch_size": 16, "threads": 1},
        ),
    ]  # fmt: skip


def main() -> None:
    """Measure in turn and save every round; or, with --one, do one run and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("sheets", type=Path, help="folder of drawings")
    parser.add_argument("--bundle", type=Path, default=MODEL)
    parser.add_argument("--fastembed", type=Path, required=True, help="a python that has it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, help="only so many sheets")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "indexing.json")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(ours(args.sheets, args.bundle, args.limit, json.loads(args.one))))
        return
    entrants = contestants(available_cores())
    rows: dict[str, list[dict[str, Any]]] = {entrant.name: [] for entrant in entrants}
    with tempfile.TemporaryDirectory() as model:
        prepare(Bundle.open(args.bundle), Path(model))
        for number in range(args.rounds):
            for entrant in entrants[:: -1 if number % 2 else 1]:
                rows[entrant.name].append(run_apart(entrant, args, model))
                last = rows[entrant.name][-1]
                speed = last["sheets"] / last["seconds"]
                print(f"{entrant.name}: {speed:.1f} sheets/s, {last['cpu']} s CPU", flush=True)
    bundle = Bundle.open(args.bundle)
    save_json(
        args.out,
        {
            "question": "sheets a second from files to vectors",
            "source": args.sheets.parent.name,
            "bundle": bundle.name,
            "size": bundle.preprocessing.size,
            "rows": [
                {"name": e.name, "ours": e.ours, "options": e.options, "rounds": rows[e.name]}
                for e in entrants
            ],
            "cores": available_cores(),
            "host": host(),
            "versions": versions() | {"fastembed": rows[entrants[-1].name][0]["version"]},
            "created": now(),
        },
    )


def run_apart(entrant: Contestant, args: argparse.Namespace, model: str) -> dict[str, Any]:
    """Run one contestant in a process of its own."""
    here, options = Path(__file__).parent, json.dumps(entrant.options)
    if entrant.ours:
        command = [sys.executable, __file__, str(args.sheets), "--bundle", str(args.bundle)]
        command += ["--limit", str(args.limit)] if args.limit else []
        command += ["--fastembed", str(args.fastembed), "--one", options]
    else:
        command = [str(args.fastembed), str(here / "fastembed_run.py"), model]
        command += [str(args.sheets), str(args.limit or 0), options]
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **offline}
    )
    if done.returncode:
        raise SystemExit(f"{entrant.name}: {done.stderr[-2000:]}")
    took: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return took


def ours(sheets: Path, folder: Path, limit: int | None, options: dict[str, Any]) -> dict[str, Any]:
    """Make a register of the sheets, each a design of its own, cut into its figures."""
    from edge_retrieval.encoder import load_encoder
    from edge_retrieval.register import Register
    from edge_retrieval.sources import open_source

    bundle = Bundle.open(folder)
    encoder = load_encoder(bundle)
    with tempfile.TemporaryDirectory() as work:
        register = Register.create(Path(work) / "register", bundle)
        designs = itertools.islice(open_source(sheets, kind="folder"), limit)
        before, began = os.times(), time.perf_counter()
        result = register.add(designs, encoder, **options)
        seconds, after = time.perf_counter() - began, os.times()
        register.close()
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "sheets": result.sheets_read,
        "figures": result.figures_added,
        "seconds": seconds,
        "cpu": sum(after[:4]) - sum(before[:4]),  # of this process and of those it started
        "peak_memory": int(told["VmHWM"].split()[0]) * 1024,
    }


def prepare(bundle: Bundle, folder: Path) -> None:
    """Write what fastembed loads: the same weights behind a Slice, and its preprocessing."""
    import onnx
    from onnx import TensorProto, helper

    settings = bundle.preprocessing
    model = onnx.load(bundle.model)
    [taken] = model.graph.input
    if settings.channels == 1:
        ends = [
            helper.make_tensor(name, TensorProto.INT64, [1], [value])
            for name, value in (("first", 0), ("end", 1), ("axis", 1))
        ]
        model.graph.initializer.extend(ends)
        slicing = helper.make_node("Slice", ["grey3", "first", "end", "axis"], [taken.name])
        model.graph.node.insert(0, slicing)
        shape = ["n", 3, settings.size, settings.size]
        wide = helper.make_tensor_value_info("grey3", TensorProto.FLOAT, shape)
        model.graph.input.pop()
        model.graph.input.append(wide)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    wanted = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": settings.size, "width": settings.size},
        "resample": 3,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [settings.mean] * 3,
        "image_std": [settings.std] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(wanted), encoding="utf-8")


if __name__ == "__main__":
    main()
