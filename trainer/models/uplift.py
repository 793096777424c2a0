"""The uplift: 2D joints in; rotations, bone lengths, a camera, and from these 3D joints and their reprojection out.

Depth is never predicted by itself: a depth along each ray reprojects to its own input, and the image would teach it
nothing. Rotations and lengths of bones make the reprojection a constraint. Frames: camera axes (x right, y down,
z forward); joints in metres, relative to the root; the rest pose stands in world axes (z up), so the root's rotation
contains the camera's.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from posecore.skeleton import Skeleton
from trainer.models.rotations import matrix_from_rotation_6d

LENGTH_RANGE = 0.2
"""Bones may be this fraction longer or shorter than the template's."""
SIZE_RANGE = 0.4
"""The body's size may differ from the template's by at most this factor's logarithm."""
MIN_DISTANCE_HEIGHTS = 2.0
"""A perspective camera stays this many body heights away: nearer, the projection is no longer smooth."""


class Pose3D(NamedTuple):
    joints: torch.Tensor
    """[B, K, 3] metres, camera axes, the root at 0."""
    rotations: torch.Tensor
    """[B, K, 3, 3] global rotations in camera axes (R_cam_from_world @ G)."""
    lengths: torch.Tensor
    """[B, K] each bone's length over the template's, before the body's size (1 for the root)."""
    reprojected: torch.Tensor
    """[B, K, 2] normalised."""
    scale: torch.Tensor
    """[B] normalised units per metre at the root's distance."""
    root: torch.Tensor
    """[B, 2] normalised place of the root."""


