"""Why a runtime does not compute a bundle's golden embeddings: the processor, the file, or else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edge_retrieval.bundle import Bundle
from edge_retrieval.clipping import clipped_layers
from edge_retrieval.drawing import fit_batch
from edge_retrieval.encoder import BACKENDS, RUNTIMES, Encoder, OnnxEncoder, golden_check
from edge_retrieval.errors import EdgeRetrievalError
from edge_retrieval.provenance import versions

LOOKED_AT = 4
"""Golden drawings in which layers that saturate are looked for."""

_ANEW = "export the bundle anew with 7-bit weights (reduced range), or take the FP32 bundle"


def what_is_off(
    bundle: Bundle, backend: str, least: float, *, good: Sequence[str], scaled: bool
) -> tuple[str, str]:
    """Find why a runtime differs.

    Args:
        bundle: Its files are as recorded.
        backend: The runtime: a name in `BACKENDS`.
        least: Its least cosine to the golden embeddings.
        good: Backends that compute the bundle right here.
        scaled: Whether drawings are scaled here as where the bundle was made.

    Returns:
        What is off, and what to do about it; a line each.
    """
    begin = f"least cosine {least:.3f} where {bundle.golden_tolerance:.3f} is asked"
    if not scaled:
        return f"{begin}: drawings are scaled otherwise", "mend the scaling first"
    if _right(bundle, lambda: BACKENDS[backend](bundle, integers=False)):
        cause, hint = _integers_off(bundle, backend)
    else:
        cause, hint = _file_off(bundle)
    if good:
        hint = f"use --backend {good[0]}, which is right here; or {hint}"
    return f"{begin}: {cause}{_other_version(bundle, backend)}", hint


def _integers_off(bundle: Bundle, backend: str) -> tuple[str, str]:
    """Say what is off where a runtime is right in float and wrong as it is used."""
    if bundle.precision != "int8":
        return "right without the runtime's optimisations, wrong with them", "upgrade the runtime"
    if backend == "onnx" and _right(bundle, lambda: OnnxEncoder(bundle, wide_sums=True)):
        return "INT8 saturates on this processor: its 16-bit sums overflow", _ANEW
    return (
        "the file is right in float: INT8 saturates on this processor, or is rounded otherwise",
        _ANEW,
    )


def _file_off(bundle: Bundle) -> tuple[str, str]:
    """Say what is off where a file is wrong whatever computes it."""
    if bundle.format == "onnx" and bundle.precision == "int8":
        images = fit_batch(list(bundle.golden().images[:LOOKED_AT]), bundle.preprocessing)
        if clipped := clipped_layers(bundle.model, images):
            first, layers = clipped[0], "1 layer" if len(clipped) == 1 else f"{len(clipped)} layers"
            return (
                f"the model itself saturates, in float too: 8-bit ranges are too narrow in"
                f" {layers}, first at {first.name}, where {first.share:.0%} of the values are lost",
                "export the bundle anew: edge-ret export calibrates on the run's own drawings",
            )
    cause = "wrong in float too: it is not the network that the golden vectors are of"
    if bundle.fitted() is None:
        cause += ", or drawings are scaled otherwise"
    return cause, "copy the bundle again, or make it anew: edge-ret export"


def _right(bundle: Bundle, load: Callable[[], Encoder]) -> bool:
    """Say whether a runtime that is used otherwise computes the golden embeddings."""
    try:
        return golden_check(bundle, load()) >= bundle.golden_tolerance
    except EdgeRetrievalError:  # it cannot be used that way
        return False


def _other_version(bundle: Bundle, backend: str) -> str:
    """Say it where the bundle was made with another version of the runtime."""
    package = RUNTIMES[backend].lower()
    here, there = versions().get(package), made_with(bundle).get(package)
    return f" (made with {package} {there}, here {here})" if there and there != here else ""


def made_with(bundle: Bundle) -> Mapping[str, str]:
    """Return the versions that the bundle was exported with; {} where it does not tell."""
    match bundle.provenance:
        case {"export": {"versions": dict(found)}}:
            return {str(name): str(version) for name, version in found.items()}
    return {}
