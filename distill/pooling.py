"""How a backbone's maps become one vector: average, generalized mean (GeM), or all levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distill._timm import timm
from edge_retrieval.errors import ConfigError

FLOOR = 1e-4
"""Added to variances: the root of one that is 0 has no gradient."""


class GeM(nn.Module):
    """Generalized mean over places: ``mean(x ** p) ** (1 / p)`` with one learned power `p`.

    A power of 1 is the average, a large one the maximum: between them the strongest parts of a
    drawing count most. Values below `eps` count as `eps`.

    Args:
        places: The dimensions to pool over: (2, 3) of ``(N, C, H, W)``, (1,) of ``(N, L, C)``.
        skip: Leading tokens that are no place of the drawing, such as a class token.
        keep: Whether the pooled dimensions stay, with length 1.
        power: Where `p` starts.

    Source:
        Radenović, Tolias, Chum, arXiv:1711.02512.
    """

    def __init__(
        self,
        places: tuple[int, ...] = (2, 3),
        *,
        skip: int = 0,
        keep: bool = False,
        power: float = 3.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([power]))
        self.places, self.skip, self.keep, self.eps = places, skip, keep, eps

    def forward(self, features: Tensor) -> Tensor:
        """Pool ``(N, C, H, W)`` or ``(N, L, C)`` to ``(N, C)``, in float32 inside."""
        if self.skip:
            features = features[:, self.skip :]
        values = features.float().clamp(min=self.eps)
        # GeM of x is m times GeM of x / m, for any m; m = the maximum keeps the powers between 0
        # and 1, whatever p grows to. Taken as a constant, it leaves the gradient as it is.
        most = values.detach().amax(self.places, keepdim=True)
        power = self.p.float().clamp(min=1.0)
        pooled = (values / most).pow(power).mean(self.places, keepdim=True).pow(1 / power) * most
        if not self.keep:
            pooled = pooled.flatten(1)  # all pooled dimensions have length 1
        return pooled.to(features.dtype)


class Levels(nn.Module):
    """Mean and deviation of each channel over places, of every level of a backbone, side by side.

    What the last layer says of a drawing is what it shows. The levels before it say how it is
    drawn and of what small shapes it is made, and the figures of one design have much of that in
    common: features of the middle alone find more of them than those of the end (see
    benchmarks/README.md). Maps at half the input's side tell lines from paper only; they are left
    out. The network's own head is taken off.

    Args:
        network: A network of timm that tells its intermediate maps.
        name: Of it, for the message.

    Raises:
        ConfigError: This family does not tell them.
    """

    def __init__(self, network: nn.Module, *, name: str) -> None:
        super().__init__()
        about = list(getattr(network, "feature_info", None) or ())
        if not hasattr(network, "forward_intermediates") or not about:
            raise ConfigError(
                f'pool = "levels": {name} does not tell its maps', hint='set pool = "avg" or "gem"'
            )
        before = set(network.state_dict())
        self.levels = [level for level, said in enumerate(about) if said["reduction"] > 2]
        network.prune_intermediate_layers(self.levels, prune_head=True)  # type: ignore[operator]
        self.network = network
        self.pruned = frozenset(before - set(network.state_dict()))
        channels = [about[level]["num_chs"] for level in self.levels]
        self.norm = nn.BatchNorm1d(2 * sum(channels), affine=False)

    def forward(self, images: Tensor) -> Tensor:
        """Turn ``(N, C, H, W)`` into ``(N, F)``."""
        return self.pooled(self.maps(images))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Turn ``(N, C, H, W)`` into the maps of every level, ``(N, C, h, w)`` each."""
        maps: list[Tensor] = self.network.forward_intermediates(  # type: ignore[operator]
            images, indices=self.levels, intermediates_only=True
        )
        return maps

    def pooled(self, maps: Sequence[Tensor]) -> Tensor:
        """Turn maps into ``(N, F)``."""
        parts = []
        for level in maps:  # (N, C, h, w)
            values = level.float()
            mean = values.mean((2, 3))  # (N, C)
            variance = (values - mean[:, :, None, None]).square().mean((2, 3))
            parts += [mean, (variance + FLOOR).sqrt()]
        # Channels differ in scale by powers of ten, and the projection behind must see all.
        scaled: Tensor = self.norm(torch.cat(parts, 1))
        return scaled


def network_of(backbone: nn.Module) -> nn.Module:
    """Return timm's network itself, without a pooling around it."""
    return backbone.network if isinstance(backbone, Levels) else backbone


def set_pooling(model: nn.Module, pool: str, *, name: str) -> None:
    """Let a network of timm pool in this way; it is changed in place.

    "avg" leaves a convolutional network as timm makes it. A vision transformer averages its patch
    tokens instead of taking the class token; one with an attention pooling of its own keeps it.

    Raises:
        ConfigError: "gem", and this family has no place for it.
    """
    tokens = isinstance(getattr(model, "global_pool", None), str) and hasattr(model, "fc_norm")
    if pool == "avg":
        if tokens and model.global_pool == "token":
            model.global_pool = "avg"  # type: ignore[assignment]
        return
    for owner in (model, getattr(model, "head", None)):
        found = getattr(owner, "global_pool", None)
        if isinstance(owner, nn.Module) and isinstance(found, timm.layers.SelectAdaptivePool2d):
            owner.global_pool = _gem_like(found)
            return
    if tokens and isinstance(model.fc_norm, nn.Identity) and model.global_pool != "map":
        # timm's head is: pool, fc_norm, head. The tokens pass the first, the second pools them.
        model.global_pool = ""  # type: ignore[assignment]
        skip = int(getattr(model, "num_prefix_tokens", 0))
        model.fc_norm = GeM((1,), skip=skip)
        return
    raise ConfigError(f'pool = "gem": {name} has no place for it', hint='set pool = "avg"')


def _gem_like(found: nn.Module) -> GeM:
    """Return a GeM for what timm's own pooling takes and gives."""
    places = getattr(found.pool, "dim", (2, 3))  # NHWC families: (1, 2)
    with torch.no_grad():
        example = torch.zeros(1, 2, 2, 2)
        keep = found(example).ndim == 4
    return GeM(tuple(places), keep=keep)
