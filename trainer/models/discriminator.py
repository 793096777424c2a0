"""The discriminators: does this skeleton image, or this bare pose seen from anywhere, look like one of the prior?

They never see photos. Least-squares GAN, of drawings on patches at several scales; noise on both sides, so that none
can key on the drawing's exact tone curve; a pool of past fakes, so that it does not forget.
"""

from __future__ import annotations

import torch
from torch import nn

from posecore.skeleton import Skeleton
from trainer.config import TrainConfig
from trainer.models.channels import channel_of_edges
from trainer.models.layers import resized

DRAWINGS, POSES = "discriminator", "pose_discriminator"
"""Names of the two."""


def build_discriminators(config: TrainConfig, skeleton: Skeleton) -> dict[str, nn.Module]:
    """Those that a run has a use for, by name."""
    networks: dict[str, nn.Module] = {}
    if config.stage != "finetune":
        return networks
    shape, losses = config.model.discriminator, config.losses
    if losses.adversarial_ratio > 0:
        channels = max(channel_of_edges(config.model.skeleton_image, skeleton)) + 1
        networks[DRAWINGS] = SkeletonDiscriminator(channels, shape.width, shape.scales)
    if losses.pose_prior > 0 and config.model.uplift.in_loop == "end_to_end":
        networks[POSES] = PoseDiscriminator(skeleton.num_joints, shape.pose_width)
    return networks


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


class PoseDiscriminator(nn.Module):
    """Judges bare 2D poses.

    Args:
        num_joints: K.
        width: of the two hidden layers.
    """

    def __init__(self, num_joints: int, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * num_joints, width), nn.LeakyReLU(0.2),
            nn.Linear(width, width), nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )  # fmt: skip

    def forward(self, poses: torch.Tensor) -> list[torch.Tensor]:
        """[B, K, 2] -> one score each, [[B, 1]]; 1 is real, 0 fake."""
        return [self.layers(poses.flatten(1))]


class ReplayPool:
    """Past fakes (KeypointGAN keeps 50), mixed among new ones; those of a step enter together after it.

    So all batches of a step, on whatever process, meet the same pool.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.images: list[torch.Tensor] = []
        self.num_seen = 0
        """Fakes that were added so far: seeds the choice of whom they replace."""

    def mixed(self, fakes: torch.Tensor) -> torch.Tensor:
        """[B, C, s, s] new fakes, detached -> as many, about half exchanged for older ones once the pool is full."""
        if self.capacity == 0 or len(self.images) < self.capacity:
            return fakes
        is_old = torch.rand(len(fakes)) < 0.5
        places = torch.randint(self.capacity, (len(fakes),))
        chosen = zip(fakes, is_old.tolist(), places.tolist(), strict=True)
        return torch.stack([self.images[place] if old else fake for fake, old, place in chosen])

    def add(self, fakes: torch.Tensor) -> None:
        """Take in [N, C, s, s]: while there is room each, later half of them, in the place of others."""
        if self.capacity == 0:
            return
        generator = torch.Generator().manual_seed(self.num_seen)
        for fake in fakes:
            if len(self.images) < self.capacity:
                self.images.append(fake)
            elif torch.rand((), generator=generator) < 0.5:
                self.images[int(torch.randint(self.capacity, (), generator=generator))] = fake
        self.num_seen += len(fakes)


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
