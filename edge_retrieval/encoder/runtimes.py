"""The runtimes: each makes an encoder of a bundle, and is imported only when it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.encoder.prepared import prepared_session
from edge_retrieval.errors import MORE_MEMORY, BundleError, ConfigError, is_out_of_memory
from edge_retrieval.provenance import available_cores

INPUT, OUTPUT = "images", "embeddings"
MOST_THREADS = 4  # a small network gains nothing beyond, and the rest of the machine is not ours


class Encoder(Protocol):
    """Drawings to embeddings. Row i depends on drawing i alone.

    Attributes:
        dim: D, numbers in an embedding.
        preprocessing: What `fit_batch` must be given.
        fingerprint: That of the bundle: vectors of two fingerprints must not meet.
        backend: What computes: "onnx", "openvino", or the like.
    """

    dim: int
    preprocessing: Preprocessing
    fingerprint: str
    backend: str

    def embed(self, images: Images) -> Embeddings:
        """Turn ``(N, C, H, W)`` float32 into ``(N, D)`` rows of length 1; N may be 0."""
        ...


class OnnxEncoder:
    """A bundle on onnxruntime's CPU provider: the runtime of the base install."""

    backend = "onnx"
    formats = ("onnx",)

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        integers: bool = True,
        wide_sums: bool = False,
        keep: bool = False,
    ) -> None:
        """Load the network.

        Args:
            bundle: An opened bundle.
            threads: 1 or more; None: the cores of this process, at most 4.
            integers: Compute quantized layers in whole numbers. False: in float, slowly, node by
                node as the file says, which means the same on every machine.
            wide_sums: Where the processor adds products of bytes in 16 bits and saturates, take
                the slower way that does not.
            keep: Keep the network in the cache as it was optimised for this processor, and load
                it from there the next time: the same vectors, sooner.

        Raises:
            BundleError: onnxruntime cannot run the file, or it is not what the bundle says.
            ConfigError: `threads` is below 1.
        """
        import onnxruntime

        self.dim = bundle.dim
        self.preprocessing = bundle.preprocessing
        self.fingerprint = bundle.fingerprint
        self._where = str(bundle.model)
        cores = thread_count(threads)

        def options() -> Any:
            made = onnxruntime.SessionOptions()
            made.intra_op_num_threads = cores
            made.inter_op_num_threads = 1
            made.log_severity_level = 4  # errors are raised: no need to print them too
            made.enable_cpu_mem_arena = False  # it keeps the largest batch's memory for ever
            # Between two calls its threads wait asleep: awake they slow down whatever else runs.
            made.add_session_config_entry("session.force_spinning_stop", "1")
            if not integers:
                made.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            if wide_sums:
                made.add_session_config_entry("session.x64quantprecision", "1")
            return made

        def session(network: str | bytes, made: Any) -> Any:
            return onnxruntime.InferenceSession(
                network,
                made,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # it would print to standard output, and try the same again
            )

        try:
            if keep and integers and not wide_sums:
                digest = bundle.files[bundle.model.name].sha256
                self._session = prepared_session(bundle.model, digest, options, session)
            else:
                self._session = session(self._where, options())
            takes, gives = self._session.get_inputs(), self._session.get_outputs()
            ports = [{port.name: list(port.shape) for port in side} for side in (takes, gives)]
        except Exception as error:  # onnxruntime's errors share no other base
            raise _cannot_run(self._where, "onnxruntime", error) from error
        _check_ports(self._where, ports[0], ports[1], bundle)

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
    """A bundle of either format on OpenVINO's CPU device. Needs the extra."""

    backend = "openvino"
    formats = ("onnx", "openvino")

    def __init__(
        self, bundle: Bundle, *, threads: int | None = None, integers: bool = True
    ) -> None:
        """Load the network.

        Args:
            bundle: An opened bundle.
            threads: 1 or more; None: the cores of this process, at most 4.
            integers: Compute quantized layers in whole numbers. False: in float.

        Raises:
            BundleError: OpenVINO cannot run the file, or it is not what the bundle says.
            ConfigError: `threads` is below 1.
            MissingExtraError: OpenVINO is not installed.
        """
        from edge_retrieval.encoder.openvino_runtime import openvino_core

        core = openvino_core()
        self.dim = bundle.dim
        self.preprocessing = bundle.preprocessing
        self.fingerprint = bundle.fingerprint
        self._where = str(bundle.model)
        settings: dict[str, object] = {
            "INFERENCE_NUM_THREADS": thread_count(threads),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Else some processors compute in half precision, and their vectors are not ours.
            "INFERENCE_PRECISION_HINT": "f32",
            # Else a thread waits for its core though another one is free.
            "ENABLE_CPU_PINNING": False,
        }
        if not integers:
            settings["LP_TRANSFORMS_MODE"] = "NO"
        try:
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
"""Name -> what runs a bundle."""

RUNTIMES = {"onnx": "onnxruntime", "openvino": "OpenVINO"}
"""Name -> what people call it; in small letters, the package."""


def thread_count(threads: int | None) -> int:
    """Return how many threads an encoder uses; `ConfigError` below 1."""
    if threads is None:
        return min(available_cores(), MOST_THREADS)
    if threads < 1:
        raise ConfigError(f"{threads} threads", hint="give 1 or more")
    return threads


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
    found = "" if embeddings.shape == shape else f"{embeddings.shape} instead of {shape}"
    if found or not np.isfinite(embeddings).all():
        raise BundleError(
            f"{where}: gives {found or 'numbers that are not finite'}",
            hint="export the bundle anew: edge-ret export",
        )
    return embeddings.astype(np.float32, copy=False)


def _cannot_run(where: str, runtime: str, error: Exception) -> BundleError:
    if is_out_of_memory(error):
        return BundleError(f"{where}: not enough memory for {runtime} to run it", hint=MORE_MEMORY)
    reason = " ".join(str(error).split())[:300]
    return BundleError(
        f"{where}: {runtime} cannot run it: {reason}",
        hint=f"upgrade {runtime}, or export the bundle anew: edge-ret export",
    )
