"""A bundle made to run: drawings in, rows of length 1 out, on onnxruntime or OpenVINO."""

from edge_retrieval.encoder.choosing import (
    AUTO,
    BackendChoice,
    choose_backend,
    installed_backends,
    load_encoder,
)
from edge_retrieval.encoder.embedding import embed_figures, golden_check, golden_cosines
from edge_retrieval.encoder.openvino_runtime import (
    import_openvino,
    openvino_core,
    signal_stack_kept,
)
from edge_retrieval.encoder.runtimes import (
    BACKENDS,
    INPUT,
    OUTPUT,
    RUNTIMES,
    Encoder,
    OnnxEncoder,
    OpenVinoEncoder,
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
