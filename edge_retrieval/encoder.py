"""A bundle made to run: drawings in, rows of length 1 out, on onnxruntime or OpenVINO."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from edge_retrieval.arrays import Embeddings, Images, Pixels
from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import FigureImage, Preprocessing, fit_batch
from edge_retrieval.errors import BundleError, ConfigError, MissingExtraError
from edge_retrieval.provenance import available_cores

INPUT, OUTPUT = "images", "embeddings"
MOST_THREADS = 4  # a small network gains nothing beyond, and the rest of the machine is not ours


class Encoder(Protocol):
    """Drawings to embeddings. Row i depends on drawing i alone.

    Attributes:
        dim: D, numbers in an embedding.
        preprocessing: What `fit_batch` must be given.
        fingerprint: That of the bundle: vectors of two fingerprints must not meet.
    """

    dim: int
    preprocessing: Preprocessing
    fingerprint: str

    def embed(self, images: Images) -> Embeddings:
        """Turn ``(N, C, H, W)`` float32 into ``(N, D)`` rows of length 1; N may be 0."""
        ...


class OnnxEncoder:
    """A bundle on onnxruntime's CPU provider: the runtime of the base install."""

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        """Load the network.

        Args:
            bundle: An opened bundle.
            threads: 1 or more; None: the cores of this process, at most 4.

        Raises:
            BundleError: onnxruntime cannot run the file, or it is not what the bundle says.
            ConfigError: `threads` is below 1.
        """
        import onnxruntime

        self.dim = bundle.dim
        self.preprocessing = bundle.preprocessing
        self.fingerprint = bundle.fingerprint
        self._where = str(bundle.model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _threads(threads)
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised: no need to print them too
        options.enable_cpu_mem_arena = False  # it keeps the largest batch's memory for ever
        try:
            self._session = onnxruntime.InferenceSession(
                self._where, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no other base
            raise _cannot_run(self._where, "onnxruntime", error) from error
        _check_ports(
            self._where,
            {port.name: list(port.shape) for port in self._session.get_inputs()},
            {port.name: list(port.shape) for port in self._session.get_outputs()},
            bundle,
        )

    def embed(self, images: Images) -> Embeddings:
        """Turn ``(N, C, H, W)`` float32 into ``(N, D)`` rows of length 1; N may be 0."""
        _check_images(images, self.preprocessing)
        if not len(images):
            return np.zeros((0, self.dim), np.float32)
        try:
            [embeddings] = self._session.run([OUTPUT], {INPUT: images})
        except Exception as error:
            raise _cannot_run(self._where, "onnxruntime", error) from error
        return _checked(embeddings, self._where, (len(images), self.dim))


class OpenVinoEncoder:
    """The same ONNX file on OpenVINO's CPU device: faster on Intel processors. Needs the extra."""

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        """Load the network.

        Args:
            bundle: An opened bundle.
            threads: 1 or more; None: the cores of this process, at most 4.

        Raises:
            BundleError: OpenVINO cannot run the file, or it is not what the bundle says.
            ConfigError: `threads` is below 1.
            MissingExtraError: OpenVINO is not installed.
        """
        openvino = import_openvino()
        self.dim = bundle.dim
        self.preprocessing = bundle.preprocessing
        self.fingerprint = bundle.fingerprint
        self._where = str(bundle.model)
        settings = {
            "INFERENCE_NUM_THREADS": _threads(threads),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Else some processors compute in half precision, and their vectors are not ours.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            core = openvino.Core()
            model = core.read_model(self._where)
            _check_ports(self._where, _shapes(model.inputs), _shapes(model.outputs), bundle)
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise _cannot_run(self._where, "OpenVINO", error) from error

    def embed(self, images: Images) -> Embeddings:
        """Turn ``(N, C, H, W)`` float32 into ``(N, D)`` rows of length 1; N may be 0."""
        _check_images(images, self.preprocessing)
        if not len(images):
            return np.zeros((0, self.dim), np.float32)
        try:
            answer = self._request.infer({INPUT: np.ascontiguousarray(images)})
        except RuntimeError as error:
            raise _cannot_run(self._where, "OpenVINO", error) from error
        return _checked(np.array(answer[OUTPUT]), self._where, (len(images), self.dim))


BACKENDS: dict[str, type[OnnxEncoder] | type[OpenVinoEncoder]] = {
    "onnx": OnnxEncoder,
    "openvino": OpenVinoEncoder,
}


def load_encoder(
    bundle: Bundle, *, backend: str | None = None, threads: int | None = None
) -> Encoder:
    """Make a bundle run.

    Args:
        bundle: An opened bundle.
        backend: A name in `BACKENDS`; None: the runtime that the bundle's format is made for.
        threads: 1 or more; None: the cores of this process, at most 4.

    Raises:
        BundleError: The backend cannot run the file.
        ConfigError: No such backend, or `threads` is below 1.
        MissingExtraError: The backend is not installed.
    """
    backend = backend or bundle.format
    if backend not in BACKENDS:
        raise ConfigError(f"no backend {backend!r}", hint=f"choose from {', '.join(BACKENDS)}")
    if backend == "onnx" and bundle.format != "onnx":
        raise ConfigError(
            f"{bundle.folder}: in OpenVINO's own format, which onnxruntime cannot run",
            hint="leave out --backend, or take the bundle in the format onnx",
        )
    return BACKENDS[backend](bundle, threads=threads)


def embed_figures(
    encoder: Encoder, figures: Sequence[FigureImage | Pixels], *, batch: int = 16
) -> Embeddings:
    """Fit figures to the encoder's input and embed them.

    Args:
        encoder: From `load_encoder`.
        figures: N figures, or their grey pixels.
        batch: How many at a time; bounds memory, does not change the result.

    Returns:
        ``(N, D)`` float32, rows of length 1.
    """
    if batch < 1:
        raise ConfigError(f"a batch of {batch} figures", hint="give 1 or more")
    rows = np.empty((len(figures), encoder.dim), np.float32)
    for start in range(0, len(figures), batch):
        images = fit_batch(figures[start : start + batch], encoder.preprocessing)  # (B, C, H, W)
        rows[start : start + batch] = encoder.embed(images)
    return rows


def golden_check(bundle: Bundle, encoder: Encoder) -> float:
    """Return the least cosine between the golden embeddings and those of this machine.

    Below `bundle.golden_tolerance` this machine computes something else than the exporter did:
    the same INT8 file can be right on one processor and saturate on another.
    """
    images, expected = bundle.golden()
    found = embed_figures(encoder, list(images))  # (G, D)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((found * expected).sum(axis=1) / np.maximum(lengths, 1e-12)).min())


def _threads(threads: int | None) -> int:
    if threads is None:
        return min(available_cores(), MOST_THREADS)
    if threads < 1:
        raise ConfigError(f"{threads} threads", hint="give 1 or more")
    return threads


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry: it reports every import to a server of its maker.

    It falls back to a stub where `openvino_telemetry` cannot be imported, so that is what it
    meets. Nothing of ours leaves the machine, and no file appears in the user's home.
    """
    telemetry = "openvino_telemetry"
    hidden = telemetry not in sys.modules
    if hidden:
        sys.modules[telemetry] = None  # type: ignore[assignment]
    try:
        import openvino
    except ModuleNotFoundError as error:
        if error.name != "openvino":
            raise
        raise MissingExtraError.of("the OpenVINO backend", "openvino") from error
    finally:
        if hidden:
            del sys.modules[telemetry]
    return openvino


def _shapes(ports: Sequence[Any]) -> dict[str, list[Any]]:
    """Return an OpenVINO model's port shapes, with None for what is left open."""
    return {
        port.get_any_name(): [
            None if size.is_dynamic else size.get_length() for size in port.get_partial_shape()
        ]
        for port in ports
    }


def _check_ports(
    where: str, inputs: dict[str, list[Any]], outputs: dict[str, list[Any]], bundle: Bundle
) -> None:
    """Refuse a network that takes or gives something else than the bundle says."""
    side, channels = bundle.preprocessing.size, bundle.preprocessing.channels
    wanted = {INPUT: [channels, side, side]}, {OUTPUT: [bundle.dim]}
    found = tuple({name: shape[1:] for name, shape in ports.items()} for ports in (inputs, outputs))
    if found != wanted:
        raise BundleError(
            f"{where}: the network takes and gives {found} a figure, its bundle says {wanted}",
            hint="export the bundle anew: edge-ret export",
        )
    if any(isinstance(shape[0], int) for shape in (*inputs.values(), *outputs.values())):
        raise BundleError(
            f"{where}: the network takes batches of one size only",
            hint="export the bundle anew, with a batch of any size: edge-ret export",
        )


def _check_images(images: Images, preprocessing: Preprocessing) -> None:
    shape = (preprocessing.channels, preprocessing.size, preprocessing.size)
    if images.dtype != np.float32 or images.ndim != 4 or images.shape[1:] != shape:
        raise ConfigError(
            f"this encoder takes (N, {shape[0]}, {shape[1]}, {shape[2]}) float32, "
            f"not {images.shape} {images.dtype}",
            hint="make the images with fit_batch(figures, encoder.preprocessing)",
        )


def _checked(embeddings: Embeddings, where: str, shape: tuple[int, int]) -> Embeddings:
    if embeddings.shape != shape or not np.isfinite(embeddings).all():
        raise BundleError(
            f"{where}: gives {embeddings.shape} instead of {shape}, or numbers that are not finite",
            hint="export the bundle anew: edge-ret export",
        )
    return embeddings.astype(np.float32, copy=False)


def _cannot_run(where: str, runtime: str, error: Exception) -> BundleError:
    reason = " ".join(str(error).split())[:300]
    return BundleError(
        f"{where}: {runtime} cannot run it: {reason}",
        hint=f"upgrade {runtime}, or export the bundle anew: edge-ret export",
    )
