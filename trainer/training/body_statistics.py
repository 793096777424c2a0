"""What labels say about bodies of a kind: how far their joints turn, and which poses they take.

Both are measured once on labelled held-out frames, mirrored ones added, and hold no parameters: real poses are judged
by them without labels. Rotations are global and in camera axes, as in Pose3D; a joint's own is G_parent^T G_joint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from posecore.errors import UserError
from posecore.skeleton import Skeleton
from trainer.data.batch import Batch

LIMIT_MARGIN = 0.05
"""Added to the range of each half-angle vector, about 6 degrees: what is held out is not all that a body can do."""
SHRINKAGE = 0.05
"""Share of the mean variance in the covariance of poses: there are often fewer poses than coordinates."""
TYPICAL = 0.95
"""Share of the labelled poses that are held to be typical."""


@dataclass(frozen=True)
class JointLimits:
    """The range of each joint's half-angle vector; the root's rotation is free."""

    low: torch.Tensor
    """[K, 3]."""
    high: torch.Tensor
    """[K, 3]."""
    parents: tuple[int, ...]
    """The root is its own."""

    def excess(self, rotations: torch.Tensor) -> torch.Tensor:
        """How far rotations [B, K, 3, 3] lie outside, [B, K, 3] >= 0."""
        turned = half_angles(rotations, self.parents)
        return (turned - self.high).clamp(min=0.0) + (self.low - turned).clamp(min=0.0)


@dataclass(frozen=True)
class TypicalPoses:
    """A normal distribution of poses in the body's own frame and of one size."""

    mean: torch.Tensor
    """[3 K]."""
    precision: torch.Tensor
    """[3 K, 3 K]."""
    limit: torch.Tensor
    """Squared distance (Mahalanobis) within which TYPICAL of the labelled poses lie."""
    root: int

    def strangeness(self, joints: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
        """Of poses [B, K, 3] with rotations [B, K, 3, 3]: log(distance^2 / limit), 0 within the limit; [B].

        A typical pose costs nothing however near to the mean it is, so nothing is won by always answering the mean.
        """
        off = _in_body_frame(joints, rotations, self.root) - self.mean
        distance2 = torch.einsum("bi,ij,bj->b", off, self.precision, off)
        return (distance2 / self.limit).clamp(min=1.0).log()


def joint_limits(batches: Sequence[Batch], skeleton: Skeleton, device: torch.device) -> JointLimits:
    """The limits that labelled batches keep to.

    Raises:
        UserError: no frame has all rotations.
    """
    _, rotations = _labelled_poses(batches)
    if len(rotations) == 0:
        raise UserError(
            "losses.joint_limits: no held-out labelled frame has the rotations of all joints; set the weight to 0"
        )
    parents = tuple(parent if parent >= 0 else joint for joint, parent in enumerate(skeleton.parents))
    turned = half_angles(rotations, parents)
    # Mirroring turns an axis a into (a_x, -a_y, -a_z): rotations mirror as pseudo-vectors do.
    mirrored = turned[:, list(skeleton.swap)] * torch.tensor([1.0, -1.0, -1.0])
    turned = torch.cat([turned, mirrored])
    low, high = turned.amin(0) - LIMIT_MARGIN, turned.amax(0) + LIMIT_MARGIN
    return JointLimits(low.to(device), high.to(device), parents)


def typical_poses(batches: Sequence[Batch], skeleton: Skeleton, device: torch.device) -> TypicalPoses | None:
    """The distribution of the poses of labelled batches; None if no frame has the rotations of all joints."""
    root = skeleton.parents.index(-1)
    joints, rotations = _labelled_poses(batches)
    if len(joints) == 0:
        return None
    poses = _in_body_frame(joints, rotations, root)
    # In the body's frame left is +x; mirroring swaps the joints.
    flip = torch.tensor([-1.0, 1.0, 1.0])
    mirrored = (poses.unflatten(1, (-1, 3)) * flip)[:, list(skeleton.swap)].flatten(1)
    poses = torch.cat([poses, mirrored])
    mean = poses.mean(0)
    off = poses - mean
    covariance = off.mT @ off / len(poses)
    spread = covariance.trace() / len(covariance)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * spread.clamp(min=1e-8) * torch.eye(len(covariance))
    precision = torch.linalg.inv(covariance.double()).float()
    distance2 = torch.einsum("bi,ij,bj->b", off, precision, off)
    return TypicalPoses(mean.to(device), precision.to(device), distance2.quantile(TYPICAL).to(device), root)


def half_angles(rotations: torch.Tensor, parents: Sequence[int]) -> torch.Tensor:
    """Each joint's rotation against its parent's as axis * sin(angle / 2), [B, K, 3, 3] -> [B, K, 3]; 0 for the root.

    The vector part of the quaternion, (R - R^T) / (2 sqrt(1 + trace R)): it grows with the angle up to half a turn, so
    a range of it tells a knee bent forwards from one bent back, and its derivative is finite up to 174 degrees.
    """
    local = rotations[:, list(parents)].mT @ rotations
    twice_sine = torch.stack(
        [
            local[..., 2, 1] - local[..., 1, 2],
            local[..., 0, 2] - local[..., 2, 0],
            local[..., 1, 0] - local[..., 0, 1],
        ],
        -1,
    )
    trace = local.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    return twice_sine / (2.0 * (1.0 + trace).clamp(min=0.01).sqrt())


def _labelled_poses(batches: Sequence[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    """Joints and rotations of the frames of which all are known."""
    joints = torch.cat([batch.joints_cam for batch in batches])
    rotations = torch.cat([batch.rotations_cam for batch in batches])
    known = rotations.isfinite().all((1, 2, 3)) & joints.isfinite().all((1, 2))
    return joints[known], rotations[known]


def _in_body_frame(joints: torch.Tensor, rotations: torch.Tensor, root: int) -> torch.Tensor:
    """[B, K, 3] -> [B, 3 K]: seen from the root, turned back by its rotation, joints at distance 1 on average."""
    local = (joints - joints[:, root : root + 1]) @ rotations[:, root]
    return (local / local.norm(dim=-1).mean(1)[:, None, None].clamp(min=1e-6)).flatten(1)
