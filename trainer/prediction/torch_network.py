"""A run's checkpoint as a network, and the one module that is both run here and exported."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from posecore.errors import UserError
from trainer.prediction.networks import NetworkOutput
from trainer.training.checkpoint import LoadedModel, load_model


class PoseFunction(nn.Module):
    """From uint8 crops to poses, with nothing left to do before or after (`networks.NetworkOutput`)."""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__()
        self.model = loaded.model
        self.blend = loaded.config.model.answer_blend
        self.size = loaded.config.data.input_size_px
        self.root = loaded.skeleton.parents.index(-1)
        self.parents = [max(parent, 0) for parent in loaded.skeleton.parents]

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B, S, S, 3] uint8 RGB -> keypoints [B, K, 3], joints_cam_m [B, K, 3], rotations [B, K, 6]."""
        images = crops.permute(0, 3, 1, 2).float() / 255
        output = self.model(images, blend=self.blend)
        joints_px = (output.joints.float() + 1) * (self.size / 2)
        keypoints = torch.cat([joints_px, output.pose_2d.confidence.float()[..., None]], -1)
        turns = output.pose_3d.rotations.float()
        local = turns[:, self.parents].mT @ turns
        local = torch.cat([local[:, : self.root], turns[:, self.root : self.root + 1], local[:, self.root + 1 :]], 1)
        rotations = torch.cat([local[..., 0], local[..., 1]], -1)
        return keypoints, output.pose_3d.joints.float(), rotations


class TorchNetwork:
    """A run's network on a device; on a CPU traced, since there Python is a third of a single picture's time."""

    def __init__(self, run: str | Path, device: torch.device | str = "auto", weights: str = "ema") -> None:
        self._device = _device(device)
        loaded = load_model(run, self._device, weights)
        function = PoseFunction(loaded).eval()
        self._function = traced(function) if self._device.type == "cpu" else function
        self.skeleton = loaded.skeleton
        self.input_size_px = loaded.config.data.input_size_px
        self.crop_margin = loaded.config.data.crop.margin

    @torch.inference_mode()
    def __call__(self, crops: np.ndarray) -> NetworkOutput:
        """[B, S, S, 3] uint8 RGB -> poses."""
        answer = self._function(torch.from_numpy(crops).to(self._device))
        return NetworkOutput(*(part.cpu().numpy() for part in answer))


def traced(function: PoseFunction) -> torch.jit.ScriptModule:
    """The same function for crops of any number, without Python between its operations.

    torch would rather see torch.compile used, which takes a C++ compiler and a minute; the tracer is still there.
    """
    example = torch.zeros(2, function.size, function.size, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of deprecation, and of checks of sizes that are not repeated
        return torch.jit.freeze(torch.jit.trace(function, example, check_trace=False))


def _device(name: torch.device | str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device {name!r} is not known; choose auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {name}: there is no CUDA device that torch can use; choose cpu")
    return device
