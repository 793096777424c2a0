"""Rotations in torch: the 6D form, and the tree that carries them.

As in posecore.transforms: matrices act on columns; 6D is the first two columns, one after the other (Zhou et al. 2019).
A joint's global rotation is that of its bone from the rest pose; rest axes are the world's.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def matrix_from_rotation_6d(rotation_6d: torch.Tensor) -> torch.Tensor:
    """[..., 6] -> [..., 3, 3] by Gram-Schmidt; finite, and with a finite gradient, for any input."""
    first, second = rotation_6d[..., :3], rotation_6d[..., 3:]
    x = F.normalize(first, dim=-1, eps=1e-6)
    y = F.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1, eps=1e-6)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)
