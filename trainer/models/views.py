"""3D poses as they look from elsewhere. Camera axes: x right, y down, z forward."""

from __future__ import annotations

import torch


def seen_from(joints: torch.Tensor, root: int, azimuth: torch.Tensor, elevation: torch.Tensor) -> torch.Tensor:
    """Poses [B, K, 3] turned by azimuth [B] about the camera's vertical, tilted by elevation [B], projected, [B, K, 2].

    Radians. The root is at 0 and joints lie at distance 1 from it on average, in space: foreshortening stays.
    """
    pose = joints.float() - joints[:, root : root + 1]
    pose = pose / pose.norm(dim=-1).mean(1)[:, None, None].clamp(min=1e-6)
    x, y, z = pose.unbind(-1)
    azimuth, elevation = azimuth[:, None], elevation[:, None]
    across = azimuth.cos() * x + azimuth.sin() * z
    away = azimuth.cos() * z - azimuth.sin() * x
    return torch.stack([across, elevation.cos() * y - elevation.sin() * away], -1)
