"""The image renderer Psi: the pose as an analytic skeleton image, the appearance as another frame; the picture out.

It sees the analytic drawing alone, never the encoder's own skeleton image: what the drawing cannot say (clothes, light)
must come from the other frame, which stands in another pose, so the pose must come from the drawing. The two frames
share one crop: where nothing moved, the other frame is the picture, so the renderer says where to keep it and paints
the rest.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from trainer.models.layers import conv_block, resized


class ImageRenderer(nn.Module):
    """Two encoders without skip connections, their codes side by side, one decoder.

    Args:
        num_channels: C of the skeleton image.
        size: side of the rendered picture; the inputs are resized to it.
        width: channels at full size, doubled at each halving.
        halvings: the codes' side is size / 2**halvings (3 at 128 px in KeypointGAN: 16x16).
        pooled_appearance: average the appearance code over the picture, and keep nothing of the other frame as it is.
    """

    def __init__(
        self, num_channels: int, size: int, width: int = 32, halvings: int = 3, pooled_appearance: bool = False
    ) -> None:
        super().__init__()
        self.size = size
        self.pooled_appearance = pooled_appearance
        self.pose = _code(num_channels, width, halvings)
        self.appearance = _code(3, width, halvings)
        widths = [width << level for level in range(halvings, -1, -1)]
        self.enter = nn.Sequential(conv_block(2 * widths[0], widths[0]), conv_block(widths[0], widths[0]))
        self.up = nn.ModuleList(conv_block(wide, narrow) for wide, narrow in pairwise(widths))
        self.paint = nn.Conv2d(width, 3 if pooled_appearance else 4, 3, padding=1)

    def forward(self, skeleton_image: torch.Tensor, partners: torch.Tensor) -> torch.Tensor:
        """Render.

        Args:
            skeleton_image: [B, C, s, s] analytic drawing, centred (2 I - 1).
            partners: [B, 3, H, W] RGB in [0, 1], the appearance.

        Returns:
            [B, 3, size, size] RGB, linear: aimed at [0, 1], not clamped.
        """
        pose = self.pose(resized(skeleton_image, self.size).to(memory_format=torch.channels_last))
        partners = resized(partners, self.size).to(memory_format=torch.channels_last)
        appearance = self.appearance(2.0 * partners - 1.0)
        if self.pooled_appearance:
            appearance = appearance.mean((2, 3), keepdim=True).expand_as(appearance)
        x = self.enter(torch.cat([pose, appearance], 1))
        for up in self.up:
            x = up(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        painted = self.paint(x)
        picture = 0.5 + 0.5 * painted[:, :3]
        return picture if self.pooled_appearance else torch.lerp(partners, picture, painted[:, 3:].sigmoid())


def _code(channels_in: int, width: int, halvings: int) -> nn.Sequential:
    # Halving at once costs a third of a first layer at full size and loses nothing that a code of size / 2**n keeps.
    blocks = [conv_block(channels_in, width << 1, 5, stride=2)]
    for level in range(1, halvings):
        blocks += [conv_block(width << level, width << level + 1, stride=2)]
    return nn.Sequential(*blocks, conv_block(width << halvings, width << halvings))
