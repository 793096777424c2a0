"""Backbones of timm and torchvision as pyramids of feature maps, where the user has these libraries and weights.

One interface with EfficientNetLite0: `channels` names the channels by level (level n at 1/2**(n+1) of the input's
side), `forward` gives the maps in that order. Images are RGB in [0, 1], normalised here as the weights were trained.
Nothing is downloaded: weights come from a file. Statistics of batch norms stay those of the weights, also in training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import nn

from posecore.errors import UserError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MAX_LEVELS = 5
INSTALL = "pip install 'posesynth[backbones]'"


class LibraryBackbone(nn.Module):
    """Feature maps of a library's network, the deepest at each halving of the side, 1/2 to 1/32.

    Args:
        library, model: whose network, and its name there.
        weights: the library's own file for that model; None leaves them random.
        image_size: side of the input in pixels.

    Raises:
        UserError: the library, the model or the file is missing, they do not fit, or the maps make no pyramid.
    """

    def __init__(self, library: Literal["timm", "torchvision"], model: str, weights: Path | None, image_size: int):
        super().__init__()
        if weights is not None and not weights.is_file():
            raise UserError(f"model.encoder.weights: no such file: {weights}")
        build = _timm_stages if library == "timm" else _torchvision_stages
        self.network, mean, std = build(model, weights)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        self.train()
        try:
            with torch.no_grad():
                maps = self.network(torch.zeros(1, 3, image_size, image_size))
        except (AssertionError, RuntimeError) as error:
            raise UserError(f"model.encoder.model={model} does not take {image_size} px: {error}") from None
        levels = {image_size >> level + 1: level for level in range(MAX_LEVELS)}
        places = {levels[m.shape[-1]]: place for place, m in enumerate(maps) if m.shape[-1] in levels}
        if missing := {1, 2, 3} - set(places):
            sides = ", ".join(str(m.shape[-1]) for m in maps)
            raise UserError(
                f"model.encoder.model={model}: its maps have sides {sides} at {image_size} px; those of "
                f"{', '.join(f'1/{2 << level}' for level in sorted(missing))} are needed and missing: choose a network "
                "that halves the picture step by step"
            )
        self.places = [places[level] for level in sorted(places)]
        self.channels = {level: maps[places[level]].shape[1] for level in sorted(places)}

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """[B, 3, S, S] RGB in [0, 1] -> maps in the order of `channels`."""
        maps = self.network((images - self.mean) / self.std)
        return [maps[place] for place in self.places]

    def train(self, mode: bool = True) -> LibraryBackbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


class _Stages(nn.Module):
    """Runs modules one after another and keeps what each gives."""

    def __init__(self, stages: list[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _timm_stages(model: str, weights: Path | None) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    try:
        import timm
    except ImportError:
        raise UserError(f"model.encoder.name=timm: timm is not installed: {INSTALL}") from None
    if not timm.is_model(model):
        near = ", ".join(timm.list_models(f"*{model.split('_')[0]}*")[:5])
        raise UserError(f"model.encoder.model: timm has no {model!r}" + (f"; near: {near}" if near else ""))
    overlay = None if weights is None else {"state_dict": _read_tensors(weights)}
    try:
        network = timm.create_model(
            model, pretrained=weights is not None, pretrained_cfg_overlay=overlay, features_only=True
        )
    except RuntimeError as error:
        raise UserError(f"{weights or model}: timm refuses it for {model}: {str(error).splitlines()[0]}") from None
    settings = timm.get_pretrained_cfg(model)
    return network, settings.mean, settings.std


def _torchvision_stages(model: str, weights: Path | None) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    try:
        from torchvision import models
    except ImportError:
        raise UserError(f"model.encoder.name=torchvision: torchvision is not installed: {INSTALL}") from None
    if model not in models.list_models(module=models):
        raise UserError(f"model.encoder.model: torchvision has no image classifier {model!r}")
    network = models.get_model(model, weights=None)
    if weights is not None:
        try:
            network.load_state_dict(_read_tensors(weights))
        except RuntimeError as error:
            raise UserError(f"{weights}: not torchvision's {model}: {str(error).splitlines()[1].strip()}") from None
    if hasattr(network, "layer4"):
        stem = nn.Sequential(network.conv1, network.bn1, network.relu)
        rest = [nn.Sequential(network.maxpool, network.layer1), network.layer2, network.layer3, network.layer4]
        stages = [stem, *rest]
    elif hasattr(network, "trunk_output"):
        stages = [network.stem, *network.trunk_output]
    elif isinstance(getattr(network, "features", None), nn.Sequential):
        stages = list(network.features)
    else:
        raise UserError(f"model.encoder.model={model}: choose a convolutional network (ResNet, RegNet, ConvNeXt ...)")
    return _Stages(stages), IMAGENET_MEAN, IMAGENET_STD


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, weights_only=True, map_location="cpu")
