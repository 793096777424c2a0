"""BVH: what a reader of the format computes from the file are the predicted joints."""

import numpy as np
import pytest

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from posecore.transforms import local_from_global, matrix_from_rotvec, rotation_6d_from_matrix
from trainer.prediction.bvh import euler_zxy_deg, write_bvh
from trainer.prediction.predict import Prediction

H36M = load_skeleton("h36m17")
PX_PER_M = 80.0


def posed(seed: int) -> Prediction:
    """A pose by forward kinematics from the template in camera axes, seen by a camera without perspective."""
    rotations = matrix_from_rotvec(np.random.default_rng(seed).normal(0, 0.6, (H36M.num_joints, 3)))
    joints = np.zeros((H36M.num_joints, 3))
    for joint in H36M.walk_order:
        parent = H36M.parents[joint]
        if parent >= 0:
            joints[joint] = joints[parent] + rotations[parent] @ (H36M.rest_m[joint] - H36M.rest_m[parent])
    keypoints = np.concatenate([PX_PER_M * joints[:, :2] + [200, 120], np.ones((H36M.num_joints, 1))], axis=1)
    local = rotation_6d_from_matrix(local_from_global(rotations, H36M.parents))
    return Prediction("a", (0, 0, 400, 300), "h36m17", keypoints, joints, local)


def read_bvh(text: str) -> tuple[list[str], list[int], np.ndarray, np.ndarray]:
    """An independent, minimal reader: names, parents, offsets [J, 3], frames [T, 3 + 3 J]."""
    names, parents, offsets, stack, in_end = [], [], [], [], False
    head, _, motion = text.partition("MOTION")
    for line in head.split("\n"):
        word, *rest = line.split() or [""]
        if word in ("ROOT", "JOINT"):
            parents.append(stack[-1] if stack else -1)
            names.append(rest[0])
        elif word == "End":
            in_end = True
        elif word == "{":
            stack.append(-2 if in_end else len(names) - 1)
        elif word == "}":
            in_end = False
            stack.pop()
        elif word == "OFFSET" and not in_end:
            offsets.append([float(value) for value in rest])
    frames = [[float(value) for value in line.split()] for line in motion.strip().split("\n")[2:]]
    return names, parents, np.array(offsets), np.array(frames)


def axis_turn(axis: int, degrees: float) -> np.ndarray:
    return matrix_from_rotvec(np.deg2rad(degrees) * np.eye(3)[axis])


def test_a_reader_of_the_file_finds_the_predicted_joints(tmp_path):
    predictions = [posed(seed) for seed in range(3)]
    write_bvh(tmp_path / "a.bvh", predictions, rate=50)
    text = (tmp_path / "a.bvh").read_text()
    names, parents, offsets, frames = read_bvh(text)
    assert "Frame Time: 0.020000" in text
    assert sorted(names) == sorted(H36M.joints)
    for frame, prediction in zip(frames, predictions, strict=True):
        turns, places = [], []
        for joint, parent in enumerate(parents):
            z, x, y = frame[3 + 3 * joint : 6 + 3 * joint]
            local = axis_turn(2, z) @ axis_turn(0, x) @ axis_turn(1, y)
            turns.append(local if parent < 0 else turns[parent] @ local)
            places.append(frame[:3] if parent < 0 else places[parent] + turns[parent] @ offsets[joint])
        found = np.array([places[names.index(name)] for name in H36M.joints]) * [1, -1, -1] / 100
        np.testing.assert_allclose(found - found[0], prediction.joints_cam_m - prediction.joints_cam_m[0], atol=1e-4)
        np.testing.assert_allclose(found[:, :2] * PX_PER_M, prediction.keypoints[:, :2], atol=0.02)


def test_angles_rebuild_their_rotation_also_when_locked():
    rotations = matrix_from_rotvec(np.random.default_rng(0).normal(0, 2, (50, 3)))
    rotations = np.concatenate([rotations, [axis_turn(2, 30) @ axis_turn(0, 90) @ axis_turn(1, 20)]])
    for rotation, (z, x, y) in zip(rotations, euler_zxy_deg(rotations), strict=True):
        np.testing.assert_allclose(axis_turn(2, z) @ axis_turn(0, x) @ axis_turn(1, y), rotation, atol=1e-6)


def test_a_skeleton_without_rotations_is_refused(tmp_path):
    prediction = posed(0)
    mapped = Prediction("a", prediction.box, "coco17", prediction.keypoints, prediction.joints_cam_m, None)
    with pytest.raises(UserError, match="carries no rotations"):
        write_bvh(tmp_path / "a.bvh", [mapped])
    with pytest.raises(UserError, match="no frame"):
        write_bvh(tmp_path / "a.bvh", [])
