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
from synthgen.subjects.people.mocap import DRIVER_PARENTS, DRIVERS, align, figure_joints

# What is on the ground: soles, shins, seat and feet, whatever lies lowest, or what the clip stands on.
Support = Literal["feet", "left_foot", "knees", "left_foot_and_right_knee", "seat", "ground", "clip"]

# Share of the body's mass that moves with a driver, and how far its centre lies above the driver's joint (m, on the
# figure of mocap.py, limbs hanging down): Winter, Biomechanics and Motor Control of Human Movement, table 4.1.
_MASSES = {
    "root": (0.25, 0.08), "chest": (0.247, 0.12), "neck": (0.081, 0.15), "hip": (0.1, -0.18), "knee": (0.061, -0.26),
    "shoulder": (0.028, -0.12), "elbow": (0.022, -0.18),
}  # fmt: skip
_SOLE_CENTRE_M = np.array([0.0, -0.05, -0.07])  # from the ankle
_BALANCING_STEPS = 4
_MOST_EXTRA_FLEXION_RAD = 1.2
_MOST_DROP_RAD = 1.2
_THIGH_M, _SHIN_M = 0.422, 0.410
_ANKLE_HEIGHT_M, _KNEE_RADIUS_M, _SEAT_HEIGHT_M = 0.07, 0.055, 0.11


@dataclass(frozen=True)
class FreePose:
    """Joint angles.

    Attributes:
        posture, left_arm, right_arm: names of the families that the angles were drawn from.
        support: what the body stands or rests on.
        angles_deg: driver -> angles, see above; drivers that are left out follow the clip.
    """

    posture: str
    left_arm: str
    right_arm: str
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


def support(local: np.ndarray, on: Support) -> np.ndarray:
    """Global rotations [D,3,3], from local ones, of a body that stands, kneels or sits on the ground.

    The clip's and a lying body's stay as they are. Hips and knees may end up to some degrees outside their limits.
    """
    pose = global_from_local(local, DRIVER_PARENTS)
    match on:
        case "feet":
            return _stand(pose, ("left", "right"))
        case "left_foot":
            return _stand(pose, ("left",))
        case "knees":
            return _lay_shins(pose, ("left", "right"))
        case "left_foot_and_right_knee":
            return _step_out(_lay_shins(pose, ("right",)))
        case "seat":
            return _drop_leg(_drop_leg(pose, "left"), "right")
        case "ground" | "clip":
            return pose


def _stand(pose: np.ndarray, sides: tuple[str, ...]) -> np.ndarray:
    """The body leans until its centre of mass is above its soles, the longer leg bends until both ankles are as low,
    and the ankles turn the soles flat; some rounds."""
    for _ in range(_BALANCING_STEPS):
        joints = figure_joints(pose)
        soles = [joints[DRIVERS.index(f"{side}_ankle")] + pose[_ankle(side)] @ _SOLE_CENTRE_M for side in sides]
        pose = align(_centre_of_mass(pose, joints) - np.mean(soles, axis=0), np.array([0.0, 0.0, 1.0])) @ pose
        if len(sides) == 2:
            pose = _even_legs(pose)
        for side in sides:
            pose[_ankle(side)] = _flat(pose[DRIVERS.index(f"{side}_knee")])
    return pose


def _lay_shins(pose: np.ndarray, sides: tuple[str, ...]) -> np.ndarray:
    """Turn the body until the shins are level on average, and the knees until each is."""
    pose = _levelling(-np.mean([pose[DRIVERS.index(f"{side}_knee"), :, 2] for side in sides], axis=0)) @ pose
    for side in sides:
        shin_and_foot = [DRIVERS.index(f"{side}_knee"), _ankle(side)]
        pose[shin_and_foot] = _levelling(-pose[shin_and_foot[0], :, 2]) @ pose[shin_and_foot]
    return pose


def _levelling(direction: np.ndarray) -> np.ndarray:
    return align(direction, np.array([direction[0], direction[1], 0.0]))


