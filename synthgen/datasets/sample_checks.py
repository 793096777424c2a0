"""What can be wrong with one labelled sample, beyond posecore.sample.validate: its joints against its mask and layers.

Some faults are sure in a single sample. Others happen now and then at silhouettes, where a pixel belongs to somebody
else than the joint beneath: these are counted joint by joint, a sample that has many is named, and a dataset in which
more than one in a hundred is at fault is, too.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from posecore.camera import Camera
from posecore.sample import HIDDEN_BY_OTHER, HIDDEN_BY_SELF, OUTSIDE, VISIBLE, Sample, Subject, validate
from posecore.skeleton import Skeleton, load_skeleton
from posecore.transforms import global_from_local, matrix_from_rotation_6d

_NEAR_MASK_PX = 2.0
_DEEPEST_M = 0.35  # at the template's size: no joint lies deeper under its own skin, a stout belly's included
_IN_FRONT_M = 0.01
_MOST_IN_SAMPLE = 0.25
_MOST_IN_DATASET = 0.01
_FEW = 3  # so many joints at fault prove nothing
# How far a limb bone may point from where the skeleton's template has it: people differ little, species a lot.
_BONE_TURN_DEG = {"human": 20.0, "quadruped": 60.0}
_LIMB_JOINTS = ("knee", "ankle", "elbow", "wrist", "stifle", "hock")
_BLANK = 0.5  # standard deviation, of 255

OFF_MASK = "visible, but off the subject's mask"
BEHIND = "visible, but far from the surface that the depth layer shows there"
UNHIDDEN = "hidden, but nothing lies in front in the depth layer"
NOT_BY_SELF = "hidden by the subject itself, where it is not seen"
NOT_BY_OTHER = "hidden by something else, where only the subject is seen"


@dataclass
class FaultCounts:
    """Joints that were checked for each fault and joints that have it, over a dataset."""

    checked: dict[str, int] = field(default_factory=dict)
    faulty: dict[str, int] = field(default_factory=dict)
    first_key: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, fault: str, num_checked: int, num_faulty: int) -> None:
        self.checked[fault] = self.checked.get(fault, 0) + num_checked
        self.faulty[fault] = self.faulty.get(fault, 0) + num_faulty
        if num_faulty:
            self.first_key.setdefault(fault, key)

    def problems(self) -> list[str]:
        """Faults that are too frequent over the dataset, one line each."""
        return [
            f"{count} of {self.checked[fault]} joints ({count / self.checked[fault]:.1%}) are {fault}; up to "
            f"{_MOST_IN_DATASET:.0%} is usual, first in {self.first_key[fault]}"
            for fault, count in self.faulty.items()
            if count > max(_FEW, _MOST_IN_DATASET * self.checked[fault])
        ]


def sample_problems(sample: Sample, counts: FaultCounts | None = None) -> list[str]:
    """What is wrong with one synthetic sample, one line each; empty if it is sound.

    Args:
        counts: faults that single joints may have are added here.
    """
    problems = validate(sample) + camera_problems(sample.camera) + _layer_problems(sample)
    if problems:
        return problems
    counts = counts or FaultCounts()
    for subject in sample.subjects:
        problems += [f"subject {subject.id}: {line}" for line in _subject_problems(sample, subject, counts)]
    return problems


def camera_problems(camera: Camera) -> list[str]:
    """What in K no camera has; expected are no skew, square pixels, 1 to 170 degrees of view and an axis in view."""
    K, problems = camera.K, []
    focal = np.array([K[0, 0], K[1, 1]])
    if K.shape != (3, 3) or not np.isfinite(K).all():
        return ["K is not a 3 x 3 matrix of numbers"]
    if K[0, 1] != 0 or K[1, 0] != 0 or not np.array_equal(K[2], [0, 0, 1]):
        problems.append("K has skew, or a last row other than 0 0 1")
    if (focal <= 0).any() or abs(focal[0] / focal[1] - 1) > 0.02:
        return [*problems, f"focal lengths {focal[0]:g} and {focal[1]:g} are not those of square pixels"]
    fov_deg = np.degrees(2 * np.arctan(np.array([camera.width, camera.height]) / 2 / focal))
    if (fov_deg < 1).any() or (fov_deg > 170).any():
        problems.append(f"the field of view is {fov_deg[0]:.1f} x {fov_deg[1]:.1f} degrees")
    if not ((K[:2, 2] >= 0) & (K[:2, 2] <= [camera.width, camera.height])).all():
        problems.append(f"the optical axis meets the picture outside of it, at ({K[0, 2]:g}, {K[1, 2]:g})")
    return problems


def limb_bones(skeleton: Skeleton) -> list[tuple[int, int]]:
    """(parent, joint) of the bones that are rigid in every body: upper and lower arms and legs."""
    chosen = [j for j, name in enumerate(skeleton.joints) if name.split("_")[-1] in _LIMB_JOINTS]
    return [(skeleton.parents[j], j) for j in chosen if skeleton.parents[j] >= 0]


def _layer_problems(sample: Sample) -> list[str]:
    problems, size = [], (sample.camera.height, sample.camera.width)
    for name, layer in (("depth", sample.depth_m), ("normal", sample.normal), ("parts", sample.parts)):
        if layer is not None and layer.shape[:2] != size:
            problems.append(f"{name} is {layer.shape[1]} x {layer.shape[0]}, the camera says {size[1]} x {size[0]}")
    if problems or sample.mask.shape != size:
        return problems
    if sample.image.std() < _BLANK:
        problems.append("the picture is blank")
    seen = sample.mask > 0
    if sample.depth_m is not None:
        if np.isnan(sample.depth_m).any() or (sample.depth_m <= 0).any():
            problems.append("depth has values that are not above 0")
        elif not np.isfinite(sample.depth_m[seen]).all():
            problems.append("depth is infinite where the mask shows a subject")
    if sample.parts is not None and ((sample.parts > 0) != seen).any():
        problems.append(f"parts and mask disagree in {np.count_nonzero((sample.parts > 0) != seen)} pixels")
    if sample.normal is not None and seen.any():
        length = np.linalg.norm(sample.normal[seen] / 127.5 - 1, axis=1)
        if np.median(np.abs(length - 1)) > 0.1:  # an engine may blend normals along edges
            problems.append("normals are not of unit length where the mask shows a subject")
    return problems


def _subject_problems(sample: Sample, subject: Subject, counts: FaultCounts) -> list[str]:
    skeleton, mask = load_skeleton(subject.skeleton), sample.mask == subject.id
    problems = []
    if not mask.any() and (num_visible := np.count_nonzero(subject.visibility == VISIBLE)) > _FEW:
        return [f"{num_visible} joints are visible but the mask has no pixel of the subject"]
    for fault, (checked, faulty) in _joint_faults(sample, subject, mask).items():
        num_checked, num_faulty = int(checked.sum()), int((checked & faulty).sum())
        counts.add(sample.key, fault, num_checked, num_faulty)
        if num_faulty >= _FEW and num_faulty > _MOST_IN_SAMPLE * num_checked:
            first = skeleton.joints[int(np.flatnonzero(checked & faulty)[0])]
            problems.append(f"{num_faulty} of {num_checked} joints are {fault}, such as {first}")
    outside_px = np.maximum(-subject.joints_px, subject.joints_px - [sample.camera.width, sample.camera.height]).max()
    if subject.truncation == 0 and outside_px > 1:
        problems.append(f"truncation is 0, but a joint lies {outside_px:.0f} px outside the frame")
    if subject.truncation == 1 and mask.any():
        problems.append("truncation is 1, but the mask shows the subject")
    if subject.rotations is not None:
        problems += _rotation_problems(subject, skeleton)
    return problems


def _joint_faults(sample: Sample, subject: Subject, mask: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each fault the joints [J] that were checked for it and those that have it."""
    inside = subject.visibility != OUTSIDE
    visible, by_self, by_other = (subject.visibility == level for level in (VISIBLE, HIDDEN_BY_SELF, HIDDEN_BY_OTHER))
    column, row = np.floor(np.where(inside[:, None], subject.joints_px, 0)).astype(int).T
    faults = {}
    if mask.any():
        distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        faults[OFF_MASK] = (visible, distance[row, column] > _NEAR_MASK_PX)
    around = np.ones((3, 3), np.uint8)  # the joint's pixel and its neighbours: an edge may run through it
    own = mask.astype(np.uint8)
    faults[NOT_BY_SELF] = (by_self, cv2.dilate(own, around)[row, column] == 0)
    faults[NOT_BY_OTHER] = (by_other, cv2.erode(own, around)[row, column] == 1)
    if sample.depth_m is not None:
        depth_m, joint_m = sample.depth_m.astype(np.float32), subject.joints_cam_m[:, 2]
        nearest = cv2.erode(np.where(mask, depth_m, np.inf).astype(np.float32), around)[row, column]
        farthest = cv2.dilate(np.where(mask, depth_m, 0).astype(np.float32), around)[row, column]
        away_m = np.maximum(joint_m - farthest, nearest - joint_m)
        faults[BEHIND] = (visible & mask[row, column], away_m > _DEEPEST_M * _scale(subject))
        faults[UNHIDDEN] = (by_self | by_other, cv2.erode(depth_m, around)[row, column] > joint_m + _IN_FRONT_M)
    return faults


