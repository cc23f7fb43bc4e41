"""The same folder of drawings, indexed and searched by us and by the others: what does it cost?

Question: wall and processor seconds and peak memory to index a folder and to search it, process and
all; bytes that have to be installed; and what happens if one file of the folder is broken. Beside
edge-ret: rclip, fastembed, timm and sentence-transformers; and, for searching alone, the libraries
that know no drawings, over the vectors of the same folder.

    python benchmarks/peers.py WORK --install
    python benchmarks/peers.py WORK path/to/uspto-multiview/sheets --sheets 100 --rounds 3

The first makes WORK/venv, with benchmarks/peers.txt and this checkout; or `--peers-python` and
`--python` (for ours) name interpreters that have them. Every contestant gets the same files and the
same network (`peer_network.py`), ours also runs as it ships; each run is a process of its own, in
turn, the file cache warm. WORK keeps every round: repeat the command to go on, `--only NAME ...` to
do some. Whoever cannot run here is listed with the reason. Only `--install` uses the network.
Writes benchmarks/results/peers.json when all are done; `python benchmarks/render.py` makes the
tables. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from peer_contestants import LEFT_OUT, contestants
from peer_given import Named, folders_of, install, installed, settings_of
from peer_libraries import Library, build, libraries, measure_search, save_vectors, try_flipped
from peer_network import BACKBONE, DIM, SIZE, make_networks
from peer_runs import (
    CannotRunError,
    Contestant,
    Folders,
    Kept,
    indexed,
    measure_round,
    require_all,
    try_broken,
)

from edge_retrieval.provenance import available_cores, host, now, versions
from edge_retrieval.report import save_json

RESULTS = Path(__file__).parent / "results"
VECTORS_OF = "edge-ret, the network of all"
One = TypeVar("One", bound=Named)


def main() -> None:
    """Install, or measure what is missing and save all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("work", type=Path, help="keeps environment, networks, stores and rounds")
    parser.add_argument("drawings", type=Path, nargs="?", help="folder of drawings")
    parser.add_argument("--install", action="store_true", help="make WORK/venv, and stop")
    parser.add_argument("--peers-python", help="has the peers; default: that of WORK/venv")
    parser.add_argument("--python", help="has edge-retrieval; default: that of the peers")
    parser.add_argument("--sheets", type=int, default=100, help="so many, evenly spaced")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--searches", type=int, default=3, help="in each round")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one run")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contestants to measure now")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "peers.json")
    args = parser.parse_args()
    args.work = args.work.absolute()
    if args.install:
        install(args.work / "venv")
        return
    if args.drawings is None:
        parser.error("give a folder of drawings, or --install")
    peers = args.peers_python or str(args.work / "venv" / "bin" / "python")
    measure(args, args.python or peers, peers)


def measure(args: argparse.Namespace, ours: str, peers: str) -> None:
    """Try and measure all in turn; write the result once nothing is missing."""
    args.work.mkdir(parents=True, exist_ok=True)
    folders = folders_of(args.drawings, args.sheets, args.work)
    networks = args.work / "networks"
    if not (networks / "bundle").exists():
        make_networks(networks)
    tools, others = contestants(ours, peers, networks), libraries(ours, peers)
    every: list[Named] = [*tools, *others]
    takes = installed(every)
    kept = {}
    for one in every:
        settings = settings_of(
            folders, networks / "network.onnx", args.searches, takes[one.name]["versions"]
        )
        kept[one.name] = Kept(args.work / "rounds" / f"{slug(one.name)}.json", settings)
        if missing := takes[one.name]["missing"]:
            kept[one.name].content["cannot"] = f"not installed: {', '.join(missing)}"
    wanted = chosen(kept, args.only)
    measure_tools([one for one in tools if one.name in wanted], kept, folders, args)
    some = [one for one in others if one.name in wanted and left(kept[one.name], args.rounds)]
    if some:  # in turns of their own: they need the vectors that an index gave
        [indexer] = [one for one in tools if one.name == VECTORS_OF]
        measure_libraries(some, indexer, kept, folders, args)
    if missing := [name for name, own in kept.items() if left(own, args.rounds)]:
        print(f"not measured yet: {', '.join(missing)}", file=sys.stderr)
        return
    save_json(args.out, result(args, tools, others, kept, takes))
    print(f"wrote {args.out}", file=sys.stderr)


def chosen(kept: Mapping[str, Kept], only: Sequence[str] | None) -> set[str]:
    """Return whom to measure; refuse a name that nobody has."""
    if unknown := set(only or ()) - set(kept):
        raise SystemExit(f"no {min(unknown)!r}; there are: {', '.join(kept)}")
    return set(only or kept)


