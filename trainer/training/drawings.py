"""Drawings of prior poses as the pose head meets them: spoilt in the ways in which an encoder's own are.

An encoder blurs, dims, speckles, loses limbs, and above all paints a limb into the channels of both sides. A pose head
that has only seen perfect drawings breaks on the first of them.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from posecore.skeleton import Skeleton
from trainer.models.skeleton_image import SkeletonImage


def vary_poses(joints: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """Prior poses [B, K, 2], half of them mirrored, each a little turned, scaled, shifted and stretched.

    Mirroring swaps left and right joints, so a mirrored pose is a pose.
    """
    batch, device = len(joints), joints.device
    is_mirrored = (torch.rand(batch, device=device) < 0.5)[:, None, None]
    mirror = torch.tensor([-1.0, 1.0], device=device)
    joints = torch.where(is_mirrored, (joints * mirror)[:, list(skeleton.swap)], joints)
    angle = math.radians(10.0) * torch.randn(batch, device=device)
    scale = torch.exp(0.1 * torch.randn(batch, 2, device=device))
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).unflatten(-1, (2, 2))
    shift = 0.08 * torch.randn(batch, 1, 2, device=device)
    return joints @ turn.mT * scale[:, None] + shift


def spoilt_drawings(joints: torch.Tensor, draw: SkeletonImage, skeleton: Skeleton) -> torch.Tensor:
    """Poses [B, K, 2], named anatomically, as spoilt drawings [B, C, s, s], centred."""
    named = draw.named(joints)
    # Each limb where its mirror image is drawn: for any grouping, also one that knows no sides.
    exchanged = named[:, list(skeleton.swap)]
    return spoil_drawings(*(2.0 * draw.of_named(pose) - 1.0 for pose in (named, exchanged)))


def spoil_drawings(drawings: torch.Tensor, exchanged: torch.Tensor) -> torch.Tensor:
    """Centred drawings [B, C, s, s] with leakage between sides, lost or dim channels, blur, specks; a third stay.

    Args:
        exchanged: drawings of the same poses with left and right exchanged, which is what leaks.
    """
    batch, channels = drawings.shape[:2]
    device = drawings.device

    def chance(probability: float, *shape: int) -> torch.Tensor:
        return (torch.rand(batch, *shape, 1, 1, device=device) < probability).to(drawings.dtype)

    lines = 0.5 * (drawings + 1.0)
    # A side's limb also appears, fainter, in the other side's channel; now and then as strong.
    mirrored = 0.5 * (exchanged + 1.0)
    leak = chance(0.6, 1) * torch.rand(batch, channels, 1, 1, device=device).square()
    spoilt = torch.maximum(lines, leak * mirrored)
    blurred = F.avg_pool2d(F.avg_pool2d(spoilt, 3, 1, 1, count_include_pad=False), 3, 1, 1, count_include_pad=False)
    spoilt = torch.lerp(spoilt, blurred, chance(0.5, 1) * torch.rand(batch, 1, 1, 1, device=device))
    dimmed = 1.0 - chance(0.5, 1) * 0.6 * torch.rand(batch, channels, 1, 1, device=device)
    spoilt = spoilt * dimmed * (1.0 - chance(0.04, channels))
    patches = torch.rand(batch, channels, 6, 6, device=device)
    speckles = F.interpolate((patches - 0.9).clamp(min=0.0) * 5.0, size=lines.shape[-2:], mode="bilinear")
    spoilt = spoilt + chance(0.5, 1) * speckles
    noise = 0.1 * torch.rand(batch, 1, 1, 1, device=device) * torch.randn_like(spoilt)
    stays_whole = chance(1 / 3, 1)
    return torch.lerp(2.0 * (spoilt + noise) - 1.0, drawings, stays_whole)
