"""A bundle made to run: drawings in, rows of length 1 out, on onnxruntime or OpenVINO.

What measures runtimes, and OpenVINO, are loaded when they are asked for: a search needs neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_retrieval.encoder.embedding import embed_figures, golden_check, golden_cosines
from edge_retrieval.encoder.loading import AUTO, load_encoder
from edge_retrieval.encoder.runtimes import (
    BACKENDS,
    INPUT,
    OUTPUT,
    RUNTIMES,
    Encoder,
    OnnxEncoder,
    OpenVinoEncoder,
)

if TYPE_CHECKING:
    from edge_retrieval.encoder.choosing import BackendChoice, choose_backend, installed_backends
    from edge_retrieval.encoder.openvino_runtime import (
        import_openvino,
        openvino_core,
        signal_stack_kept,
    )

__all__ = [
    "AUTO",
    "BACKENDS",
    "INPUT",
    "OUTPUT",
    "RUNTIMES",
    "BackendChoice",
    "Encoder",
    "OnnxEncoder",
    "OpenVinoEncoder",
    "choose_backend",
    "embed_figures",
    "golden_check",
    "golden_cosines",
    "import_openvino",
    "installed_backends",
    "load_encoder",
    "openvino_core",
    "signal_stack_kept",
]

_LATER = {
    "BackendChoice": "choosing",
    "choose_backend": "choosing",
    "installed_backends": "choosing",
    "import_openvino": "openvino_runtime",
    "openvino_core": "openvino_runtime",
    "signal_stack_kept": "openvino_runtime",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"edge_retrieval.encoder.{_LATER[name]}"), name)
