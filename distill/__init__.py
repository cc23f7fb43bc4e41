"""Train, distil, export and quantize the encoders that `edge_retrieval` runs.

Its modules may import torch; this file may not, so that `require` can say what is missing.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from edge_retrieval.errors import ConfigError, MissingExtraError

# torch's threads wait by spinning, by default: where other processes want the cores as well, a step
# then takes several times the processor time. OpenMP reads this once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "train": ("training", ("torch", "timm", "safetensors", "manifold3d", "matplotlib")),
    "export": ("exporting", ("torch", "timm", "safetensors", "onnx", "onnxscript")),
}
"""Extra -> what it is for, and the modules it brings."""


def require(extra: str) -> None:
    """Check that an extra is installed, before a module that imports its packages.

    Args:
        extra: A name in `EXTRAS`.

    Raises:
        MissingExtraError: A package of the extra cannot be found.
        ConfigError: No such extra.
    """
    if extra not in EXTRAS:
        raise ConfigError(f"no extra {extra!r}", hint=f"choose from {', '.join(EXTRAS)}")
    doing, modules = EXTRAS[extra]
    if any(find_spec(module) is None for module in modules):
        raise MissingExtraError.of(doing, extra)
