"""Predicted motion as a BVH file, which every animation program reads.

BVH axes: x to the subject's left in the rest pose, y up, z the way it faces; centimetres; angles in degrees, order Z
X Y. A joint's rotation moves what hangs below it, as in the project's own forward kinematics, so rotations carry over
without change. The root moves parallel to the picture only: one camera does not tell how far away it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from posecore.errors import UserError
from posecore.skeleton import Skeleton, load_skeleton
from posecore.transforms import matrix_from_rotation_6d
from trainer.prediction.predict import Prediction

_BVH_FROM_TEMPLATE = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # template: z up, facing -y
_BVH_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])  # camera: y down, z forward
_CM_PER_M = 100.0


def write_bvh(path: Path, predictions: Sequence[Prediction], rate: float = 25.0) -> None:
    """Write the frames of one clip, in order, as one motion.

    Args:
        predictions: of one subject, in the trained skeleton (another one carries no rotations).
        rate: frames a second.

    Raises:
        UserError: there is no frame, or a prediction has no rotations.
    """
    if not predictions:
        raise UserError(f"{path}: there is no frame to write")
    if any(prediction.rotations is None for prediction in predictions):
        raise UserError(
            f"{path}: {predictions[0].skeleton} carries no rotations; predict in the trained skeleton for BVH"
        )
    skeleton = load_skeleton(predictions[0].skeleton)
    order = _depth_first(skeleton)
    lines = ["HIERARCHY", *_hierarchy(skeleton, order[0], 0), "MOTION"]
    lines += [f"Frames: {len(predictions)}", f"Frame Time: {1 / rate:.6f}"]
    for prediction in predictions:
        angles = euler_zxy_deg(_local_rotations(prediction, skeleton))
        values = [*_root_position_cm(prediction), *angles[order].ravel()]
        lines.append(" ".join(f"{value:.4f}" for value in values))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def euler_zxy_deg(rotations: np.ndarray) -> np.ndarray:
    """[..., 3, 3] -> [..., 3] angles z, x, y in degrees with R = Rz Rx Ry.

    Near x = +-90 degrees z and y turn about one axis; z then takes all of it.
    """
    sine = np.clip(rotations[..., 2, 1], -1, 1)
    x = np.arcsin(sine)
    is_locked = np.abs(sine) > 1 - 1e-9
    y = np.where(is_locked, 0.0, np.arctan2(-rotations[..., 2, 0], rotations[..., 2, 2]))
    free = np.arctan2(-rotations[..., 0, 1], rotations[..., 1, 1])
    locked = np.arctan2(rotations[..., 1, 0], rotations[..., 0, 0])
    return np.rad2deg(np.stack([np.where(is_locked, locked, free), x, y], axis=-1))


def _local_rotations(prediction: Prediction, skeleton: Skeleton) -> np.ndarray:
    """[K, 3, 3] in BVH axes."""
    local = matrix_from_rotation_6d(prediction.rotations)
    root = skeleton.parents.index(-1)
    turned = _BVH_FROM_TEMPLATE @ local @ _BVH_FROM_TEMPLATE.T
    turned[root] = _BVH_FROM_CAMERA @ local[root] @ _BVH_FROM_TEMPLATE.T
    return turned


def _root_position_cm(prediction: Prediction) -> np.ndarray:
    """[3] place of the root parallel to the picture, from the picture's corner, at the scale that fits 3D to 2D
    best."""
    pixels, metres = prediction.keypoints[:, :2], prediction.joints_cam_m[:, :2]
    from_root = pixels - pixels.mean(axis=0)
    spread = metres - metres.mean(axis=0)
    px_per_m = max(float((from_root * spread).sum()), 1e-9) / max(float((spread**2).sum()), 1e-9)
    root_px = pixels.mean(axis=0) - px_per_m * metres.mean(axis=0)
    return _CM_PER_M * _BVH_FROM_CAMERA @ [*(root_px / px_per_m), 0.0]


def _depth_first(skeleton: Skeleton) -> list[int]:
    """Joints in the order in which BVH lists them."""

    def below(joint: int) -> list[int]:
        return [joint, *(deeper for child in _children(skeleton, joint) for deeper in below(child))]

    return below(skeleton.parents.index(-1))


def _hierarchy(skeleton: Skeleton, joint: int, depth: int) -> list[str]:
    indent = "\t" * depth
    is_root = skeleton.parents[joint] < 0
    offset = np.zeros(3)
    if not is_root:
        rest = skeleton.rest_m[joint] - skeleton.rest_m[skeleton.parents[joint]]
        offset = _CM_PER_M * _BVH_FROM_TEMPLATE @ rest
    channels = (
        "6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
        if is_root
        else "3 Zrotation Xrotation Yrotation"
    )
    lines = [
        f"{indent}{'ROOT' if is_root else 'JOINT'} {skeleton.joints[joint]}",
        f"{indent}{{",
        f"{indent}\tOFFSET {_numbers(offset)}",
        f"{indent}\tCHANNELS {channels}",
    ]
    children = _children(skeleton, joint)
    for child in children:
        lines += _hierarchy(skeleton, child, depth + 1)
    if not children:
        # A leaf needs an end for programs to draw a bone; a stub along its own bone.
        stub = 0.3 * offset if np.linalg.norm(offset) > 0 else np.array([0.0, 5.0, 0.0])
        lines += [f"{indent}\tEnd Site", f"{indent}\t{{", f"{indent}\t\tOFFSET {_numbers(stub)}", f"{indent}\t}}"]
    return [*lines, f"{indent}}}"]


def _children(skeleton: Skeleton, joint: int) -> list[int]:
    return [child for child, parent in enumerate(skeleton.parents) if parent == joint]


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.4f}" for value in values)