def slug(name: str) -> str:
    """Return a name as a file can have it."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def left(kept: Kept, rounds: int) -> int:
    """Return how many rounds are still to be measured; 0 of what cannot run."""
    return 0 if "cannot" in kept.content else max(0, rounds - len(kept.content["rounds"]))


# ------------------------------------------------------------------ measuring


def measure_tools(
    tools: Sequence[Contestant], kept: Mapping[str, Kept], folders: Folders,
    args: argparse.Namespace,
) -> None:  # fmt: skip
    """Let each that can index sound files meet the broken ones; then measure in turn."""
    store, limit = args.work / "store", args.limit

    def broken(one: Contestant) -> dict[str, Any]:
        require_all(one, folders.few, store, limit=limit)
        return {
            "broken": {
                way: try_broken(one, each, store, limit=limit)
                for way, each in folders.broken.items()
            }
        }

    def measured(one: Contestant) -> dict[str, Any]:
        return measure_round(one, folders, store, searches=args.searches, limit=limit)

    for one in tools:
        if "broken" not in kept[one.name].content:
            attempt(one, kept[one.name], broken)
    in_turn(tools, kept, measured, args.rounds)


def measure_libraries(
    others: Sequence[Library], indexer: Contestant, kept: Mapping[str, Kept], folders: Folders,
    args: argparse.Namespace,
) -> None:  # fmt: skip
    """Let all search the vectors of one register, in turn, after each met a flipped bit."""
    register, vectors = args.work / "vectors" / "register", args.work / "vectors.npy"
    if done := indexed(indexer, folders.sheets, register.parent, limit=args.limit).code:
        raise SystemExit(f"no vectors to search: {indexer.name} ends with {done}")
    count = save_vectors(register, vectors)
    stores = {one.name: args.work / "libraries" / slug(one.name) for one in others}

    def flipped(one: Library) -> dict[str, Any]:
        build(one, register, vectors, stores[one.name], limit=args.limit)
        found = try_flipped(one, vectors, stores[one.name], limit=args.limit)
        return {"vectors": count, "flipped": found}

    def measured(one: Library) -> dict[str, Any]:
        return measure_search(
            one, vectors, stores[one.name], searches=args.searches, limit=args.limit
        )

    for one in others:
        attempt(one, kept[one.name], flipped)
    in_turn(others, kept, measured, args.rounds)


def in_turn(
    every: Sequence[One], kept: Mapping[str, Kept], measured: Callable[[One], dict[str, Any]],
    rounds: int,
) -> None:  # fmt: skip
    """Measure the rounds that are missing, every other one in reverse."""
    for number in range(rounds):
        for one in every[:: -1 if number % 2 else 1]:
            if len(kept[one.name].content["rounds"]) == number:
                attempt(one, kept[one.name], lambda one: {"round": measured(one)})


def attempt(one: One, kept: Kept, what: Callable[[One], dict[str, Any]]) -> None:
    """Do something with a contestant and keep what comes of it, or why it cannot be done."""
    if "cannot" in kept.content:
        return
    try:
        found = what(one)
    except CannotRunError as error:
        found = {"cannot": str(error)}
    print(f"{one.name}: {said(found)}", file=sys.stderr, flush=True)
    if "round" in found:
        kept.content["rounds"].append(found.pop("round"))
    kept.content |= found
    kept.save()


def said(found: Mapping[str, Any]) -> str:
    """Say in one line what was found."""
    if "cannot" in found:
        return f"cannot run here: {found['cannot']}"
    if "broken" in found:
        told = (f"{way}: {one['verdict']}" for way, one in found["broken"].items())
        return "; ".join(told)
    if "flipped" in found:
        return f"with a flipped bit: {found['flipped']['verdict']}"
    search = f"search {found['round']['search'][0]['wall']:.2f} s"
    if "seconds" in found["round"]:
        return f"{search}, then {statistics.median(found['round']['seconds']) * 1e3:.3f} ms each"
    index = found["round"]["index"]
    return (
        f"index {index['wall']:.1f} s, {index['cpu']:.1f} s CPU, {index['total'] / 1e6:.0f} MB;"
        f" {search}"
    )


# ------------------------------------------------------------------ the result


def result(
    args: argparse.Namespace, tools: Sequence[Contestant], others: Sequence[Library],
    kept: Mapping[str, Kept], takes: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Put together what all have kept."""
    cannot = {
        one: own.content["cannot"] for one, own in kept.items() if "cannot" in own.content
    }  # fmt: skip

    def rows(every: Sequence[Named]) -> list[dict[str, Any]]:
        found = []
        for one in every:
            if one.name in cannot:
                continue
            own = {k: v for k, v in kept[one.name].content.items() if k != "settings"}
            own["rounds"] = own["rounds"][: args.rounds]
            about = {"ours": one.packages == ("edge-retrieval",), "note": getattr(one, "note", "")}
            found.append({"name": one.name, **about, "install": takes[one.name], **own})
        return found

    return {
        "question": "what indexing and searching a folder of drawings costs, beside the peers",
        "source": args.drawings.absolute().parent.name,
        "sheets": args.sheets,
        "rounds": args.rounds,
        "searches": args.searches,
        "network": {"backbone": BACKBONE, "size": SIZE, "dim": DIM, "weights": "random, seed 0"},
        "rows": rows(tools),
        "libraries": rows(others),
        "left_out": cannot | LEFT_OUT,
        "cores": available_cores(),
        "host": host(),
        "versions": versions(),
        "created": now(),
    }


if __name__ == "__main__":
    main()