class Uplift(nn.Module):
    """Residual network from normalised 2D joints to the parameters of the articulated template.

    Args:
        skeleton: its rest pose is the template; left and right bones share a length.
        camera: weak perspective, or perspective with the crop's intrinsics.
        fov_deg: field of view of a crop whose intrinsics are unknown.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        width: int = 512,
        num_blocks: int = 3,
        dropout: float = 0.0,
        camera: Literal["weak_perspective", "perspective"] = "weak_perspective",
        fov_deg: float = 50.0,
    ) -> None:
        super().__init__()
        self.num_joints = skeleton.num_joints
        self.camera = camera
        self.default_focal = 1.0 / math.tan(math.radians(fov_deg) / 2)
        self.levels = tree_levels(skeleton)
        rest = torch.tensor(skeleton.rest_m, dtype=torch.float32)
        # Plain numbers: an exporter cannot follow Python code that branches on a tensor's content.
        self.parents = [max(parent, 0) for parent in skeleton.parents]
        self.root_index = skeleton.parents.index(-1)
        self.register_buffer("offsets", rest - rest[self.parents], persistent=False)
        # One length for a bone and its mirror image.
        pairs = torch.tensor([min(joint, mirror) for joint, mirror in enumerate(skeleton.swap)])
        self.register_buffer("length_of", pairs, persistent=False)
        self.height_m = float((rest.amax(0) - rest.amin(0)).max())

        inputs = self.num_joints * 3 + 6
        outputs = self.num_joints * 6 + self.num_joints + 1 + 3
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(_ResidualBlock(width, dropout) for _ in range(num_blocks))
        self.leave = nn.Linear(width, outputs)
        with torch.no_grad():
            self.leave.weight.mul_(0.01)
            self.leave.bias.zero_()

    def forward(
        self,
        joints: torch.Tensor,
        confidence: torch.Tensor,
        facing_6d: torch.Tensor,
        camera_K: torch.Tensor | None = None,
        image_size: int = 0,
    ) -> Pose3D:
        """Lift 2D joints.

        Args:
            joints: [B, K, 2] normalised.
            confidence: [B, K].
            facing_6d: [B, 6] the encoder's reading of the root's rotation; the uplift corrects it.
            camera_K: [B, 3, 3] intrinsics in pixels of the crop; used by the perspective camera, rows of NaN or None
                stand for an unknown camera.
            image_size: side of the crop in pixels, needed with `camera_K`.
        """
        with torch.autocast(joints.device.type, enabled=False):
            joints, confidence, facing_6d = joints.float(), confidence.float(), facing_6d.float()
            centre = joints[:, self.root_index]
            relative = joints - centre[:, None]
            extent = relative.abs().mean((1, 2)).clamp(min=0.02)
            inputs = [(relative / extent[:, None, None]).flatten(1), confidence, facing_6d]
            x = F.leaky_relu(self.enter(torch.cat(inputs, 1)), 0.1)
            for block in self.blocks:
                x = block(x)
            rotation_6d, length, size, camera = self.leave(x).split([self.num_joints * 6, self.num_joints, 1, 3], dim=1)

            identity = rotation_6d.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
            local_6d = rotation_6d.unflatten(1, (self.num_joints, 6)) + identity
            local = matrix_from_rotation_6d(local_6d)
            root = matrix_from_rotation_6d(facing_6d)
            lengths = 1.0 + LENGTH_RANGE * torch.tanh(length)[:, self.length_of]
            size = torch.exp(SIZE_RANGE * torch.tanh(size))
            offsets = self.offsets * (lengths * size)[..., None]
            rotations, points = self._walk(root, local, offsets)

            # The template spans `height_m`; joints spread by about a fifth of it from the root.
            scale = extent / (0.2 * self.height_m) * torch.exp(camera[:, 0])
            place = centre + extent[:, None] * camera[:, 1:]
            reprojected = self._project(points, scale, place, camera_K, image_size)
        return Pose3D(points, rotations, lengths, reprojected, scale, place)

    def free_only_lengths(self) -> None:
        """Let nothing learn but the bone lengths of all poses alike: the bias of what says them (refinement)."""
        self.requires_grad_(False)
        first = self.num_joints * 6
        is_length = torch.zeros_like(self.leave.bias)
        is_length[first : first + self.num_joints] = 1.0
        self.leave.bias.requires_grad_(True)
        self.leave.bias.register_hook(lambda gradient: gradient * is_length.to(gradient.device))

    def _walk(
        self, root: torch.Tensor, local: torch.Tensor, offsets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Forward kinematics, one level of the tree at a time: G_j = G_parent L_j, P_j = P_parent + G_parent o_j."""
        batch = root.shape[0]
        rotations = [root[:, None] @ local[:, self.levels[0]]]
        points = [root.new_zeros(batch, 1, 3)]
        order = list(self.levels[0])
        for level in self.levels[1:]:
            at = [order.index(self.parents[joint]) for joint in level]
            above, start = torch.cat(rotations, 1)[:, at], torch.cat(points, 1)[:, at]
            points.append(start + (above @ offsets[:, level, :, None]).squeeze(-1))
            rotations.append(above @ local[:, level])
            order.extend(level)
        back = [order.index(joint) for joint in range(self.num_joints)]
        return torch.cat(rotations, 1)[:, back], torch.cat(points, 1)[:, back]

    def _project(
        self,
        points: torch.Tensor,
        scale: torch.Tensor,
        place: torch.Tensor,
        camera_K: torch.Tensor | None,
        image_size: int,
    ) -> torch.Tensor:
        if self.camera == "weak_perspective":
            return scale[:, None, None] * points[..., :2] + place[:, None]
        focal = points.new_full((points.shape[0], 1), self.default_focal)
        centre = points.new_zeros(points.shape[0], 2)
        if camera_K is not None:
            known = camera_K.isfinite().all((-2, -1))[:, None]
            focal = torch.where(known, 2.0 * camera_K[:, 0, 0, None] / image_size, focal)
            centre = torch.where(known, 2.0 * camera_K[:, :2, 2] / image_size - 1.0, centre)
        nearest = MIN_DISTANCE_HEIGHTS * self.height_m
        distance = nearest + F.softplus(focal / scale[:, None] - nearest)
        in_plane = points[..., :2] + ((place - centre) / focal * distance)[:, None]
        depth = points[..., 2:] + distance[:, None]
        return focal[:, None] * in_plane / depth + centre[:, None]


def tree_levels(skeleton: Skeleton) -> list[list[int]]:
    """Joint indices by depth in the tree: the root, its children, theirs ..."""
    depth: dict[int, int] = {}
    for joint in skeleton.walk_order:
        parent = skeleton.parents[joint]
        depth[joint] = 0 if parent < 0 else depth[parent] + 1
    return [[j for j in skeleton.walk_order if depth[j] == level] for level in range(max(depth.values()) + 1)]


class _ResidualBlock(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.LayerNorm(width), nn.LeakyReLU(0.1), nn.Dropout(dropout),
            nn.Linear(width, width), nn.LayerNorm(width), nn.LeakyReLU(0.1), nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)
