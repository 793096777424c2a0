"""Predicted motion as a BVH file, which every animation program reads.

BVH axes: x to the subject's left in the rest pose, y up, z the way it faces; centimetres; angles in degrees, order Z
X Y. A joint's rotation moves what hangs below it, as in the project's own forward kinematics, so rotations carry over
without change. Bones have the subject's own predicted lengths, the typical ones of the clip. The root moves parallel
to the picture only: one camera does not tell how far away it is. The clip begins over the origin, and its lowest joint
is on the floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from posecore.dataset import write_atomically
from posecore.errors import UserError
from posecore.skeleton import Skeleton, load_skeleton
from posecore.transforms import matrix_from_rotation_6d, rotation_6d_from_matrix
from trainer.prediction.predictor import Prediction

_BVH_FROM_TEMPLATE = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # template: z up, facing -y
_BVH_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])  # camera: y down, z forward
_CM_PER_M = 100.0


def write_bvh(path: Path, predictions: Sequence[Prediction], rate: float = 25.0) -> None:
    """Write the frames of one subject in one clip as one motion.

    Args:
        predictions: in order, evenly spaced (`at_even_rate`), in the trained skeleton (another has no rotations).
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
    lines = ["HIERARCHY", *_hierarchy(skeleton, _offsets_cm(predictions, skeleton), order[0], 0), "MOTION"]
    lines += [f"Frames: {len(predictions)}", f"Frame Time: {1 / rate:.6f}"]
    for prediction, root_cm in zip(predictions, _root_path_cm(predictions), strict=True):
        angles = euler_zxy_deg(_local_rotations(prediction, skeleton))
        values = [*root_cm, *angles[order].ravel()]
        lines.append(" ".join(f"{value:.4f}" for value in values))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def at_even_rate(predictions: Sequence[Prediction], rate: float) -> list[Prediction]:
    """The motion of one subject at even steps from its first prediction to its last, as BVH wants it.

    Between two predictions, across a gap or where the video's own rate varies, everything moves evenly.
    """
    predictions = sorted(predictions, key=lambda prediction: prediction.time_s)
    times_s = np.array([prediction.time_s for prediction in predictions])
    count = round((times_s[-1] - times_s[0]) * rate) + 1
    moments = times_s[0] + np.arange(count) / rate
    after = np.clip(np.searchsorted(times_s, moments, side="right"), 1, max(len(times_s) - 1, 1))
    even = []
    for frame, (moment, later) in enumerate(zip(moments, after, strict=True)):
        one, other = predictions[later - 1], predictions[min(later, len(predictions) - 1)]
        span = other.time_s - one.time_s
        share = float(np.clip((moment - one.time_s) / span, 0, 1)) if span > 0 else 0.0
        rotations = one.rotations
        if rotations is not None and other.rotations is not None:
            rotations = rotation_6d_from_matrix(matrix_from_rotation_6d(_mix(rotations, other.rotations, share)))
        even.append(
            replace(
                one,
                frame=frame,
                time_s=float(moment),
                keypoints=_mix(one.keypoints, other.keypoints, share),
                joints_cam_m=_mix(one.joints_cam_m, other.joints_cam_m, share),
                rotations=rotations,
            )
        )
    return even


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


def _offsets_cm(predictions: Sequence[Prediction], skeleton: Skeleton) -> np.ndarray:
    """[K, 3] from the parent, in BVH axes, at rest: the template's directions, the clip's median lengths."""
    parents = [joint if parent < 0 else parent for joint, parent in enumerate(skeleton.parents)]
    joints = np.stack([prediction.joints_cam_m for prediction in predictions])
    lengths = np.median(np.linalg.norm(joints - joints[:, parents], axis=2), axis=0)
    rest = skeleton.rest_m - skeleton.rest_m[parents]
    directions = rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-9)
    return _CM_PER_M * (directions * lengths[:, None]) @ _BVH_FROM_TEMPLATE.T


def _root_path_cm(predictions: Sequence[Prediction]) -> np.ndarray:
    """[T, 3] places of the root parallel to the picture, at the one scale that fits the clip's 3D to its 2D best."""
    pixels = np.stack([prediction.keypoints[:, :2] for prediction in predictions])
    metres = np.stack([prediction.joints_cam_m for prediction in predictions])
    from_middle = pixels - pixels.mean(axis=1, keepdims=True)
    spread = metres[..., :2] - metres[..., :2].mean(axis=1, keepdims=True)
    px_per_m = max(float((from_middle * spread).sum()), 1e-9) / max(float((spread**2).sum()), 1e-9)
    place = pixels.mean(axis=1) / px_per_m - metres[..., :2].mean(axis=1)
    path = np.concatenate([place, np.zeros((len(place), 1))], axis=1) @ _BVH_FROM_CAMERA.T
    lowest = (path[:, 1:2] - metres[..., 1]).min()
    return _CM_PER_M * (path - [path[0, 0], lowest, 0.0])


def _mix(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    return (1 - share) * one + share * other


def _depth_first(skeleton: Skeleton) -> list[int]:
    """Joints in the order in which BVH lists them."""

    def below(joint: int) -> list[int]:
        return [joint, *(deeper for child in _children(skeleton, joint) for deeper in below(child))]

    return below(skeleton.parents.index(-1))


def _hierarchy(skeleton: Skeleton, offsets_cm: np.ndarray, joint: int, depth: int) -> list[str]:
    indent = "\t" * depth
    is_root = skeleton.parents[joint] < 0
    offset = offsets_cm[joint]
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
        lines += _hierarchy(skeleton, offsets_cm, child, depth + 1)
    if not children:
        # A leaf needs an end for programs to draw a bone; a stub along its own bone.
        stub = 0.3 * offset if np.linalg.norm(offset) > 0 else np.array([0.0, 5.0, 0.0])
        lines += [f"{indent}\tEnd Site", f"{indent}\t{{", f"{indent}\t\tOFFSET {_numbers(stub)}", f"{indent}\t}}"]
    return [*lines, f"{indent}}}"]


def _children(skeleton: Skeleton, joint: int) -> list[int]:
    return [child for child, parent in enumerate(skeleton.parents) if parent == joint]


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.4f}" for value in values)
