"""A stored subject in the joints of another skeleton: COCO-17, Human3.6M-17, SMPL-24, AP-10K-17 from their superset.

Positions are weighted means in 3D, projected anew, so the camera projects them exactly. Pixels and frames as in
posecore.sample.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from posecore.camera import Camera, project_cam
from posecore.errors import UserError
from posecore.sample import HIDDEN_BY_OTHER, OUTSIDE, Subject, inside_frame
from posecore.skeleton import Skeleton, joint_map, load_skeleton, skeleton_names


@dataclass(frozen=True, eq=False)
class DerivedJoints:
    """Joints of one subject: `joints_px` [K, 2], `joints_cam_m` and `joints_world_m` [K, 3], `visibility` [K] uint8."""

    joints_px: np.ndarray
    joints_cam_m: np.ndarray
    joints_world_m: np.ndarray
    visibility: np.ndarray


def derive_joints(subject: Subject, skeleton: Skeleton, camera: Camera) -> DerivedJoints:
    """The subject's joints in `skeleton`; the stored ones, untouched, if that is the skeleton it is stored in.

    A joint is as visible as the least visible one that it is made of. A mean of joints can lie inside the frame though
    one of them is outside: it is then known but not seen, so hidden.

    Raises:
        UserError: the stored skeleton cannot express the wanted one.
    """
    if subject.skeleton == skeleton.name:
        return DerivedJoints(subject.joints_px, subject.joints_cam_m, subject.joints_world_m, subject.visibility)
    weights = _weights(subject.skeleton, skeleton.name)
    if np.isnan(weights).any():
        raise UserError(
            f"skeleton {skeleton.name!r} cannot be had from {subject.skeleton!r}, in which this {subject.species} is "
            f"stored; choose one of {', '.join(derived_names(subject.skeleton))}"
        )
    joints_cam = weights @ subject.joints_cam_m
    joints_px = project_cam(camera.K, joints_cam)
    worst = np.where(weights > 0, subject.visibility, 255).min(axis=1)
    inside = inside_frame(joints_px, camera.width, camera.height)
    visibility = np.where(inside, np.maximum(worst, HIDDEN_BY_OTHER), OUTSIDE).astype(np.uint8)
    return DerivedJoints(joints_px, joints_cam, weights @ subject.joints_world_m, visibility)


def derived_names(superset: str) -> list[str]:
    """Skeletons that a subject stored in `superset` can be shown in: its own first."""
    others = [name for name in skeleton_names() if load_skeleton(name).superset == superset and name != superset]
    return [superset, *others]


@cache
def _weights(stored: str, wanted: str) -> np.ndarray:
    return joint_map(load_skeleton(stored), load_skeleton(wanted))
