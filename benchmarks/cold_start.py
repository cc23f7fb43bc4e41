"""What does one search cost, from the command line to the printed answer?

Question: CPU and wall seconds and peak memory of `edge-ret search drawing.png --json` in a register
of 100,000 figures, against a bare script that decodes the same file, runs the same model and
multiplies the same matrix (`benchmarks/bare.py`), and against rclip 3 over the same vectors with
the same weights; each a process of its own, in turn.

    python benchmarks/cold_start.py --python base/bin/python --rclip rclip/bin/python --rounds 15

`--python` is an environment with the base install alone, as users have it; `--rclip` one with rclip
alone. rclip gets the network behind a mean over its three channels and a linear reduction (it hands
over 256 pixels where the model takes fewer). It is made for vectors of 512 numbers: at 128 its
constant is set to that; at 512 the network's output is repeated four times and halved, for all
contestants.

Writes benchmarks/results/cold_start.json; `python benchmarks/render.py` makes the table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from made_register import clustered, make_register, seen_by

from edge_retrieval.arrays import Embeddings
from edge_retrieval.bundle import Bundle, default_bundle_path, save_bundle
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.register.files import vectors_name
from edge_retrieval.report import save_json
from edge_retrieval.sample import sample_query

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RCLIP = "import rclip.model as m; m.Model.VECTOR_SIZE = {dim}; from rclip.main import main; main()"


def main() -> None:
    """Make the registers, run every contestant in turn, save every sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--python", default=sys.executable, help="has the base install")
    parser.add_argument("--rclip", help="a Python that has rclip 3; else it is left out")
    parser.add_argument("--figures", type=int, default=100_000)
    parser.add_argument("--dims", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--drawing", type=Path, default=sample_query())
    parser.add_argument("--out", type=Path, default=RESULTS / "cold_start.json")
    args = parser.parse_args()
    small = Bundle.open(default_bundle_path())
    rows = []
    for dim in args.dims:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            bundle = widened(small, dim, folder / "bundle")
            vectors = clustered(args.figures, dim, centres=seen_by(bundle))
            make_register(folder / "register", vectors, bundle)
            drawing = folder / "pictures" / f"query{args.drawing.suffix}"
            drawing.parent.mkdir()
            shutil.copyfile(args.drawing, drawing)
            contestants = ours_and_bare(args.python, folder, drawing, bundle)
            if args.rclip:
                contestants["rclip 3"] = rclip(args.rclip, folder, drawing, bundle, vectors)
            for name, (command, home) in contestants.items():
                require_ten(name, command, home)
            samples = measure(contestants, args.rounds)
        rows.append({"dim": dim, "samples": samples})
        print(f"{args.figures:,} figures, {dim} numbers each")
        for contestant, runs in samples.items():
            cpu, wall, peak = (statistics.median(run[key] for run in runs) for key in KEYS)
            told = f"{cpu * 1e3:6.0f} ms CPU {wall * 1e3:6.0f} ms {peak / 1e6:6.0f} MB"
            print(f"{contestant:26} {told}", flush=True)
    save_json(
        args.out,
        {
            "question": "CPU, wall and peak memory of one search, process and all",
            "figures": args.figures,
            "drawing": args.drawing.name,
            "rounds": args.rounds,
            "rclip": version_of(args.rclip, "rclip") if args.rclip else None,
            "rows": rows,
            "host": host(),
            "versions": versions(),
            "created": now(),
        },
    )


KEYS = ("cpu", "wall", "peak")


def ours_and_bare(
    python: str, folder: Path, drawing: Path, bundle: Bundle
) -> dict[str, tuple[Sequence[str], Mapping[str, str]]]:
    """Return the commands of ours and of the bare scripts, with their environment."""
    register = folder / "register"
    home = {"EDGE_RET_CACHE": str(folder / "cache"), "PYTHONSAFEPATH": "1"}
    bare = [
        python, str(HERE / "bare.py"), str(drawing), str(bundle.model),
        str(register / vectors_name(0)), str(bundle.dim), str(bundle.preprocessing.size),
    ]  # fmt: skip
    ours = [python, "-m", "edge_retrieval.cli", "search", str(drawing), "--register"]
    return {
        "edge-ret search --json": ([*ours, str(register), "--json"], home),
        "bare script": (bare, home),
        "bare script, one thread": ([*bare, "1"], home | {"OPENBLAS_NUM_THREADS": "1"}),
    }


def rclip(
    python: str, folder: Path, drawing: Path, bundle: Bundle, vectors: Embeddings
) -> tuple[Sequence[str], Mapping[str, str]]:
    """Give rclip the same vectors and weights; return its command and environment."""
    data = folder / "rclip"
    models = data / "ViT-B-32-256-datacomp_s34b_b86k"
    models.mkdir(parents=True)
    wrap(bundle, models / "visual.onnx")
    (models / "textual.onnx").write_bytes(b"")
    (data / "tokenizer").mkdir()
    (data / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz").write_bytes(b"")
    found = "import rclip.db as d, sys; d.DB(sys.argv[1]).close()"
    subprocess.run([python, "-c", found, str(data / "db.sqlite3")], check=True)
    with sqlite3.connect(data / "db.sqlite3") as database:
        database.executemany(
            "INSERT INTO images (filepath, modified_at, size, vector) VALUES (?, 0, 0, ?)",
            (
                (str(drawing.parent / f"{row}.png"), vector.tobytes())
                for row, vector in enumerate(np.ascontiguousarray(vectors, np.float32))
            ),
        )
    database.close()
    command = [python, "-c", RCLIP.format(dim=bundle.dim), "-n", "-t", "10", f"./{drawing.name}"]
    home = {"RCLIP_DATADIR": str(data), "HF_HUB_OFFLINE": "1", "PWD_OF_RUN": str(drawing.parent)}
    return command, home


def widened(bundle: Bundle, dim: int, folder: Path) -> Bundle:
    """Return the bundle with its embeddings repeated up to `dim` numbers, of length 1 again."""
    times = dim // bundle.dim
    if times == 1:
        return bundle
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(bundle.model)
    [given] = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["narrow" if name == given.name else name for name in node.output]
    shrink = times**-0.5
    model.graph.initializer.append(helper.make_tensor("shrink", TensorProto.FLOAT, [], [shrink]))
    model.graph.node.extend(
        [
            helper.make_node("Concat", ["narrow"] * times, ["wide"], axis=1),
            helper.make_node("Mul", ["wide", "shrink"], [given.name]),
        ]
    )
    given.CopyFrom(helper.make_tensor_value_info(given.name, TensorProto.FLOAT, ["n", dim]))
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_suffix(".onnx")
    onnx.save(model, path)
    golden = bundle.golden()
    return save_bundle(
        folder,
        name=f"{bundle.name}-{dim}",
        precision=bundle.precision,
        model=path,
        preprocessing=bundle.preprocessing,
        levels=bundle.levels,
        golden_images=golden.images,
        golden_embeddings=np.tile(golden.embeddings, (1, times)) * np.float32(shrink),
        golden_tolerance=bundle.golden_tolerance,
        provenance=bundle.provenance,
    )


def wrap(bundle: Bundle, path: Path) -> None:
    """Let the network take what rclip hands over: ``(N, 3, 256, 256)``, called "input"."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(bundle.model)
    side = bundle.preprocessing.size
    [taken], [given] = model.graph.input, model.graph.output
    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    grey = (
        helper.make_node("ReduceMean", ["input", "axes"], ["grey"], keepdims=1)
        if opset >= 18
        else helper.make_node("ReduceMean", ["input"], ["grey"], axes=[1], keepdims=1)
    )
    if opset >= 18:
        model.graph.initializer.append(helper.make_tensor("axes", TensorProto.INT64, [1], [1]))
    scales = [1.0, 1.0, side / 256, side / 256]
    model.graph.initializer.append(helper.make_tensor("scales", TensorProto.FLOAT, [4], scales))
    shrink = helper.make_node("Resize", ["grey", "", "scales"], [taken.name], mode="linear")
    named = helper.make_node("Identity", [given.name], ["output"])
    nodes = [grey, shrink, *model.graph.node, named]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 256, 256])
    )
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", bundle.dim])
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)


def require_ten(name: str, command: Sequence[str], home: Mapping[str, str]) -> None:
    """Refuse a contestant that does not answer with ten of what was put in."""
    told = subprocess.run(
        command, env=os.environ | home, cwd=folder_of(command, home),
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    if name.startswith("edge-ret"):
        found = len(json.loads(told)["results"][0]["hits"])
    else:  # a line a row; rclip has a heading
        found = len([line for line in told.splitlines() if line and "filepath" not in line])
    if found != 10:
        raise SystemExit(f"{name} answers with {found} hits: {told[:300]}")


def folder_of(command: Sequence[str], home: Mapping[str, str]) -> str:
    """Return where a contestant is run: rclip looks at the folder it stands in."""
    return home.get("PWD_OF_RUN", str(Path(command[0]).parent))


def measure(
    contestants: Mapping[str, tuple[Sequence[str], Mapping[str, str]]], rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Run everything once to warm the disk's cache, then `rounds` times in turn."""
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        order = list(contestants) if number % 2 else list(reversed(contestants))
        for name in order:
            command, home = contestants[name]
            told = subprocess.run(
                [sys.executable, "-S", str(HERE / "meter.py"), *command],
                env=os.environ | home, cwd=folder_of(command, home),
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            sample = json.loads(told.stdout)
            if sample["code"]:
                raise SystemExit(f"{name} ended with {sample['code']}: {' '.join(command)}")
            if number:
                samples[name].append(sample)
    return samples


def version_of(python: str, package: str) -> str:
    """Ask an environment for the version of a package."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
