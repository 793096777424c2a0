"""One training batch: the typed boundary between the data streams and the model.

Conventions: images are RGB float32 in [0, 1]; joints are normalised, x_norm = 2 * x_px / width - 1, y down, so the
centre of pixel i lies at (2i + 1) / width - 1; camera axes are OpenCV's (x right, y down, z forward), metres. What is
not known is None (a whole field) or weighted 0 (a joint) or NaN (a rotation): never filled in.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch


@dataclass(frozen=True)
class Batch:
    """B crops, each with its partner: the same scene or clip seen through the same crop, in another pose.

    Real batches carry images, partners and keys, and neighbours and views if asked for; every other field is None.
    """

    images: torch.Tensor
    """[B, 3, H, W]."""
    partners: torch.Tensor | None
    """[B, 3, H, W]: same subject, clothes, background and light; another pose. None in a step that renders none."""
    keys: tuple[str, ...]
    is_real: bool
    neighbours: torch.Tensor | None = None
    """[B, 2, 3, H, W]: the clip's frames as far before as after x, in the same crop; x itself where it has none."""
    neighbour_weight: torch.Tensor | None = None
    """[B] float32: 1 where there are neighbours."""
    views: torch.Tensor | None = None
    """[B, 3, H, W]: x's moment as another calibrated camera saw it, its own crop, mirrored where x is; x itself where
    there is none."""
    world_from_crop: torch.Tensor | None = None
    """[B, 2, 3, 3] rotations of x and of its view, from the crop's axes to the world, mirrored where they are."""
    view_weight: torch.Tensor | None = None
    """[B] float32: 1 where there is another view."""
    subject_mask: torch.Tensor | None = None
    """[B, 1, H, W] float32: 1 on the subject."""
    joints: torch.Tensor | None = None
    """[B, K, 2] normalised; true coordinates also outside the frame."""
    joint_weight: torch.Tensor | None = None
    """[B, K] float32: 1 inside the frame and known (visible or hidden), else 0."""
    visibility: torch.Tensor | None = None
    """[B, K] uint8: 0 outside the frame, 1 hidden by something else, 2 by the subject itself, 3 visible."""
    joints_cam: torch.Tensor | None = None
    """[B, K, 3] metres, camera frame."""
    rotations_cam: torch.Tensor | None = None
    """[B, K, 3, 3] global rotations from the rest pose, camera axes (R_cam_from_world @ G); NaN where unknown."""
    camera_K: torch.Tensor | None = None
    """[B, 3, 3] intrinsics in pixels of the crop."""
    box: torch.Tensor | None = None
    """[B, 4] x, y, width, height of the subject in pixels of the crop."""
    azimuth_deg: torch.Tensor | None = None
    """[B] of the camera, from where the subject faces: 0 in front, 90 at its left; NaN where it has no heading."""
    elevation_deg: torch.Tensor | None = None
    """[B] of the camera above the horizon."""
    species: tuple[str, ...] | None = None

    @property
    def size(self) -> int:
        return self.images.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on `device`."""
        moved = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), torch.Tensor)
        }
        return replace(self, **moved)
