"""Pictures, videos and predictions that the tests of prediction share."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from posecore.skeleton import load_skeleton
from posecore.transforms import local_from_global, matrix_from_rotvec, rotation_6d_from_matrix
from trainer.prediction.predictor import PosePredictor, Prediction


@pytest.fixture(scope="session")
def predictor(untrained_run) -> PosePredictor:
    return PosePredictor.load(untrained_run, device="cpu")


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """[180, 240, 3] uint8, blotches of many sizes."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (240, 180), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="session")
def posed() -> Callable[..., Prediction]:
    """`posed(seed, size, skeleton_name, **fields)`: a pose by forward kinematics from the template, 80 px a metre."""

    def pose(seed: int, size: float = 1.0, skeleton_name: str = "h36m17", **fields) -> Prediction:
        skeleton = load_skeleton(skeleton_name)
        rng = np.random.default_rng(seed)
        rotations = matrix_from_rotvec(rng.normal(0, 0.6, (skeleton.num_joints, 3)))
        joints = np.zeros((skeleton.num_joints, 3))
        for joint in skeleton.walk_order:
            parent = skeleton.parents[joint]
            if parent >= 0:
                offset = size * (skeleton.rest_m[joint] - skeleton.rest_m[parent])
                joints[joint] = joints[parent] + rotations[parent] @ offset
        confidence = rng.uniform(0.2, 1, skeleton.num_joints)
        keypoints = np.concatenate([80 * joints[:, :2] + [200, 120], confidence[:, None]], axis=1)
        local = rotation_6d_from_matrix(local_from_global(rotations, skeleton.parents))
        name = fields.pop("image", "a.mp4#000000")
        clip = fields.pop("clip", name.partition("#")[0])
        return Prediction(name, (0, 0, 400, 300), skeleton_name, keypoints, joints, local, clip=clip, **fields)

    return pose
