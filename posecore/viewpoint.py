"""From where a camera sees a subject: how far round from the subject's front, and how high.

World z up. At heading 0 a subject faces -y and its left is +x; angles in degrees.
"""

import math

import numpy as np

from posecore.camera import Camera
from posecore.sample import Subject
from posecore.skeleton import load_skeleton
from posecore.transforms import matrix_from_rotation_6d

MIN_LEVEL_FACING = 0.3
"""Length of the facing direction's level part below which a subject (lying, bent over) has no heading."""


def heading_deg(subject: Subject) -> float:
    """The compass direction that the subject's root faces, counted towards its left; NaN where it has none."""
    if subject.rotations is None:
        return math.nan
    root = load_skeleton(subject.skeleton).parents.index(-1)
    # The root's local rotation is its global one.
    facing = matrix_from_rotation_6d(subject.rotations[root]) @ np.array([0, -1.0, 0])
    if np.hypot(facing[0], facing[1]) < MIN_LEVEL_FACING:
        return math.nan
    return math.degrees(math.atan2(facing[0], -facing[1]))


def camera_angles_deg(subject: Subject, camera: Camera) -> tuple[float, float]:
    """Azimuth and elevation of the camera as seen from the subject's root.

    Returns:
        Azimuth about the vertical from where the subject faces, -180..180: 0 in front, 90 at its left, 180 behind; NaN
        where it has no heading. Elevation above the horizon, -90..90.
    """
    root = load_skeleton(subject.skeleton).parents.index(-1)
    towards = camera.position_world - subject.joints_world_m[root]
    elevation = math.degrees(math.atan2(towards[2], math.hypot(towards[0], towards[1])))
    azimuth = math.degrees(math.atan2(towards[0], -towards[1])) - heading_deg(subject)
    return (azimuth + 180) % 360 - 180, elevation
