"""Drawings that make a network explode: one in hundreds, and enough to spoil every range.

A network may answer a drawing with values a hundred times those of all others: a densely shaded one
through squeeze-and-excite, say. A range that holds them leaves the others a few levels of 256, for
even the outermost thousandth of a late layer's values may all be of that one drawing. So it does
not calibrate: INT8 clips it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_retrieval.arrays import Images

TIMES = 3.0
"""Times the 95th percentile of the drawings' peaks, at any layer, that makes a drawing odd."""


@torch.no_grad()
def run_with_peaks(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Run a network, and see how far each drawing drives each of its layers.

    Args:
        model: In eval mode.
        images: ``(N, C, H, W)``.

    Returns:
        Its output, and the peaks ``(L, N)``: the largest absolute value that each convolution or
        matrix product gives for each drawing.
    """
    peaks: list[Tensor] = []

    def watch(_: nn.Module, __: Any, output: Tensor) -> None:
        own = output.abs().flatten(1).amax(1)
        # A symmetric network computes each drawing twice in one batch, as it is and mirrored.
        peaks.append(own.reshape(-1, len(images)).amax(0))

    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                hooks.enter_context(module.register_forward_hook(watch))
        output = model(images)
    return output, torch.stack(peaks)


def limits_of(peaks: Tensor) -> Tensor:
    """Return ``(L,)``: the peak at each layer above which a drawing is odd."""
    return TIMES * torch.quantile(peaks, 0.95, dim=1)


def odd_drawings(model: nn.Module, images: Images, *, chunk: int = 32) -> NDArray[np.bool_]:
    """Tell which drawings drive a network far outside of where the others do.

    Args:
        model: In eval mode.
        images: ``(N, C, H, W)`` float32; N of 100 or more, so that a few odd ones are few.
        chunk: Drawings that are run at once.

    Returns:
        ``(N,)``: whether its peak at any layer is more than `TIMES` the 95th percentile of all.
    """
    device = next(model.parameters()).device
    parts = [torch.from_numpy(images[i : i + chunk]) for i in range(0, len(images), chunk)]
    peaks = torch.cat([run_with_peaks(model, part.to(device))[1] for part in parts], dim=1)
    odd: NDArray[np.bool_] = (peaks > limits_of(peaks)[:, None]).any(0).cpu().numpy()
    return odd
