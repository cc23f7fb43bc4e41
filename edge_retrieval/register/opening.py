"""The first look at a register: what its manifest and its bundle say."""

from __future__ import annotations

from pathlib import Path

from edge_retrieval.bundle import Bundle
from edge_retrieval.errors import BundleError, BundleMismatchError
from edge_retrieval.register.files import BUNDLE
from edge_retrieval.register.manifest import read_manifest
from edge_retrieval.register.state import AGAIN


def open_bundle(folder: Path) -> tuple[tuple[str, ...], Bundle]:
    """Return the levels of a register and its bundle, the one that made its vectors.

    Of a register that keeps the first numbers of the embeddings only, it is cut accordingly.

    Raises:
        RegisterError: It is no register, or register.json is damaged or newer.
        BundleMismatchError: The bundle is another one.
        BundleError: The bundle is broken.
    """
    manifest = read_manifest(folder)
    try:
        bundle = Bundle.open(folder / BUNDLE)
    except BundleError as error:  # of a register nobody exports the encoder again
        hint = error.hint if "upgrade" in error.hint else AGAIN
        raise BundleError(str(error), hint=hint) from error
    fits = manifest.dim in (*bundle.prefixes, bundle.dim)
    if fits:
        bundle = bundle.cut(manifest.dim)
    if not fits or bundle.fingerprint != manifest.fingerprint:
        raise BundleMismatchError(
            f"{folder}: its bundle is not the one that made its vectors", hint=AGAIN
        )
    return manifest.levels, bundle
