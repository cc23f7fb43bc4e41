"""Does `edge-ret serve` hold out when twenty examiners search at once, and does its memory stay?

Question: latency and rate of searches over real sockets, errors, and the server's memory, each
second; and with a short queue, whether those who find no room are told so, and when to come again.

    python benchmarks/serving.py
    python benchmarks/serving.py --register path/to/register --seconds 60 --clients 20

Clients are threads here, on the same cores as the server. Each sends a drawing, searches with it
for 24 designs with all their pictures' addresses and counts, fetches a picture now and then, and
after 20 searches sends another drawing. Writes benchmarks/results/serving.json with every sample.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json
from edge_retrieval.sample import sample_folder

RESULTS = Path(__file__).parent / "results"
K = 24
SEARCHES = 20
"""With one drawing, before another is sent."""

PICTURE_EVERY = 4
EVERY = 1.0
"""Seconds between two looks at the server's memory."""

SMALL = ("--workers", "1", "--queue", "2")
"""Of the server that is to be asked for more than it takes."""


@dataclass
class Seen:
    """What one client saw.

    Attributes:
        seconds: By kind of request, of each that was answered with 200.
        statuses: Of all answers, by kind.
        refused: Seconds until each 503.
        untold: 503s that did not say when to come again.
        errors: What else went wrong, a line each.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    refused: list[float] = field(default_factory=list)
    untold: int = 0
    errors: list[str] = field(default_factory=list)


class Client:
    """One examiner: sends drawings, searches with them, looks at pictures.

    Args:
        address: Of the server.
        sheets: Drawings to send, in turn.
    """

    def __init__(self, address: str, sheets: Sequence[Path]) -> None:
        self.seen = Seen()
        self._where = urlsplit(address).netloc
        self._sheets = itertools.cycle(sheets)
        self._connection = http.client.HTTPConnection(self._where, timeout=60)

    def work(self, until: float) -> None:
        """Search until the clock says so."""
        with contextlib.closing(self._connection):
            self._work(until)

    def _work(self, until: float) -> None:
        while time.perf_counter() < until:
            data = next(self._sheets).read_bytes()
            sent = self._ask("drawing", "POST", "/api/drawings?name=sheet.png", data)
            if sent is None:
                continue
            view = {"drawing": json.loads(sent)["id"], "figure": 1}
            search = json.dumps({"views": [view], "k": K}).encode()
            for number in range(SEARCHES):
                if time.perf_counter() >= until:
                    return
                found = self._ask("search", "POST", "/api/search", search)
                if found is not None and number % PICTURE_EVERY == 0:
                    address = re.search(rb'"picture": "([^"]+)"', found)
                    if address is not None:
                        self._ask("picture", "GET", address[1].decode())

    def _ask(self, kind: str, method: str, path: str, body: bytes | None = None) -> bytes | None:
        begun = time.perf_counter()
        try:
            headers = {"Content-Type": "application/json"} if kind == "search" else {}
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.seen.errors.append(f"{kind}: {type(error).__name__}: {error}")
            self._connection.close()
            return None
        took = time.perf_counter() - begun
        self.seen.statuses[f"{kind} {answer.status}"] += 1
        if answer.status == 200:
            self.seen.seconds.setdefault(kind, []).append(round(took, 6))
            return data
        if answer.status == 503:
            self.seen.refused.append(round(took, 6))
            self.seen.untold += not (answer.headers.get("retry-after") or "").isdecimal()
        else:
            self.seen.errors.append(f"{kind}: {answer.status} {data[:200]!r}")
        return None


@contextlib.contextmanager
def serving(register: Path | None, *options: str) -> Iterator[tuple[int, str]]:
    """Run `edge-ret serve`; give its process id and its address."""
    where = ["--register", str(register)] if register is not None else []
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_retrieval.cli", "serve", "--port", "0", *where, *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+/", process.stdout.readline())
        if found is None:
            raise SystemExit("the server did not start")
        yield process.pid, found[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def crowd(
    address: str, clients: int, seconds: float, *, process: int
) -> tuple[Seen, list[list[float]], float]:
    """Let clients ask at once; return what they saw, (second, bytes held), and how long it took."""
    sheets = sorted((sample_folder() / "sheets").glob("*.png"))
    asking = [Client(address, sheets[i % len(sheets) :] or sheets) for i in range(clients)]
    begun = time.perf_counter()
    threads = [threading.Thread(target=one.work, args=(begun + seconds,)) for one in asking]
    for thread in threads:
        thread.start()
    held = []
    while any(thread.is_alive() for thread in threads):
        held.append([round(time.perf_counter() - begun, 3), resident(process)])
        time.sleep(EVERY)
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    whole = Seen()
    for one in asking:
        for kind, samples in one.seen.seconds.items():
            whole.seconds.setdefault(kind, []).extend(samples)
        whole.statuses.update(one.seen.statuses)
        whole.refused += one.seen.refused
        whole.untold += one.seen.untold
        whole.errors += one.seen.errors
    return whole, held, took


def resident(process: int) -> int:
    """Return the bytes of memory that a process holds; 0 where the system does not tell."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


