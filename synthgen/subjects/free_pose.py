"""Poses that no clip shows: from anatomical angles to the drivers' rotations, soles flat and the body balanced.

Conventions: as in mocap.py. Angles are degrees and read the same for both sides:
- hip and shoulder: (raise, azimuth, twist). raise: from hanging straight down, 180 straight up; azimuth of where the
  limb then points: 0 ahead, 90 outwards, 180 behind; twist about the limb: + outwards.
- knee and elbow: (flexion,).
- root, chest, neck, ankle, wrist: a rotation vector; x bends spine and wrist forward and points the foot, y bends to
  the left, z turns to the left; y and z are mirrored on the right side.
Nothing here draws random numbers; sampling/pose_families.py holds what is drawn.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from posecore.transforms import global_from_local, matrix_from_rotvec
from synthgen.subjects.mocap import DRIVER_PARENTS, DRIVERS, align, figure_joints

# What stands on the ground: the soles of these feet, whatever lies lowest, or what the clip stands on.
Support = Literal["feet", "left_foot", "ground", "clip"]

# Share of the body's mass that moves with a driver, and how far its centre lies above the driver's joint (m, on the
# figure of mocap.py, limbs hanging down): Winter, Biomechanics and Motor Control of Human Movement, table 4.1.
_MASSES = {
    "root": (0.25, 0.08), "chest": (0.247, 0.12), "neck": (0.081, 0.15), "hip": (0.1, -0.18), "knee": (0.061, -0.26),
    "shoulder": (0.028, -0.12), "elbow": (0.022, -0.18),
}  # fmt: skip
_SOLE_CENTRE_M = np.array([0.0, -0.05, -0.07])  # from the ankle
_BALANCING_STEPS = 4
_MOST_EXTRA_FLEXION_RAD = 1.2
_THIGH_M, _SHIN_M = 0.422, 0.410


@dataclass(frozen=True)
class FreePose:
    """Joint angles.

    Attributes:
        posture, arms: names of what was drawn, for statistics.
        support: what the body stands or rests on.
        angles_deg: driver -> angles, see above; drivers that are left out follow the clip.
    """

    posture: str
    arms: str
    support: Support
    angles_deg: dict[str, tuple[float, ...]]


def joint_rotation(driver: str, angles_deg: tuple[float, ...]) -> np.ndarray:
    """The local rotation [3,3] of a driver.

    Raises:
        ValueError: unknown driver, or another number of angles than the joint has.
    """
    if driver not in DRIVERS:
        raise ValueError(f"FreePose: no joint {driver!r}; known: {', '.join(DRIVERS)}")
    side = -1.0 if driver.startswith("right_") else 1.0
    joint = driver.removeprefix("left_").removeprefix("right_")
    angles = np.radians(angles_deg)
    expected = 1 if joint in ("knee", "elbow") else 3
    if len(angles) != expected:
        raise ValueError(f"FreePose: {driver} has {expected} angle(s), got {len(angles)}")
    if joint == "knee":
        return matrix_from_rotvec(np.array([angles[0], 0, 0]))
    if joint == "elbow":
        return matrix_from_rotvec(np.array([-angles[0], 0, 0]))
    if joint in ("hip", "shoulder"):
        lift, azimuth, twist = angles
        swing = lift * np.array([-np.cos(azimuth), -side * np.sin(azimuth), 0])
        return matrix_from_rotvec(swing) @ matrix_from_rotvec(np.array([0, 0, side * twist]))
    return matrix_from_rotvec(angles * [1, side, side])


def overlay(local: np.ndarray, free: FreePose) -> np.ndarray:
    """Local rotations [D,3,3] with those that the free pose names put in their place."""
    result = local.copy()
    for driver, angles_deg in free.angles_deg.items():
        result[DRIVERS.index(driver)] = joint_rotation(driver, angles_deg)
    return result


def stand(local: np.ndarray, support: Support) -> np.ndarray:
    """Global rotations [D,3,3] of a body that stands on its feet, from local ones.

    The longer leg bends until both ankles are as low, the body leans until its centre of mass is above its soles, and
    the ankles turn the soles flat; four rounds. Where an ankle does not turn so far, limit_joints lifts the heel.
    """
    sides = ("left",) if support == "left_foot" else ("left", "right")
    pose = global_from_local(local, DRIVER_PARENTS)
    for _ in range(_BALANCING_STEPS):
        if len(sides) == 2:
            pose = _even_legs(pose)
        joints = figure_joints(pose)
        soles = [joints[DRIVERS.index(f"{side}_ankle")] + pose[_ankle(side)] @ _SOLE_CENTRE_M for side in sides]
        pose = align(_centre_of_mass(pose, joints) - np.mean(soles, axis=0), np.array([0.0, 0.0, 1.0])) @ pose
        for side in sides:
            pose[_ankle(side)] = _flat(pose[DRIVERS.index(f"{side}_knee")])
    return pose


def _ankle(side: str) -> int:
    return DRIVERS.index(f"{side}_ankle")


def _flat(shin: np.ndarray) -> np.ndarray:
    """The foot's global rotation that is level and points where the shin's front does."""
    ahead = shin @ np.array([0.0, -1.0, 0.0])
    return matrix_from_rotvec(np.array([0, 0, np.arctan2(ahead[0], -ahead[1])]))


def _centre_of_mass(pose: np.ndarray, joints: np.ndarray) -> np.ndarray:
    centre = np.zeros(3)
    for driver, name in enumerate(DRIVERS):
        joint = name.removeprefix("left_").removeprefix("right_")
        if joint in _MASSES:
            mass, up_m = _MASSES[joint]
            centre += mass * (joints[driver] + pose[driver, :, 2] * up_m)
    return centre


def _even_legs(pose: np.ndarray) -> np.ndarray:
    """Bend hip and knee of the leg that reaches lower until it reaches as low as the other.

    A turn of the thigh by -d and of the knee by 2 d about x keeps the foot below the hip; d is found by bisection.
    """
    drops = {side: _drop(pose, side, 0.0) for side in ("left", "right")}
    longer = max(drops, key=drops.get)
    wanted = min(drops.values())
    low, high = 0.0, _MOST_EXTRA_FLEXION_RAD
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if _drop(pose, longer, middle) > wanted else (low, middle)
    hip, knee = DRIVERS.index(f"{longer}_hip"), DRIVERS.index(f"{longer}_knee")
    result = pose.copy()
    bend = matrix_from_rotvec(np.array([low, 0, 0]))
    shin_from_thigh = pose[hip].T @ pose[knee]
    result[hip] = pose[hip] @ bend.T
    result[knee] = result[hip] @ bend @ bend @ shin_from_thigh
    return result


def _drop(pose: np.ndarray, side: str, flexion: float) -> float:
    """How far the ankle is below the pelvis once the thigh turns by -flexion and the knee by twice that."""
    thigh, shin = pose[DRIVERS.index(f"{side}_hip")], pose[DRIVERS.index(f"{side}_knee")]
    back = matrix_from_rotvec(np.array([flexion, 0, 0]))
    turned_shin = thigh @ back @ (thigh.T @ shin)
    hip_z = (pose[0] @ np.array([0.085 if side == "left" else -0.085, 0, 0]))[2]
    return float(_THIGH_M * (thigh @ back.T)[2, 2] + _SHIN_M * turned_shin[2, 2] - hip_z)
