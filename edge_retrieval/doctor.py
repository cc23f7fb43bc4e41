"""Does this very device compute what a bundle's maker computed, and if not, what is off?

In the order of a fault's way: the manifest, the files, how drawings are scaled, then each runtime
on the golden drawings. A runtime that differs is asked again in float, where a quantized file means
the same on every machine: right in float, the processor or the runtime does the whole numbers
otherwise; wrong in float too, the file is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_retrieval.bundle import Bundle
from edge_retrieval.causes import made_with, what_is_off
from edge_retrieval.drawing import fit_batch
from edge_retrieval.encoder import (
    BACKENDS,
    RUNTIMES,
    Encoder,
    golden_cosines,
    installed_backends,
    load_encoder,
)
from edge_retrieval.errors import BundleError, ConfigError, EdgeRetrievalError
from edge_retrieval.golden import squares_of
from edge_retrieval.provenance import versions
from edge_retrieval.speed import (
    compare_speed,
    machine_is_busy,
    rounds_within,
    speed_ratio,
)
from edge_retrieval.statement import ANEW, STATEMENT, read_statement, what_differs

SECONDS = 0.3
"""About how long the runtimes are timed."""

LEAST_GAIN = 1.05
"""Below it, one runtime is not called faster than another."""

MOST_GREY = 2
"""Grey values, of 255, by which a scaled drawing may differ: another rounding. A resize of another
kind differs by tens."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold whatever the runtime.

    Attributes:
        name: "manifest", "files" or "scaling"; of a bundle that tells what its scores mean
            "scores", of one with a statement "statement", too.
        good: None: this bundle does not tell.
        told: What was found, in one line.
        hint: What to do about it, where it is not good.
    """

    name: str
    good: bool | None
    told: str
    hint: str = ""


@dataclass(frozen=True)
class Trial:
    """One runtime on the golden drawings.

    Attributes:
        backend: A name in `BACKENDS`.
        runtime: "onnxruntime 1.31.1".
        good: Whether every golden drawing comes out as the bundle asks.
        least: Least cosine to the golden embeddings; NaN where it does not run.
        mean: Their mean; NaN where it does not run.
        seconds: Of each timed call with one drawing, the runtimes in turn.
        told: "good", or what is off.
        hint: What to do about it, where it is not good.
    """

    backend: str
    runtime: str
    good: bool
    least: float
    mean: float
    seconds: tuple[float, ...]
    told: str
    hint: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What `examine` found.

    Attributes:
        folder: Of the bundle.
        bundle: None where its manifest cannot be trusted.
        checks: In order; the first that is not good is the last that was made.
        trials: One a runtime, the judged one first; () where a check failed before.
        faster: One sentence on speed; "" where nothing was timed.
        fault: (what is off, what to do), of a check or of the judged runtime; None: all is good.
    """

    folder: Path
    bundle: Bundle | None
    checks: tuple[Check, ...]
    trials: tuple[Trial, ...]
    faster: str
    fault: tuple[str, str] | None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        trials = [
            {
                **asdict(trial),
                "least": None if math.isnan(trial.least) else trial.least,
                "mean": None if math.isnan(trial.mean) else trial.mean,
                "seconds": list(trial.seconds),
            }
            for trial in self.trials
        ]
        return {
            "bundle": str(self.folder),
            "name": self.bundle.name if self.bundle else None,
            "fingerprint": self.bundle.fingerprint if self.bundle else None,
            "golden_tolerance": self.bundle.golden_tolerance if self.bundle else None,
            "good": self.fault is None,
            "fault": self.fault[0] if self.fault else None,
            "hint": self.fault[1] if self.fault else None,
            "checks": [asdict(check) for check in self.checks],
            "runtimes": trials,
            "faster": self.faster,
        }


def examine(
    folder: Path,
    *,
    backends: Sequence[str] | None = None,
    threads: int | None = None,
    statement: Path | None = None,
) -> Diagnosis:
    """Examine a bundle on this device; takes about a second.

    Args:
        folder: The bundle; broken is what it may be.
        backends: Names in `BACKENDS`, each of which must be good; None: all that are installed and
            read the format, of which only the one that the bundle is made for must be good.
        threads: Of the encoders, 1 or more; None: the cores of this process, at most 4.
        statement: What somebody stated of this bundle; None: what lies beside it, if anything.

    Raises:
        ConfigError: No such backend, or one that does not read the bundle's format.
    """
    bundle, checks = _check(folder, statement)
    broken = next((check for check in checks if check.good is False), None)
    if bundle is None or (broken is not None and broken.name != "scaling"):
        assert broken is not None
        return Diagnosis(folder, bundle, checks, (), "", (broken.told, broken.hint))
    names = list(backends) if backends is not None else _able(bundle)
    _refuse_unfit(bundle, names)
    scaled = broken is None
    trials, faster = _try_all(bundle, names, threads, scaled)
    judged = trials if backends is not None else trials[:1]
    off = next((trial for trial in judged if not trial.good), None)
    if broken is not None:
        fault: tuple[str, str] | None = (f"{folder}: {broken.told}", broken.hint)
    else:
        fault = (f"{folder}: {off.runtime}: {off.told}", off.hint) if off is not None else None
    return Diagnosis(folder, bundle, checks, trials, faster, fault)


def _able(bundle: Bundle) -> list[str]:
    """Return the backends to try: the bundle's own first, even where it is not installed."""
    return list(dict.fromkeys([bundle.format, *installed_backends(bundle)]))