def growth(held: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return how much memory grew over the last half: the medians of its first and last fifth."""
    sizes = [size for _, size in held][len(held) // 2 :]
    part = max(1, len(sizes) // 5)
    before, after = float(np.median(sizes[:part])), float(np.median(sizes[-part:]))
    return {"bytes": after - before, "share": (after - before) / before if before else 0.0}


def summary(samples: Sequence[float], took: float) -> dict[str, float]:
    """Return percentiles in seconds, and the rate."""
    p50, p95, p99 = np.percentile(samples, [50, 95, 99]).round(6).tolist()
    return {
        "n": len(samples),
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "per_second": len(samples) / took,
    }


def main() -> None:
    """Ask a server with its defaults, then one with a short queue; save every sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--register", type=Path, help="default: the sample")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--overflow-seconds", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=RESULTS / "serving.json")
    args = parser.parse_args()
    with serving(args.register) as (process, address):
        connection = http.client.HTTPConnection(urlsplit(address).netloc)
        connection.request("GET", "/api/status")
        status: dict[str, Any] = json.load(connection.getresponse())
        connection.close()
        seen, held, took = crowd(address, args.clients, args.seconds, process=process)
    with serving(args.register, *SMALL) as (process, address):
        over, _, over_took = crowd(address, args.clients, args.overflow_seconds, process=process)
    kinds = {kind: summary(samples, took) for kind, samples in seen.seconds.items()}
    told = {
        "question": "searches by many clients at once over sockets, memory, and a full queue",
        "clients": args.clients,
        "k": K,
        "register": {name: status[name] for name in ("name", "designs", "figures", "precision")},
        "seconds": took,
        "requests": kinds,
        "statuses": dict(seen.statuses),
        "errors": seen.errors,
        "memory": {"held": held, "growth_of_last_half": growth(held)},
        "overflow": {
            "options": list(SMALL),
            "seconds": over_took,
            "statuses": dict(over.statuses),
            "refused_without_retry_after": over.untold,
            "errors": over.errors,
            "samples": {"refused": over.refused},
        },
        "samples": seen.seconds,
        "host": host(),
        "versions": versions(),
        "created": now(),
    }
    save_json(args.out, told)
    report(told)


def report(told: dict[str, Any]) -> None:
    """Print what came of it."""
    for kind, found in told["requests"].items():
        times = ", ".join(f"{name} {found[name] * 1e3:.0f} ms" for name in ("p50", "p95", "p99"))
        print(f"{kind:8} {found['n']:>6}: {times}; {found['per_second']:.1f}/s")
    held = [size / 1e6 for _, size in told["memory"]["held"]]
    grown = told["memory"]["growth_of_last_half"]
    print(f"errors {len(told['errors'])}, statuses {told['statuses']}")
    print(
        f"memory {held[0]:.0f} to {held[-1]:.0f} MB, in the last half"
        f" {grown['bytes'] / 1e6:+.1f} MB ({grown['share']:+.1%})"
    )
    over = told["overflow"]
    print(
        f"short queue: {over['statuses']}, without Retry-After"
        f" {over['refused_without_retry_after']}, errors {len(over['errors'])}"
    )


if __name__ == "__main__":
    main()
