"""The discriminator of skeleton images: does this look like a drawing of a pose of the prior?

It sees skeleton images only, never photos. Least-squares GAN on patches at several scales; noise on both sides, so that
it cannot key on the drawing's exact tone curve; a pool of past fakes, so that it does not forget.
"""

from __future__ import annotations

import torch
from torch import nn

from trainer.models.layers import resized


class SkeletonDiscriminator(nn.Module):
    """Independent patch networks at sizes s, s/2, s/4 ...

    Args:
        num_channels: C of the skeleton image.
        width: channels of the first layer, doubled twice.
        num_scales: at least one; each halves the drawing's side.
    """

    def __init__(self, num_channels: int, width: int = 32, num_scales: int = 3) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_patch_network(num_channels, width) for _ in range(num_scales))

    def forward(self, skeleton_image: torch.Tensor) -> list[torch.Tensor]:
        """[B, C, s, s] -> one map of patch scores [B, 1, p, p] a scale; 1 is real, 0 fake."""
        size = skeleton_image.shape[-1]
        return [network(resized(skeleton_image, size >> scale)) for scale, network in enumerate(self.scales)]


class ReplayPool:
    """Past fakes: each query gives back half old ones (KeypointGAN keeps 50). Draws from `generator` alone."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.images: list[torch.Tensor] = []

    def query(self, fakes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """[B, C, s, s] new fakes, detached -> as many, about half of them exchanged for older ones."""
        if self.capacity == 0:
            return fakes
        chosen = []
        for fake in fakes:
            if len(self.images) < self.capacity:
                self.images.append(fake)
                chosen.append(fake)
            elif torch.rand((), generator=generator) < 0.5:
                place = int(torch.randint(self.capacity, (), generator=generator))
                chosen.append(self.images[place])
                self.images[place] = fake
            else:
                chosen.append(fake)
        return torch.stack(chosen)


def _patch_network(num_channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(num_channels, width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.GroupNorm(8, 2 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 4 * width, 3, 1, 1),
        nn.GroupNorm(8, 4 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4 * width, 1, 3, 1, 1),
    )
