"""What values the activations of a network take on drawings, and the range INT8 should hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_retrieval.arrays import Images
from edge_retrieval.encoder import INPUT

CHUNK = 8  # drawings whose intermediate results are held at once: about 50 MB at 128 px
BINS = 2048
LEVELS = 255  # steps of 8 bits
STEPS = 48  # how many ends are tried on each side
MOST_CUT = 1e-3  # share of the values beyond either end
METHODS = ("percentile", "entropy", "error", "min-max")


@dataclass(frozen=True)
class Histogram:
    """How often each value of an activation occurred.

    Attributes:
        low: The least value, or 0 if all are above.
        high: The largest value, or 0 if all are below.
        counts: ``(BINS,)`` of equal width from `low` to `high`.
    """

    low: float
    high: float
    counts: NDArray[np.int64]

    def range_by(self, method: str, percentile: float = 100.0) -> tuple[float, float]:
        """Return the values, from .. to, that 8 bits should hold; 0 is one of them.

        Args:
            method: "min-max": all. "percentile": all but the outermost. "error": those with which
                the mean squared error of rounding and clipping is least. "entropy": those that
                change the distribution least (Kullback-Leibler).
            percentile: Share of the values, in percent, that "percentile" holds: as many are cut
                off on either side.

        Source:
            Migacz, "8-bit inference with TensorRT", GTC 2017 (entropy).
        """
        if method == "min-max" or self.high <= self.low:
            return self.low, self.high
        if method == "percentile":
            return self._percentile(percentile)
        loss = _squared_error if method == "error" else _divergence
        low, high = self.low, self.high
        for _ in range(2):  # each end with the other one fixed
            tried = self._ends(self.high)
            high = tried[int(np.argmin([loss(self, low, end) for end in tried]))]
            tried = self._ends(self.low)
            low = tried[int(np.argmin([loss(self, end, high) for end in tried]))]
        return low, high

    def _ends(self, end: float) -> list[float]:
        """Return ends of a range to try, the whole one first: a tie is decided for it."""
        if not end:
            return [end]
        tried = [end * (STEPS - step) / STEPS for step in range(STEPS)]
        values, all_of_them = self.centres(), self.counts.sum()
        beyond = [values > one if end > 0 else values < one for one in tried]
        cut = [float(self.counts[which].sum() / all_of_them) for which in beyond]
        return [one for one, share in zip(tried, cut, strict=True) if share <= MOST_CUT]

    def centres(self) -> NDArray[np.float64]:
        """Return ``(BINS,)``: the middle of each bin."""
        width = np.float64(self.high - self.low) / BINS
        return self.low + width * (np.arange(BINS, dtype=np.float64) + 0.5)

    def _percentile(self, percentile: float) -> tuple[float, float]:
        below = np.cumsum(self.counts) / self.counts.sum()  # (BINS,) up to the end of each bin
        cut = (100.0 - percentile) / 200.0
        edges = np.linspace(self.low, self.high, BINS + 1)
        low = edges[np.searchsorted(below, cut, side="right")]
        high = edges[min(int(np.searchsorted(below, 1.0 - cut)), BINS - 1) + 1]
        return min(float(low), 0.0), max(float(high), 0.0)


class Histograms:
    """The histograms of a network's activations, each collected once, when it is first wanted."""

    def __init__(self, source: Path, images: Images) -> None:
        """Take an FP32 ONNX file and ``(N, C, H, W)`` drawings to calibrate on."""
        self._source = source
        self._images = images
        self._known: dict[str, Histogram] = {}
        self._ranges: dict[tuple[str, str, float], tuple[float, float]] = {}

    def ranges(
        self, names: Collection[str], method: str, percentile: float
    ) -> dict[str, tuple[float, float]]:
        """Return the range of each activation, as `Histogram.range_by` finds it."""
        found = {}
        for name, histogram in self.of(names).items():
            key = (name, method, percentile)
            if key not in self._ranges:
                self._ranges[key] = histogram.range_by(method, percentile)
            found[name] = self._ranges[key]
        return found

    def of(self, names: Collection[str]) -> dict[str, Histogram]:
        """Return the histogram of each activation by its name in the file."""
        missing = sorted(set(names) - self._known.keys())
        if missing:
            self._known.update(self._collect(missing))
        return {name: self._known[name] for name in sorted(names)}

    def _collect(self, names: Sequence[str]) -> dict[str, Histogram]:
        lows, highs = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
        for name, values in self._values(names):
            lows[name] = min(lows[name], float(values.min()))
            highs[name] = max(highs[name], float(values.max()))
        counts = {name: np.zeros(BINS, np.int64) for name in names}
        for name, values in self._values(names):
            low, high = lows[name], highs[name]
            if high > low:
                bins = (values.ravel() - np.float32(low)) * np.float32(BINS / (high - low))
                bins = np.clip(bins, 0, BINS - 1).astype(np.int32)
                counts[name] += np.bincount(bins, minlength=BINS)
        return {name: Histogram(lows[name], highs[name], counts[name]) for name in names}

    def _values(self, names: Sequence[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield every activation, for a few drawings at a time."""
        import onnxruntime

        model = onnx.load(self._source)
        ends = {end.name for end in (*model.graph.output, *model.graph.input)}
        model.graph.output.extend(
            onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in ends
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        wanted = [name for name in names if name != INPUT]
        for start in range(0, len(self._images), CHUNK):
            images = self._images[start : start + CHUNK]
            if INPUT in names:
                yield INPUT, images
            yield from zip(wanted, session.run(wanted, {INPUT: images}), strict=True)


def _squared_error(histogram: Histogram, low: float, high: float) -> float:
    """Return the mean squared error of rounding to `LEVELS` steps and clipping."""
    values = histogram.centres()
    step = (high - low) / LEVELS
    rounded = low + step * np.round((np.clip(values, low, high) - low) / step)
    # Within a bin values differ too; beside that, the steps of a range below BINS / LEVELS bins.
    return float((histogram.counts * (values - rounded) ** 2).sum())


def _divergence(histogram: Histogram, low: float, high: float) -> float:
    """Return the Kullback-Leibler divergence of the values to what `LEVELS` steps tell of them."""
    values = histogram.centres()
    inside = (values >= low) & (values <= high)
    if not inside.any():
        return float("inf")
    p = histogram.counts[inside].astype(np.float64)
    told = p.copy()
    p[0] += histogram.counts[values < low].sum()
    p[-1] += histogram.counts[values > high].sum()
    level = ((values[inside] - low) / (high - low) * LEVELS).astype(np.int64)  # of each bin
    filled = np.bincount(level, told > 0, LEVELS + 1)
    mean = np.bincount(level, told, LEVELS + 1) / np.maximum(filled, 1)
    q = np.where(told > 0, mean[level], 0.0)
    p, q = p / p.sum(), q / max(q.sum(), 1.0)
    p, q = p[p > 0], q[p > 0]
    return float((p * np.log(p / np.maximum(q, 1e-9))).sum())
