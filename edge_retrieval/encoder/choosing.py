"""Which runtime runs a bundle fastest here: measured, and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec

import numpy as np

from edge_retrieval.bundle import Bundle
from edge_retrieval.cache import cache_folder
from edge_retrieval.drawing import fit_batch
from edge_retrieval.encoder.embedding import golden_check
from edge_retrieval.encoder.loading import load_encoder
from edge_retrieval.encoder.runtimes import BACKENDS, RUNTIMES, Encoder, thread_count
from edge_retrieval.errors import BundleError, MissingExtraError
from edge_retrieval.provenance import host, versions
from edge_retrieval.speed import (
    compare_speed,
    machine_is_busy,
    rounds_within,
    speed_ratio,
)
from edge_retrieval.staging import write_whole

SECONDS = 0.5
"""About how long `choose_backend` measures."""

LEAST_GAIN = 1.05
"""A runtime other than the format's own must be this many times as fast: less is noise."""


@dataclass(frozen=True)
class BackendChoice:
    """Which runtime to use on this machine, and the measurements that say so.

    Attributes:
        backend: A name in `BACKENDS`.
        seconds: Backend -> median seconds of one figure; {} where there was nothing to choose.
        cosine: Backend -> least cosine to the golden embeddings, of those that run the file.
        why: One plain sentence.
    """

    backend: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    cosine: Mapping[str, float] = field(default_factory=dict)
    why: str = ""


def installed_backends(bundle: Bundle) -> list[str]:
    """Return the backends that are installed and read the bundle's format, its own first."""
    able = [
        name
        for name, runtime in BACKENDS.items()
        if bundle.format in runtime.formats and find_spec(RUNTIMES[name].lower()) is not None
    ]
    return sorted(able, key=lambda name: name != bundle.format)


def choose_backend(bundle: Bundle, *, threads: int | None = None) -> BackendChoice:
    """Find the fastest runtime here that computes a bundle's golden embeddings, and remember it.

    The choice is kept in the cache for this bundle, machine, number of threads and these versions,
    unless other programs disturbed the times.

    Args:
        bundle: An opened bundle.
        threads: 1 or more; None: the cores of this process, at most 4.

    Raises:
        BundleError: No runtime here computes what the bundle's maker computed.
        MissingExtraError: The one runtime that reads the format is not installed.
    """
    bundle = bundle.whole  # a cut of it is as fast, and the golden embeddings are whole
    threads = thread_count(threads)
    path = cache_folder() / "backends" / f"{_key(bundle, threads)}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        choice = BackendChoice(**json.loads(path.read_text(encoding="utf-8")))
        if choice.backend in installed_backends(bundle):
            return choice
    choice = _measure(bundle, threads)
    if choice.seconds and machine_is_busy():
        return replace(choice, why=f"{choice.why}; measured on a busy machine, so not remembered")
    with contextlib.suppress(OSError):  # a cache: without it the next call measures again
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(asdict(choice)).encode())
    return choice


def _key(bundle: Bundle, threads: int) -> str:
    """Hash all that a choice rests on."""
    used = {name: versions().get(name) for name in ("edge-retrieval", "onnxruntime", "openvino")}
    facts = json.dumps([bundle.fingerprint, host(), used, threads], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _measure(bundle: Bundle, threads: int) -> BackendChoice:
    names = installed_backends(bundle)
    if not names:
        raise MissingExtraError.of(f"{bundle.folder}: OpenVINO's own format", "openvino")
    encoders: dict[str, Encoder] = {}
    cosine: dict[str, float] = {}
    faults = []
    passed = bundle.provenance.get("export", {}).get("runtimes")
    for name in names:
        if isinstance(passed, list) and passed and name not in passed:
            faults.append(f"{RUNTIMES[name]} finds other drawings with it than FP32 does")
            continue
        try:
            encoder = load_encoder(bundle, backend=name, threads=threads)
            cosine[name] = golden_check(bundle, encoder)
        except BundleError as error:
            faults.append(str(error))
            continue
        if cosine[name] >= bundle.golden_tolerance:
            encoders[name] = encoder
        else:
            faults.append(f"{RUNTIMES[name]} computes something else here ({cosine[name]:.3f})")
    if not encoders:
        raise BundleError(
            f"{bundle.folder}: no runtime here computes it right: {'; '.join(faults)}",
            hint=f"see what is off: edge-ret doctor {bundle.folder}",
        )
    if len(encoders) == 1:
        [only] = encoders
        why = "; ".join(faults) or f"no other runtime for the format {bundle.format} is installed"
        return BackendChoice(only, {}, cosine, f"{RUNTIMES[only]}: {why}")
    return _fastest(bundle, encoders, cosine)


def _fastest(
    bundle: Bundle, encoders: Mapping[str, Encoder], cosine: Mapping[str, float]
) -> BackendChoice:
    images = fit_batch(list(bundle.golden().images), bundle.preprocessing)  # (G, C, H, W)
    rounds = rounds_within(SECONDS, encoders, images)
    samples = compare_speed(encoders, images, batch=1, rounds=rounds)
    seconds = {name: float(np.median(values)) for name, values in samples.items()}
    own, *others = encoders
    gains = {name: speed_ratio(samples[own], samples[name]) for name in others}
    best = max(others, key=gains.__getitem__)
    times = "medians: " + ", ".join(
        f"{RUNTIMES[name]} {value * 1e3:.2f} ms" for name, value in seconds.items()
    )
    if gains[best] >= LEAST_GAIN:
        return BackendChoice(
            best,
            seconds,
            cosine,
            f"{RUNTIMES[best]}: {gains[best]:.2f}x as fast here, turn by turn ({times})",
        )
    return BackendChoice(
        own, seconds, cosine, f"{RUNTIMES[own]}: no other is clearly faster here ({times})"
    )
