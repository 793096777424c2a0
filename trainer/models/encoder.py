"""The encoder Phi: an image in, a skeleton image and the direction that the body faces out.

All variants have one interface: `forward(images) -> EncoderOutput`, images [B, 3, S, S] RGB in [0, 1], skeleton image
[B, C, s, s] with linear values aimed at 2 I - 1. To name a side, the network must know which way the body faces: a
facing head reads the deepest map, and what it found is fed back to the decoder that paints the channels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from posecore.errors import UserError
from trainer.models.layers import conv_block, resized

FACING_QUERIES = 4
"""Places at which the facing head looks at once (learned attention maps)."""

ToldLevels = Literal["nowhere", "deepest", "everywhere"]
"""Levels of the decoder that are told which way the body faces."""


class EncoderOutput(NamedTuple):
    skeleton_image: torch.Tensor
    """[B, C, s, s], linear, aimed at 2 I - 1."""
    facing_6d: torch.Tensor
    """[B, 6] rotation of the root in the camera frame, first two columns (not yet orthonormal)."""
    maps: list[torch.Tensor]
    """What a TurnedHead reads: maps at 1/4, 1/8 and 1/16 of S (U-Net: its halvings)."""


class FacingHead(nn.Module):
    """Reads the root's orientation from a feature map and hands a summary of it back as a map-wide bias.

    Args:
        channels: of the feature map.
        finer_widths: channels of the decoder's finer levels, for `tell_finer`.
        told: which levels hear of it.
    """

    def __init__(self, channels: int, finer_widths: tuple[int, ...], told: ToldLevels, width: int = 128) -> None:
        super().__init__()
        self.queries = nn.Conv2d(channels, FACING_QUERIES, 1)
        self.read = nn.Sequential(nn.Linear(FACING_QUERIES * (channels + 2), width), nn.ReLU(), nn.Linear(width, 6))
        self.tell = None if told == "nowhere" else nn.Linear(6, channels)
        self.modulate = nn.ModuleList(nn.Linear(6, 2 * c) for c in finer_widths if told == "everywhere")
        with torch.no_grad():
            # Starts as a body that faces the camera: its left (x) at the image's right, its up (z) at the image's top.
            self.read[-1].weight.mul_(0.1)
            self.read[-1].bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
            for layer in self.modulate:
                layer.weight.zero_()
                layer.bias.zero_()

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, C, h, w] -> ([B, 6] rotation, [B, C, h, w] features that know it)."""
        batch, _, height, width = features.shape
        attention = self.queries(features).float().flatten(2).softmax(-1).to(features.dtype)
        rows = torch.linspace(-1, 1, height, device=features.device, dtype=features.dtype)
        columns = torch.linspace(-1, 1, width, device=features.device, dtype=features.dtype)
        places = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(batch, -1, -1, -1)
        values = torch.cat([features, places], 1).flatten(2)
        facing_6d = self.read(torch.bmm(attention, values.mT).flatten(1))
        if self.tell is not None:
            features = features + self.tell(facing_6d)[:, :, None, None]
        return facing_6d, features

    def tell_finer(self, level: int, features: torch.Tensor, facing_6d: torch.Tensor) -> torch.Tensor:
        """A finer level's features [B, c, h, w], each channel scaled and shifted by the facing where that is wanted."""
        if not self.modulate:
            return features
        scale, shift = self.modulate[level](facing_6d)[:, :, None, None].chunk(2, 1)
        return features * (1.0 + scale) + shift


class TurnedHead(nn.Module):
    """Reads from fine maps, at the joints, whether the back is seen.

    At the joints, since faces, heels and elbows are small: a linear classifier of frozen ImageNet features told fronts
    from backs on 72% of unseen people from what lies at their joints, on 56% from the whole picture (640 pictures at
    96 px to learn from; 67% and 54% at 64 px).
    """

    def __init__(self, channels: list[int], num_joints: int, width: int = 128) -> None:
        super().__init__()
        inputs = sum(channels) * num_joints
        self.read = nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, maps: list[torch.Tensor], joints: torch.Tensor) -> torch.Tensor:
        """Maps [B, c, h, w] and joints [B, K, 2], normalised, named as the viewer sees them -> [B] logit."""
        places = joints.detach()[:, None]
        values = [F.grid_sample(m.float(), places, padding_mode="border", align_corners=False) for m in maps]
        return self.read(torch.cat(values, 1).flatten(1)).squeeze(1)