def _refuse_unfit(bundle: Bundle, names: Iterable[str]) -> None:
    for name in names:
        if name not in BACKENDS or bundle.format not in BACKENDS[name].formats:
            raise ConfigError(
                f"{bundle.folder}: no backend {name!r} for the format {bundle.format}",
                hint=f"leave out --backend, or choose from {', '.join(_able(bundle))}",
            )


# ------------------------------------------------------------------ whatever the runtime


def _check(folder: Path, statement: Path | None) -> tuple[Bundle | None, tuple[Check, ...]]:
    """Read the manifest, hold the files against it, and scale the drawings; stop at a fault."""
    try:
        bundle = Bundle.read(folder)
    except BundleError as error:
        return None, (Check("manifest", False, str(error), error.hint),)
    checks = [Check("manifest", True, f"fingerprint {bundle.fingerprint[:12]}")]
    try:
        bundle.verify()
        bundle.golden()
        checks.append(Check("files", True, f"{len(bundle.files)} files, SHA-256 as recorded"))
        checks.append(_scaling(bundle))
        if (scores := bundle.calibration) is not None:  # its digest was compared when it was read
            told = f"measured on {scores.designs:,} designs, SHA-256 {scores.sha256[:12]}"
            checks.append(Check("scores", True, told))
        if statement is not None or (folder / STATEMENT).is_file():
            checks.append(_stated(bundle, statement or folder / STATEMENT))
    except BundleError as error:
        checks.append(Check("files", False, str(error), error.hint))
    return bundle, tuple(checks)


def _stated(bundle: Bundle, path: Path) -> Check:
    """Hold the bundle against what somebody stated of it."""
    try:
        found = read_statement(path)
    except BundleError as error:
        return Check("statement", False, str(error), error.hint)
    who = f"signed off by {found.by}" if found.by else "signed off by nobody"
    if differs := what_differs(bundle, found):
        return Check("statement", False, f"{path}: {who}, {found.at}: {differs}", ANEW)
    key = ", signed with a key: ssh-keygen -Y verify" if found.signature else ""
    return Check("statement", True, f"{who}, SHA-256 {found.sha256[:12]}{key}")


def _scaling(bundle: Bundle) -> Check:
    """Hold what `fit` makes of drawings here against what it made where the bundle was made."""
    fitted = bundle.fitted()
    if fitted is None:
        return Check("scaling", None, "not told by a bundle of schema 1")
    found = squares_of(fitted.images, bundle.preprocessing)  # (K, S, S)
    off = int(np.abs(found.astype(np.int16) - fitted.squares).max())
    if off <= MOST_GREY:
        return Check("scaling", True, f"{len(found)} drawings come out as where it was made")
    here, there = versions().get("pillow"), made_with(bundle).get("pillow")
    return Check(
        "scaling",
        False,
        f"drawings are scaled otherwise than where it was made: by up to {off} of 255 grey values"
        f" (pillow {here} here, {there or 'unknown'} there)",
        "install the pillow that it was made with, or another edge-retrieval",
    )


# ------------------------------------------------------------------ each runtime


def _try_all(
    bundle: Bundle, names: Sequence[str], threads: int | None, scaled: bool
) -> tuple[tuple[Trial, ...], str]:
    """Run the golden drawings through every runtime, then time them in turn."""
    encoders: dict[str, Encoder] = {}
    cosines: dict[str, tuple[float, float]] = {}  # least, mean
    failed: dict[str, EdgeRetrievalError] = {}
    for name in names:
        try:
            encoder = load_encoder(bundle, backend=name, threads=threads)
            found = golden_cosines(bundle, encoder)  # (G,)
        except EdgeRetrievalError as error:
            failed[name] = error
            continue
        encoders[name] = encoder
        cosines[name] = float(found.min()), float(found.mean(dtype=np.float64))
    good = [name for name in encoders if cosines[name][0] >= bundle.golden_tolerance]
    seconds: dict[str, tuple[float, ...]] = {}
    if encoders:
        images = fit_batch(list(bundle.golden().images), bundle.preprocessing)  # (G, C, H, W)
        rounds = rounds_within(SECONDS, encoders, images)
        seconds = compare_speed(encoders, images, batch=1, rounds=rounds)
    trials = []
    for name in names:
        told, hint = "good", ""
        if name in failed:
            told, hint = str(failed[name]), failed[name].hint
        elif name not in good:
            told, hint = what_is_off(bundle, name, cosines[name][0], good=good, scaled=scaled)
        least, mean = cosines.get(name, (math.nan, math.nan))
        trials.append(
            Trial(
                name, _runtime(name), name in good, least, mean, seconds.get(name, ()), told, hint
            )
        )
    return tuple(trials), _faster({name: seconds[name] for name in good}, tried=len(names))


def _runtime(backend: str) -> str:
    version = versions().get(RUNTIMES[backend].lower())
    return f"{RUNTIMES[backend]} {version}" if version else RUNTIMES[backend]


def _faster(seconds: Mapping[str, tuple[float, ...]], *, tried: int) -> str:
    """Say which runtime is faster here, of those that compute right; "" with nothing to compare."""
    if not seconds or tried == 1:
        return ""
    first, *others = sorted(seconds, key=lambda name: float(np.median(seconds[name])))
    if not others:
        return f"{RUNTIMES[first]} is the only one here that computes right"
    ratio = speed_ratio(seconds[others[0]], seconds[first])
    if ratio < LEAST_GAIN:
        told = f"{RUNTIMES[first]} and {RUNTIMES[others[0]]} are equally fast here"
    else:
        told = (
            f"{RUNTIMES[first]} is {ratio:.2f}x as fast as {RUNTIMES[others[0]]} here, turn by turn"
        )
    return told + (" (measured on a busy machine: try again later)" if machine_is_busy() else "")
