"""A drawing that makes the network explode is told from those that do not."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from distill.odd import TIMES, limits_of, odd_drawings, run_with_peaks


class Exploding(nn.Module):
    """A network that multiplies by a power of the mean ink, as excitations in a row do."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 1)
        self.projection = nn.Linear(2, 3)

    def forward(self, images: Tensor) -> Tensor:
        made = self.convolution(images).mean((2, 3))
        found: Tensor = self.projection(made * images.mean((1, 2, 3))[:, None].exp())
        return found


def drawings(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, 1, 8, 8)).astype(np.float32)


def test_the_few_drawings_that_explode_are_found_and_no_others() -> None:
    images = drawings(150)
    images[[7, 99]] = 4.0
    model = Exploding().eval()
    nn.init.ones_(model.projection.weight)
    nn.init.ones_(model.convolution.weight)
    for chunk in (32, 150):
        assert np.flatnonzero(odd_drawings(model, images, chunk=chunk)).tolist() == [7, 99]
    assert not odd_drawings(model, drawings(150)).any()


def test_peaks_are_the_largest_outputs_of_each_layer_for_each_drawing() -> None:
    model = Exploding().eval()
    images = torch.from_numpy(drawings(5))
    output, peaks = run_with_peaks(model, images)
    with torch.no_grad():
        assert torch.equal(output, model(images))
        for number in range(5):
            one = images[number : number + 1]
            assert torch.isclose(peaks[0, number], model.convolution(one).abs().max())
            assert torch.isclose(peaks[1, number], model(one).abs().max())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_limit_is_a_multiple_of_what_nearly_all_drawings_reach() -> None:
    peaks = torch.arange(101.0).repeat(2, 1) * torch.tensor([[1.0], [2.0]])
    assert limits_of(peaks).tolist() == [TIMES * 95, TIMES * 190]
