"""The pose head eta: a skeleton image in, named joints out.

It sees nothing but the skeleton image, so it learns alone, from drawings of poses, and stays trained throughout.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from trainer.models.layers import conv_block
from trainer.models.skeleton_image import pixel_centres


class Pose2D(NamedTuple):
    joints: torch.Tensor
    """[B, K, 2] normalised."""
    confidence: torch.Tensor
    """[B, K] in 0..1: probability within one cell of the peak."""


class PoseHead(nn.Module):
    """Heatmaps at half the skeleton image's side, read out by a softmax expectation with learned temperature.

    Args:
        num_channels: C of the skeleton image.
        num_joints: K.
        width: channels of the finer level; the two coarser have twice as many.
    """

    def __init__(self, num_channels: int, num_joints: int, width: int = 48) -> None:
        super().__init__()
        self.to_half = nn.Sequential(conv_block(num_channels, width, 5, 2), conv_block(width, width))
        self.to_quarter = nn.Sequential(conv_block(width, 2 * width, 3, 2), conv_block(2 * width, 2 * width))
        self.to_eighth = nn.Sequential(conv_block(2 * width, 2 * width, 3, 2), conv_block(2 * width, 2 * width))
        self.merge_quarter = conv_block(2 * width, 2 * width)
        self.narrow = nn.Conv2d(2 * width, width, 1)
        self.merge_half = conv_block(width, width)
        self.heat = nn.Conv2d(width, num_joints, 1)
        self.log_temperature = nn.Parameter(torch.zeros(num_joints))

    def forward(self, skeleton_image: torch.Tensor) -> Pose2D:
        """[B, C, s, s] centred skeleton image -> joints; the softmax runs in float32 under autocast too."""
        half = self.to_half(skeleton_image.to(memory_format=torch.channels_last))
        quarter = self.to_quarter(half)
        eighth = self.to_eighth(quarter)
        quarter = self.merge_quarter(quarter + F.interpolate(eighth, size=quarter.shape[-2:], mode="nearest"))
        half = self.merge_half(half + F.interpolate(self.narrow(quarter), size=half.shape[-2:], mode="nearest"))
        with torch.autocast(skeleton_image.device.type, enabled=False):
            logits = self.heat(half.float()) * self.log_temperature.exp()[:, None, None]
            return read_heatmaps(logits)


def read_heatmaps(logits: torch.Tensor) -> Pose2D:
    """Expected place under a softmax over all cells: [B, K, h, w] logits -> joints (normalised) and confidences.

    A cell's place is its centre, (2 i + 1) / n - 1; the peak's 3x3 cells give the confidence.
    """
    height, width = logits.shape[-2:]
    probability = logits.flatten(2).softmax(-1).unflatten(-1, (height, width))
    x = (probability.sum(-2) * pixel_centres(width, logits)).sum(-1)
    y = (probability.sum(-1) * pixel_centres(height, logits)).sum(-1)
    with torch.no_grad():
        around = 9 * F.avg_pool2d(probability, 3, 1, 1)  # the ONNX exporter ignores divisor_override
        confidence = around.flatten(2).amax(-1).clamp(max=1.0)
    return Pose2D(torch.stack([x, y], -1), confidence)