def _step_out(pose: np.ndarray) -> np.ndarray:
    """Set the left sole flat on the ground that the right knee kneels on."""
    ground_z = figure_joints(pose)[DRIVERS.index("right_knee"), 2] - _KNEE_RADIUS_M
    pose = _bend_leg(pose, "left", -ground_z - _ANKLE_HEIGHT_M)
    pose[_ankle("left")] = _flat(pose[DRIVERS.index("left_knee")])
    return pose


def _drop_leg(pose: np.ndarray, side: str) -> np.ndarray:
    """Turn a sitting body's leg as a whole up or down until its lowest point is as low as the seat."""
    chain = [DRIVERS.index(f"{side}_{joint}") for joint in ("hip", "knee", "ankle")]
    hip, knee, ankle = figure_joints(pose)[chain]
    foot = pose[chain[2]]
    points = np.array([knee, ankle + foot @ [0, 0.04, -0.05], ankle + foot @ [0, -0.13, -0.04]]) - hip
    ahead = np.array([*(ankle - hip)[:2], 0.0])
    axis = np.cross(ahead / np.linalg.norm(ahead), [0.0, 0.0, 1.0])
    angle, reach = 0.0, _MOST_DROP_RAD
    for _ in range(3):  # each round looks closer round the best angle so far
        angles = angle + np.linspace(-reach, reach, 41)
        turned = points @ np.swapaxes(matrix_from_rotvec(angles[:, None] * axis), -1, -2)
        off = np.abs(hip[2] + turned[..., 2].min(axis=1) + _SEAT_HEIGHT_M)
        angle, reach = angles[off.argmin()], reach / 20
    result = pose.copy()
    result[chain] = matrix_from_rotvec(axis * angle) @ pose[chain]
    return result


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
    """Bend the leg that reaches lower until it reaches as low as the other."""
    drops = {side: _drop(pose, side, 0.0) for side in ("left", "right")}
    longer, wanted = max(drops, key=drops.get), min(drops.values())
    return _bend_leg(pose, longer, wanted)


def _bend_leg(pose: np.ndarray, side: str, drop_m: float) -> np.ndarray:
    """Bend or straighten hip and knee until the ankle is drop_m below the pelvis, or as near to it as they go.

    A turn of the thigh by -d and of the knee by 2 d about x keeps the foot below the hip; d is found by bisection.
    """
    hip, knee = DRIVERS.index(f"{side}_hip"), DRIVERS.index(f"{side}_knee")
    shin_from_thigh = pose[hip].T @ pose[knee]
    flexion = np.arctan2(shin_from_thigh[2, 1], shin_from_thigh[2, 2])
    low, high = -max(flexion, 0) / 2, _MOST_EXTRA_FLEXION_RAD
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if _drop(pose, side, middle) > drop_m else (low, middle)
    bend = matrix_from_rotvec(np.array([low, 0, 0]))
    result = pose.copy()
    result[hip] = pose[hip] @ bend.T
    result[knee] = result[hip] @ bend @ bend @ shin_from_thigh
    return result


def _drop(pose: np.ndarray, side: str, flexion: float) -> float:
    """How far the ankle is below the pelvis once the thigh turns by -flexion and the knee by twice that, m."""
    thigh, shin = pose[DRIVERS.index(f"{side}_hip")], pose[DRIVERS.index(f"{side}_knee")]
    sine, cosine = np.sin(flexion), np.cos(flexion)
    # third columns of thigh @ R_x(-flexion) and thigh @ R_x(flexion) @ thigh.T @ shin: only z of the limb's axis counts
    thigh_z = cosine * thigh[2, 2] + sine * thigh[2, 1]
    x, y, z = thigh.T @ shin[:, 2]
    shin_z = thigh[2] @ np.array([x, cosine * y - sine * z, sine * y + cosine * z])
    hip_z = pose[0, 2, 0] * (0.085 if side == "left" else -0.085)
    return float(_THIGH_M * thigh_z + _SHIN_M * shin_z - hip_z)