def are_orthonormal(rotations_6d: np.ndarray) -> bool:
    """Whether all [J, 6] hold two columns of length 1 at right angles."""
    first, second = rotations_6d[:, :3], rotations_6d[:, 3:]
    lengths = np.linalg.norm(np.stack([first, second]), axis=-1)
    return bool(np.abs(lengths - 1).max() <= 1e-4 and np.abs((first * second).sum(axis=1)).max() <= 1e-4)


def bones_at_rest(subject: Subject, skeleton: Skeleton) -> dict[tuple[int, int], np.ndarray]:
    """For each limb bone (parent, joint) the offset [3] of the joint, turned back to rest by the parent's rotation."""
    rotations = global_from_local(matrix_from_rotation_6d(subject.rotations), skeleton.parents)
    joints = subject.joints_world_m
    return {(p, j): rotations[p].T @ (joints[j] - joints[p]) for p, j in limb_bones(skeleton)}


def _rotation_problems(subject: Subject, skeleton: Skeleton) -> list[str]:
    if not are_orthonormal(subject.rotations):
        return ["rotations are not orthonormal"]
    rotations = global_from_local(matrix_from_rotation_6d(subject.rotations), skeleton.parents)
    joints = subject.joints_world_m
    across = joints[skeleton.index("left_hip")] - joints[skeleton.index("right_hip")]
    if across @ rotations[skeleton.parents.index(-1)] @ np.array([1.0, 0.0, 0.0]) < 0:  # at rest the left is +x
        return ["left and right are swapped: left hips or shoulders lie on the body's right"]
    turned = []
    for (parent, joint), bone in bones_at_rest(subject, skeleton).items():
        rest = skeleton.rest_m[joint] - skeleton.rest_m[parent]
        cosine = bone @ rest / max(np.linalg.norm(bone) * np.linalg.norm(rest), 1e-12)
        if np.degrees(np.arccos(np.clip(cosine, -1, 1))) > _BONE_TURN_DEG[skeleton.name]:
            turned.append(skeleton.joints[joint])
    if turned:
        return [f"rotations do not lead to the joints: the bone to {turned[0]} points elsewhere"]
    return []


def _scale(subject: Subject) -> float:
    """Size of a subject's bones, of the template's."""
    skeleton = load_skeleton(subject.skeleton)
    joints = [j for j, parent in enumerate(skeleton.parents) if parent >= 0]
    parents = [skeleton.parents[j] for j in joints]
    own, template = (
        np.linalg.norm(points[joints] - points[parents], axis=1).sum()
        for points in (subject.joints_world_m, skeleton.rest_m)
    )
    return float(own / template)
