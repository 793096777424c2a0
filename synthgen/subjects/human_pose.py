"""Poses of people: from clips to the rotation of every bone of the MakeHuman rig.

Conventions: z up, at heading 0 the character faces -y and its left is +x. Every bone rotation is global and relative
to the A-pose at rest (identity at rest). Nothing here draws random numbers.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from posecore.transforms import matrix_from_rotvec
from synthgen.subjects.human_body import HumanBody
from synthgen.subjects.mocap import (
    DRIVERS,
    FIGURE_LEG_M,
    Clip,
    Moment,
    align,
    clip_moment,
    heading,
    interpolate,
    limit_joints,
    mirror_pose,
    mix,
    turn_joints,
)

# How far each bone of a chain has turned from the first driver to the second; smooth, so that no ring of skin shears.
_SPINE_SHARES = {"spine05": 0.1, "spine04": 0.35, "spine03": 0.6, "spine02": 0.85, "spine01": 1.0}
_NECK_SHARES = {"neck01": 0.25, "neck02": 0.5, "neck03": 0.75, "head": 1.0, "eye.L": 1.0, "eye.R": 1.0}
# Share of the upper arm's swing out of the A-pose that collar bone and shoulder blade follow.
_COLLAR_SHARES = {"clavicle": 0.15, "shoulder01": 0.3}


@dataclass(frozen=True)
class HumanPose:
    """A pose as numbers: a moment of a clip, perhaps mixed with another's legs, perhaps mirrored, then varied.

    Attributes:
        clip, time_s: whose spine, head and arms (and legs, if there is no lower_clip), and when.
        lower_clip, lower_time_s: whose pelvis and legs, or None.
        mirrored: swap left and right.
        jitter: driver joint -> rotation vector, radians, added before the joint limits.
        hand_curl_left, hand_curl_right: 0 open, 1 a fist.
        heading_deg: turn about z, counter-clockwise seen from above; 0 faces -y.
        elapsed_s: how long ago the moment was: a sequence is one pose with growing elapsed_s. Clips go on beyond their
            end, and the pelvis travels as the clip's does.
    """

    clip: str
    time_s: float
    lower_clip: str | None = None
    lower_time_s: float = 0.0
    mirrored: bool = False
    jitter: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    hand_curl_left: float = 0.3
    hand_curl_right: float = 0.3
    heading_deg: float = 0.0
    elapsed_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Figure:
    """What a HumanPose means for a person of any size.

    Attributes:
        drivers: [D,3,3] global rotations of mocap.DRIVERS.
        travel_legs: [2] how far the pelvis has moved along x and y since the sequence began, in lengths of the leg.
        clearance_legs: how far the body's lowest point is above the ground, in lengths of the leg.
    """

    drivers: np.ndarray
    travel_legs: np.ndarray
    clearance_legs: float


def strike(clips: dict[str, Clip], pose: HumanPose) -> Figure:
    """Take up a pose: clip, mix, mirror, jitter, limits, heading, in this order.

    The heading that the clip has at the beginning of the sequence is taken out, so that heading_deg alone says which
    way the person faces then.
    """
    now, begun = _moment(clips, pose, pose.elapsed_s), _moment(clips, pose, 0.0)
    drivers, travel_legs = now.pose, (now.travel_m - begun.travel_m) / FIGURE_LEG_M
    first_root = begun.pose[0]
    if pose.mirrored:
        drivers, travel_legs = mirror_pose(drivers), travel_legs * [-1, 1]
        first_root = mirror_pose(begun.pose)[0]
    drivers = limit_joints(turn_joints(drivers, pose.jitter))
    turn = matrix_from_rotvec(np.array([0, 0, np.radians(pose.heading_deg) - heading(first_root)]))
    return Figure(turn @ drivers, turn[:2, :2] @ travel_legs, now.clearance_m / FIGURE_LEG_M)


def _moment(clips: dict[str, Clip], pose: HumanPose, elapsed_s: float) -> Moment:
    moment = clip_moment(_clip(clips, pose.clip), pose.time_s + elapsed_s)
    if pose.lower_clip is None:
        return moment
    lower = clip_moment(_clip(clips, pose.lower_clip), pose.lower_time_s + elapsed_s)
    return replace(lower, pose=mix(lower.pose, moment.pose))


def leg_length(body: HumanBody, heads: np.ndarray) -> float:
    """Thigh and shin at rest, m."""
    hip, knee, ankle = (heads[body.bone(f"{name}.L")] for name in ("upperleg01", "lowerleg01", "foot"))
    return float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))


def bone_rotations(body: HumanBody, heads: np.ndarray, drivers: np.ndarray) -> np.ndarray:
    """Global rotation [B,3,3] of every bone out of the A-pose, from the drivers' [D,3,3].

    A limb's driver hangs straight down at zero where the A-pose has it aslant; the smallest rotation between the two
    comes first. Spine and neck turn in steps, upper arm and thigh twist in two, collar bones follow the arm a little.
    """
    turn = dict(zip(DRIVERS, drivers, strict=True))
    rotations = np.tile(turn["root"], (len(body.bone_names), 1, 1))
    for name, share in _SPINE_SHARES.items():
        rotations[body.bone(name)] = interpolate(turn["root"], turn["chest"], share)
    for name, share in _NECK_SHARES.items():
        rotations[body.bone(name)] = interpolate(turn["chest"], turn["neck"], share)
    down = np.array([0.0, 0.0, -1.0])
    for side, end in (("left", "L"), ("right", "R")):

        def segment(first: str, second: str, end: str = end) -> np.ndarray:
            return heads[body.bone(f"{second}.{end}")] - heads[body.bone(f"{first}.{end}")]

        thigh, shin = segment("upperleg01", "lowerleg01"), segment("lowerleg01", "foot")
        arm, forearm = segment("upperarm01", "lowerarm01"), segment("lowerarm01", "wrist")
        leg_turn = turn[f"{side}_hip"] @ align(thigh, down)
        shin_turn = turn[f"{side}_knee"] @ align(shin, down)
        arm_turn = turn[f"{side}_shoulder"] @ align(arm, down)
        forearm_turn = turn[f"{side}_elbow"] @ align(forearm, down)
        hand_turn = turn[f"{side}_wrist"] @ align(forearm, down)
        swing = _swing(turn["chest"].T @ arm_turn, arm)
        by_bone = {
            "upperleg01": turn["root"] @ _half_twist(turn["root"].T @ leg_turn, thigh),
            "upperleg02": leg_turn,
            "lowerleg": shin_turn,
            "foot": turn[f"{side}_ankle"],
            "toe": turn[f"{side}_ankle"],
            "upperarm01": turn["chest"] @ _half_twist(turn["chest"].T @ arm_turn, arm),
            "upperarm02": arm_turn,
            "lowerarm01": forearm_turn,
            "lowerarm02": forearm_turn @ _twist(forearm_turn.T @ hand_turn, forearm, 0.5),
            "wrist": hand_turn,
            "metacarpal": hand_turn,
            "finger": hand_turn,
        }
        for name, share in _COLLAR_SHARES.items():
            by_bone[name] = turn["chest"] @ interpolate(np.eye(3), swing, share)
        for bone, name in enumerate(body.bone_names):
            if name.endswith(f".{end}"):
                prefix = next((p for p in by_bone if name.startswith(p)), None)
                if prefix is not None:
                    rotations[bone] = by_bone[prefix]
    return rotations


def curl_hands(body: HumanBody, heads: np.ndarray, rotations: np.ndarray, pose: HumanPose) -> None:
    """Bend the fingers of `rotations` in place: each link turns about the knuckles' line, the thumb half as much."""
    for end, curl in (("L", pose.hand_curl_left), ("R", pose.hand_curl_right)):
        across = heads[body.bone(f"finger2-1.{end}")] - heads[body.bone(f"finger5-1.{end}")]
        across = across / np.linalg.norm(across) * (1 if end == "L" else -1)
        wrist = rotations[body.bone(f"wrist.{end}")]
        for bone, name in enumerate(body.bone_names):
            if name.startswith("finger") and name.endswith(end):
                finger, link = int(name[6]), int(name[8])
                angle = curl * (0.5 * link if finger == 1 else 1.3 * link)
                rotations[bone] = wrist @ matrix_from_rotvec(across * angle)


def _swing(rotation: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """The smallest rotation that points the bone where `rotation` points it."""
    return align(bone, rotation @ bone)


def _half_twist(rotation: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """`rotation` with half of its twist about the bone: the bone still points the same way."""
    return interpolate(_swing(rotation, bone), rotation, 0.5)


def _twist(rotation: np.ndarray, bone: np.ndarray, share: float) -> np.ndarray:
    """A share of the twist about the bone alone."""
    return interpolate(np.eye(3), _swing(rotation, bone).T @ rotation, share)


def _clip(clips: dict[str, Clip], name: str) -> Clip:
    if name not in clips:
        raise ValueError(f"HumanPose: no clip {name!r}; there are: {', '.join(sorted(clips))}")
    return clips[name]
