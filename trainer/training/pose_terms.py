"""What holds real poses where there are no labels: how bodies look from elsewhere, what joints can do, smooth motion.

Left and right bones share a length by construction (trainer.models.uplift), so their symmetry needs no term.
"""

from __future__ import annotations

import math

import torch

from trainer.models.views import seen_from
from trainer.training.body_statistics import JointLimits
from trainer.training.losses import huber

ELEVATION_SIGMA_DEG = 10.0
"""Of the directions from which poses are looked at."""


def seen_from_anywhere(joints: torch.Tensor, root: int) -> torch.Tensor:
    """Root-relative poses [B, K, 3] (camera axes) seen from a random side, [B, K, 2], of one size.

    Azimuths are uniform, elevations normal about level; the projection is orthographic.
    """
    batch, device = len(joints), joints.device
    azimuth = 2.0 * math.pi * torch.rand(batch, device=device)
    elevation = math.radians(ELEVATION_SIGMA_DEG) * torch.randn(batch, device=device)
    return seen_from(joints, root, azimuth, elevation)


def joint_limit_loss(rotations: torch.Tensor, limits: JointLimits) -> torch.Tensor:
    """Squared excess over the limits of rotations [B, K, 3, 3], summed over joints and axes, mean over poses."""
    return limits.excess(rotations).square().sum((1, 2)).mean()


def smoothness_loss(now: torch.Tensor, around: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """How far joints [B, K, 2] lie off the middle between those before and after, [B, 2, K, 2]; weight [B].

    Steady motion costs nothing: the second difference is Huber's, not the first.
    """
    return huber(now, around.mean(1), weight[:, None].expand(now.shape[:2]))
