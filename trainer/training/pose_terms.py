"""What holds real poses where there are no labels: how bodies look from elsewhere, what joints can do, smooth motion,
and what another camera saw at the same moment.

Left and right bones share a length by construction (trainer.models.uplift), so their symmetry needs no term.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from trainer.models.views import seen_from
from trainer.training.body_statistics import JointLimits
from trainer.training.losses import huber, weighted_mean

ELEVATION_SIGMA_DEG = 10.0
"""Of the directions from which poses are looked at."""
VIEWS_BETA = 0.2
"""Distance, in mean bone lengths, at which disagreement of views turns from square to linear: some 5 cm of a person."""


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


def in_one_world(joints: torch.Tensor, world_from_crop: torch.Tensor, parents: Sequence[int]) -> torch.Tensor:
    """Root-relative poses of two views of a moment [B, 2, K, 3], each in its crop's axes, as they stand in the world.

    p_v = W_v x_v / s_v, where W_v is `trainer.data.augment.world_from_crop` (roll, mirroring and the direction of the
    crop's centre taken out) and s_v the mean length of the view's bones, for weak perspective tells no size. Views that
    are right give the same p, however they were cut; both mirrored give both the mirrored world's.

    Args:
        world_from_crop: [B, 2, 3, 3]. parents: of each joint, the root being its own (`Uplift.parents`).
    """
    bones = (joints - joints[..., list(parents), :]).norm(dim=-1)
    size = bones.sum(-1) / (joints.shape[-2] - 1)
    return joints @ world_from_crop.mT / size.clamp(min=1e-6)[..., None, None]


def views_loss(
    joints: torch.Tensor,
    confidence: torch.Tensor,
    world_from_crop: torch.Tensor,
    weight: torch.Tensor,
    parents: Sequence[int],
) -> torch.Tensor:
    """Disagreement of two views of a moment; mean over joints and pictures.

    With p of `in_one_world`, d(p, q) = sqrt(|p - q|^2 + beta^2) - beta (Charbonnier: square near 0, then linear) and
    c_v the pose head's confidence in a joint as view v shows it, each joint costs

        c_2 / (c_1 + c_2) d(p_1, sg[p_2]) + c_1 / (c_1 + c_2) d(sg[p_1], p_2)

    which is d(p_1, p_2), but the view that is less sure of the joint moves more. A turn of the world changes nothing.

    Args:
        joints: [B, 2, K, 3], confidence: [B, 2, K], world_from_crop: [B, 2, 3, 3], as `in_one_world` has them.
        weight: [B].
    """
    first, second = in_one_world(joints, world_from_crop, parents).unbind(1)
    sure = confidence.detach().to(joints.dtype).clamp(min=1e-6)
    sure_of_first = sure[:, 0] / sure.sum(1)
    moves_first, moves_second = _charbonnier(first - second.detach()), _charbonnier(first.detach() - second)
    apart = torch.lerp(moves_first, moves_second, sure_of_first)
    return weighted_mean(apart, weight[:, None].expand(apart.shape))


def _charbonnier(difference: torch.Tensor) -> torch.Tensor:
    """[..., 3] -> [...]."""
    return (difference.square().sum(-1) + VIEWS_BETA**2).sqrt() - VIEWS_BETA
