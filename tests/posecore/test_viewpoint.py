"""From where a camera sees a subject, against cases that are plain to see."""

from dataclasses import replace

import numpy as np
import pytest

from posecore.camera import Camera, look_at
from posecore.sample import Subject
from posecore.skeleton import load_skeleton
from posecore.transforms import matrix_from_rotvec, rotation_6d_from_matrix
from posecore.viewpoint import camera_angles_deg, heading_deg

HUMAN = load_skeleton("human")
ROOT = HUMAN.parents.index(-1)


def standing(heading_deg: float = 0.0, tilt_deg: float = 0.0) -> Subject:
    """The template, turned about the vertical after it was tilted backwards."""
    num = HUMAN.num_joints
    turn = matrix_from_rotvec(np.radians([0, 0, heading_deg])) @ matrix_from_rotvec(np.radians([-tilt_deg, 0, 0]))
    local = np.tile(np.eye(3), (num, 1, 1))
    local[ROOT] = turn
    joints = HUMAN.rest_m @ turn.T
    return Subject(
        1, "human", "human", "human", np.zeros((num, 2)), joints, joints, rotation_6d_from_matrix(local),
        np.full(num, 3, np.uint8), np.zeros(4), 0.0, 0.0, {},
    )  # fmt: skip


def camera_at(subject: Subject, towards: list[float]) -> Camera:
    """A camera in that direction from the root, looking at it."""
    root = subject.joints_world_m[ROOT]
    return Camera(64, 64, np.eye(3), look_at(root + 3 * np.array(towards), root))


@pytest.mark.parametrize(
    ("towards", "azimuth", "elevation"),
    [
        ([0, -1, 0], 0, 0),
        ([1, 0, 0], 90, 0),
        ([-1, 0, 0], -90, 0),
        ([0, -1, 1], 0, 45),
        ([1, -1, -np.sqrt(2)], 45, -45),
    ],
)
def test_a_camera_at_the_left_of_one_who_faces_minus_y_is_at_plus_x(towards, azimuth, elevation):
    subject = standing()
    assert camera_angles_deg(subject, camera_at(subject, towards)) == pytest.approx((azimuth, elevation), abs=1e-6)


def test_azimuth_is_told_from_where_the_subject_faces():
    subject = standing(heading_deg=30)
    assert heading_deg(subject) == pytest.approx(30)
    assert camera_angles_deg(subject, camera_at(subject, [0, -1, 0]))[0] == pytest.approx(-30)
    assert abs(camera_angles_deg(standing(180), camera_at(standing(180), [0, -1, 0]))[0]) == pytest.approx(180)


def test_one_who_lies_or_whose_rotations_are_unknown_has_no_heading_but_an_elevation():
    for subject in (standing(tilt_deg=90), replace(standing(), rotations=None)):
        azimuth, elevation = camera_angles_deg(subject, camera_at(subject, [0, -1, 1]))
        assert np.isnan(azimuth) and np.isnan(heading_deg(subject))
        assert elevation == pytest.approx(45)
