"""Frozen features by which two pictures are compared: EfficientNet-lite0 (a package carries it), VGG16/19 from a file.

Input: RGB in [0, 1]. The first feature is always the picture itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from posecore.errors import UserError
from trainer.models.efficientnet import EfficientNetLite0, load_imagenet_weights

FeatureName = Literal["efficientnet_lite0", "vgg16", "vgg19"]
VGG_MEAN, VGG_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG_LAYERS = {
    # Convolutions of each stage, and how many of them come before the tap: relu 1_2, 2_2, 3_2, 4_2, 5_2 (KeypointGAN).
    "vgg16": ((64, 2, 2), (128, 2, 2), (256, 3, 2), (512, 3, 2), (512, 3, 2)),
    "vgg19": ((64, 2, 2), (128, 2, 2), (256, 4, 2), (512, 4, 2), (512, 4, 2)),
}


class Features(nn.Module):
    """Pixels and a few maps of a frozen network. Takes no gradient itself, passes it on to the pictures.

    Args:
        name: which network.
        num_levels: how many of its maps, finest first; each halves the side.
        weights: a torchvision state dict of VGG16/19 (".pth", tensors only); unused by efficientnet_lite0.

    Raises:
        UserError: no weights, or a file that is not what it should be.
    """

    def __init__(self, name: FeatureName = "efficientnet_lite0", num_levels: int = 3, weights: Path | None = None):
        super().__init__()
        if name == "efficientnet_lite0":
            self.network: nn.Module = EfficientNetLite0(num_levels)
            load_imagenet_weights(self.network)
        else:
            if weights is None:
                raise UserError(f"losses.features.name={name} needs losses.features.weights, a torchvision .pth file")
            self.network = _Vgg(name, num_levels)
            self.network.load(weights)
        self.requires_grad_(False)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """[B, 3, s, s] RGB in [0, 1] -> [pixels, map 1, map 2, ...]."""
        return [images, *self.network(images.contiguous(memory_format=torch.channels_last))]


class _Vgg(nn.Module):
    """VGG up to the last tap, ReLU after every convolution, max-pooling between the stages."""

    def __init__(self, name: str, num_levels: int) -> None:
        super().__init__()
        self.name = name
        self.convolutions = nn.ModuleList()
        self.places: list[int] = []
        self.taps: list[int] = []
        self.pools: list[int] = []
        channels, place = 3, 0
        for stage, (width, depth, before_tap) in enumerate(VGG_LAYERS[name][:num_levels]):
            if stage > 0:
                self.pools.append(len(self.convolutions))
            is_last = stage == num_levels - 1
            for index in range(before_tap if is_last else depth):
                self.convolutions.append(nn.Conv2d(channels, width, 3, padding=1))
                self.places.append(place + 2 * index)
                channels = width
                if index == before_tap - 1:
                    self.taps.append(len(self.convolutions) - 1)
            place += 2 * depth + 1
        self.register_buffer("mean", torch.tensor(VGG_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(VGG_STD)[:, None, None], persistent=False)

    def load(self, path: Path) -> None:
        if not Path(path).is_file():
            raise UserError(f"losses.features.weights: no such file: {path}")
        stored = torch.load(path, weights_only=True, map_location="cpu")
        for conv, place in zip(self.convolutions, self.places, strict=True):
            weight = stored.get(f"features.{place}.weight")
            if weight is None or weight.shape != conv.weight.shape:
                raise UserError(f"{path}: not a torchvision {self.name}: features.{place}.weight missing or misshapen")
            conv.weight.data.copy_(weight)
            conv.bias.data.copy_(stored[f"features.{place}.bias"])

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        x, maps = (images - self.mean) / self.std, []
        for index, conv in enumerate(self.convolutions):
            if index in self.pools:
                x = F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            if index in self.taps:
                maps.append(x)
        return maps