class PyramidEncoder(nn.Module):
    """A backbone's maps and a thin decoder: laterals summed from coarse to fine, one convolution a level.

    Args:
        backbone: images -> list of maps; `channels` names theirs by level, level n at 1/2**(n+1) of S. It needs those
            of 1/4, 1/8 and 1/16; 1/2 and 1/32 are used where it has them.
        num_channels: channels C of the skeleton image.
        image_size: S, a multiple of 32.
        skeleton_size: s, one of S/2, S/4, S/8.
        widths: decoder channels at 1/16, 1/8, 1/4 and 1/2 of S; those finer than s are not built.
        told: see FacingHead.
        turned_joints: number of joints at which to read whether the back is seen; 0: nobody asks.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_channels: int,
        image_size: int,
        skeleton_size: int,
        widths: tuple[int, ...],
        told: ToldLevels = "deepest",
        turned_joints: int = 0,
    ) -> None:
        super().__init__()
        finest = {image_size // 2: 0, image_size // 4: 1, image_size // 8: 2}.get(skeleton_size)
        if finest is None or image_size % 32:
            raise UserError(
                f"model.skeleton_image.size must be 1/2, 1/4 or 1/8 of data.input_size_px, itself a multiple of 32; "
                f"got {skeleton_size} and {image_size}"
            )
        self.backbone = backbone
        channels = backbone.channels
        levels = range(3, finest - 1, -1)
        widths = widths[: len(levels)]
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels[level], width, 1) if level in channels else nn.Identity()
            for level, width in zip(levels, widths, strict=True)
        )
        self.deepest = nn.Conv2d(channels[4], widths[0], 1) if 4 in channels else None
        self.facing = FacingHead(widths[0], widths[1:], told)
        self.turned = TurnedHead([channels[level] for level in (1, 2, 3)], turned_joints) if turned_joints else None
        self.blocks = nn.ModuleList(conv_block(width, width) for width in widths)
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        self.paint = _blank_canvas(widths[-1], num_channels)
        with torch.no_grad():
            # Fine maps are edges of everything; at first the coarse ones, which know bodies, should decide.
            for level, lateral in zip(levels[1:], self.laterals[1:], strict=True):
                if level in channels:
                    lateral.weight.mul_(0.1)

    def forward(self, images: torch.Tensor) -> EncoderOutput:
        maps = dict(
            zip(self.backbone.channels, self.backbone(images.to(memory_format=torch.channels_last)), strict=True)
        )
        x = self.laterals[0](maps[3])
        if self.deepest is not None:
            x = x + F.interpolate(self.deepest(maps[4]), scale_factor=2.0, mode="nearest")
        facing_6d, x = self.facing(x)
        x = self.blocks[0](x)
        for index, narrow in enumerate(self.narrow):
            # The 1x1 convolution commutes with the upsampling and is four times cheaper before it.
            x = F.interpolate(narrow(x), scale_factor=2.0, mode="nearest")
            if (finer := maps.get(2 - index)) is not None:
                x = x + self.laterals[index + 1](finer)
            x = self.facing.tell_finer(index, self.blocks[index + 1](x), facing_6d)
        return EncoderOutput(self.paint(x), facing_6d, [maps[level] for level in (1, 2, 3)])


class UNetEncoder(nn.Module):
    """The method's own encoder: KeypointGAN's U-Net with C outputs, GroupNorm in place of batch norm.

    Args:
        width: channels at full size (32 in the paper's family); doubled at each of three halvings.
        stem_stride: 1, or 2 for half size from the first convolution on (the CPU variant).
        told, turned_joints: see PyramidEncoder.
    """

    def __init__(
        self,
        num_channels: int,
        image_size: int,
        skeleton_size: int,
        width: int = 32,
        stem_stride: int = 1,
        told: ToldLevels = "deepest",
        turned_joints: int = 0,
    ) -> None:
        super().__init__()
        if image_size % (8 * stem_stride):
            raise UserError(f"data.input_size_px must be a multiple of {8 * stem_stride}, got {image_size}")
        self.skeleton_size = skeleton_size
        self.stem = nn.Sequential(conv_block(3, width, 7, stem_stride), conv_block(width, width))
        self.down = nn.ModuleList(
            nn.Sequential(conv_block(width << i, width << i + 1, stride=2), conv_block(width << i + 1, width << i + 1))
            for i in range(3)
        )
        self.bottleneck = nn.Conv2d(8 * width, 8 * width, 1)
        self.facing = FacingHead(8 * width, (4 * width, 2 * width, width), told)
        self.turned = TurnedHead([2 * width, 4 * width, 8 * width], turned_joints) if turned_joints else None
        self.up = nn.ModuleList(
            nn.Sequential(conv_block(c, c), conv_block(c, c // 2)) for c in (8 * width, 4 * width, 2 * width)
        )
        self.merge = nn.ModuleList(nn.Conv2d(2 * c, c, 1) for c in (4 * width, 2 * width, width))
        self.last = conv_block(width, width)
        self.paint = _blank_canvas(width, num_channels)

    def forward(self, images: torch.Tensor) -> EncoderOutput:
        skips = [self.stem(images.to(memory_format=torch.channels_last))]
        for down in self.down:
            skips.append(down(skips[-1]))
        maps = skips[1:]
        facing_6d, x = self.facing(self.bottleneck(skips.pop()))
        for level, (up, merge) in enumerate(zip(self.up, self.merge, strict=True)):
            skip = skips.pop()
            x = merge(torch.cat([resized(up(x), skip.shape[-1]), skip], 1))
            x = self.facing.tell_finer(level, x, facing_6d)
        return EncoderOutput(self.paint(resized(self.last(x), self.skeleton_size)), facing_6d, maps)


def _blank_canvas(channels_in: int, num_channels: int) -> nn.Conv2d:
    """The last layer; starts by painting nearly nothing: background is -1, and most of a drawing is background."""
    paint = nn.Conv2d(channels_in, num_channels, 3, padding=1)
    with torch.no_grad():
        paint.weight.mul_(0.1)
        paint.bias.fill_(-1.0)
    return paint
