"""Who is measured: bundles on runtimes, each loaded and ready."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_retrieval.bench.settings import BenchSettings
from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder import BACKENDS, RUNTIMES, Encoder, load_encoder
from edge_retrieval.errors import BundleError, MissingExtraError
from edge_retrieval.report import Label


@dataclass(frozen=True, eq=False)
class Contestant:
    """A bundle on a runtime.

    Attributes:
        bundle: What was trained.
        name: Of the bundle; with the beginning of its fingerprint where two share a name.
        encoder: The bundle, loaded.
        threads: Of the encoder.
    """

    bundle: Bundle
    name: str
    encoder: Encoder
    threads: int

    @property
    def labels(self) -> dict[str, Label]:
        """What tells its measurements from those of others."""
        return {
            "bundle": self.name,
            "precision": self.bundle.precision,
            "backend": self.encoder.backend,
            "threads": self.threads,
        }

    @property
    def told(self) -> str:
        """What people call it."""
        return f"{self.name} ({self.bundle.precision}) on {RUNTIMES[self.encoder.backend]}"


def contestants(own: Bundle, settings: BenchSettings, notes: list[str]) -> tuple[Contestant, ...]:
    """Load every bundle on every runtime that is installed and reads it.

    Args:
        own: The register's bundle: the first contestant, on the backend of the settings.
        settings: Tell the further bundles.
        notes: Takes in a sentence for each runtime that is missing or fails.

    Raises:
        BundleError: The first contestant cannot be run, or a further bundle is none.
        ConfigError: No such backend.
        MissingExtraError: The backend that was asked for is not installed.
    """
    bundles = [own, *(Bundle.open(folder) for folder in settings.also)]
    names = _names(bundles)
    first = settings.backend or own.format
    found = [_loaded(own, names[0], first, settings.threads)]
    for bundle, name, backend in _others(bundles, names, first):
        try:
            found.append(_loaded(bundle, name, backend, settings.threads))
        except MissingExtraError:
            extra = f"pip install 'edge-retrieval[{backend}]'"
            notes.append(f"{RUNTIMES[backend]} is not installed, so not measured: {extra}")
        except BundleError as error:
            notes.append(f"{name} on {RUNTIMES[backend]} is not measured: {error}")
    unlike: dict[tuple[object, ...], Contestant] = {}
    for one in found:  # a bundle that is named twice is measured once
        unlike.setdefault(tuple(one.labels.values()), one)
    return tuple(unlike.values())


def _others(
    bundles: Sequence[Bundle], names: Sequence[str], first: str
) -> Iterator[tuple[Bundle, str, str]]:
    for place, (bundle, name) in enumerate(zip(bundles, names, strict=True)):
        for backend, runtime in BACKENDS.items():
            if bundle.format in runtime.formats and (place, backend) != (0, first):
                yield bundle, name, backend


def _loaded(bundle: Bundle, name: str, backend: str, threads: int) -> Contestant:
    return Contestant(bundle, name, load_encoder(bundle, backend=backend, threads=threads), threads)


def _names(bundles: Sequence[Bundle]) -> list[str]:
    """Name the bundles, each unlike the others that have other vectors or another precision."""
    names = [(bundle.name, bundle.precision) for bundle in bundles]
    return [
        f"{bundle.name}@{bundle.fingerprint[:8]}"
        if names.count((bundle.name, bundle.precision)) > 1
        else bundle.name
        for bundle in bundles
    ]
