"""The mean teacher's student sees a picture turned, scaled, shifted, recoloured, noisy and partly hidden.

The geometry is an affine map in normalised coordinates, so the student's joints are taken back to the teacher's view
exactly. Draws come from torch's generators, which the loop seeds for every batch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch.nn import functional as F

from trainer.config import TeacherConfig


class StrongView(NamedTuple):
    """B changed pictures and where their points lie in the pictures that they were made of."""

    images: torch.Tensor
    """[B, 3, H, W]."""
    turn: torch.Tensor
    """[B, 2, 2]: a point u of the view lies at turn @ u + shift, both normalised."""
    shift: torch.Tensor
    """[B, 2]."""

    def undone(self, joints: torch.Tensor) -> torch.Tensor:
        """Joints [B, K, 2] of the view where they lie in the picture it was made of."""
        return joints @ self.turn.mT + self.shift[:, None]

    def shown(self, joints: torch.Tensor) -> torch.Tensor:
        """Joints [B, K, 2] of the picture where they lie in the view: the other way."""
        return (joints - self.shift[:, None]) @ torch.linalg.inv(self.turn).mT


def strong_view(images: torch.Tensor, settings: TeacherConfig) -> StrongView:
    """Change pictures [B, 3, H, W] in [0, 1], each by itself; beyond their borders the last pixels go on."""
    batch = len(images)

    def between(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(batch, *shape, device=images.device)

    angle = between(-1.0, 1.0) * math.radians(settings.turn_deg)
    # Larger content means that the view covers less of the picture.
    reach = torch.exp(-between(*(math.log(bound) for bound in settings.scale)))
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).unflatten(-1, (2, 2))
    turn = turn * reach[:, None, None]
    shift = between(-2.0, 2.0, 2) * settings.shift
    grid = F.affine_grid(torch.cat([turn, shift[..., None]], -1), list(images.shape), align_corners=False)
    view = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    low, high = 1.0 - settings.colour, 1.0 + settings.colour
    mean = view.mean((1, 2, 3), keepdim=True)
    view = mean + (view - mean) * between(low, high, 1, 1, 1)
    view = view * between(low, high, 1, 1, 1) * between(low, high, 3, 1, 1)
    view = view + between(0.0, settings.noise, 1, 1, 1) * torch.randn_like(view)
    for _ in range(settings.cutouts):
        view = torch.where(_rectangles(view, settings.cutout_size), between(0.0, 1.0, 3, 1, 1), view)
    return StrongView(view.clamp(0.0, 1.0), turn, shift)


def _rectangles(images: torch.Tensor, longest: float) -> torch.Tensor:
    """[B, 1, H, W] bool, true in a rectangle of each picture whose sides are up to `longest` of its own."""
    batch, _, height, width = images.shape
    inside = []
    for length in (height, width):
        places = (torch.arange(length, device=images.device) + 0.5) / length
        middle = torch.rand(batch, 1, device=images.device)
        half = 0.5 * longest * torch.rand(batch, 1, device=images.device)
        inside.append((places - middle).abs() < half)
    return inside[0][:, None, :, None] & inside[1][:, None, None, :]
