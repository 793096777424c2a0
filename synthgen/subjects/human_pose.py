"""Poses of people: from clips to the rotation of every bone of the MakeHuman rig.

Conventions: z up, at heading 0 the character faces -y and its left is +x. Every bone rotation is global and relative
to the A-pose at rest (identity at rest). Nothing here draws random numbers.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from posecore.transforms import matrix_from_rotvec
from synthgen.subjects.free_pose import FreePose, overlay, support
from synthgen.subjects.human_body import HumanBody
from synthgen.subjects.mocap import (
    DRIVERS,
    FIGURE_LEG_M,
    MIRROR,
    Clip,
    Moment,
    align,
    blend,
    clip_moment,
    heading,
    interpolate,
    limit_joints,
    mirror_pose,
    mix,
    turn_joints,
)

FINGERS = ("thumb", "index", "middle", "ring", "pinky")  # the order of HandPose.curl
FREE_PERIOD_S = 4.0

# How far each bone of a chain has turned from the first driver to the second; smooth, so that no ring of skin shears.
_SPINE_SHARES = {"spine05": 0.1, "spine04": 0.35, "spine03": 0.6, "spine02": 0.85, "spine01": 1.0}
_NECK_SHARES = {"neck01": 0.25, "neck02": 0.5, "neck03": 0.75, "head": 1.0, "eye.L": 1.0, "eye.R": 1.0}
# Share of the upper arm's swing out of the A-pose that collar bone and shoulder blade follow.
_COLLAR_SHARES = {"clavicle": 0.15, "shoulder01": 0.3}
# Turns of a fist's links, each from the one before; of the thumb towards the little finger.
_FINGER_CURLS_RAD = (1.25, 1.65, 1.0)
_THUMB_CURLS_RAD = (0.3, 0.6, 0.9)
_THUMB_ACROSS_RAD = 0.9
_SPREADS_RAD = (0.25, 0.05, -0.15, -0.35)  # index to little finger, towards the index's side
_MOST_TIP_RAD = 0.45  # of a body that kneels or sits; one that would topple further holds itself
_TOE_REACH_M = 0.08
_MOST_TOE_BEND_RAD = 0.9


@dataclass(frozen=True)
class HandPose:
    """A hand's fingers.

    Attributes:
        curl: of FINGERS; 0 straight, 1 as in a fist, a little below 0 bent back.
        spread: of the fingers, 0 side by side, 1 as far apart as they go.
        thumb_across: 0 the thumb beside the palm, 1 in front of it.
    """

    curl: tuple[float, float, float, float, float] = (0.2, 0.3, 0.3, 0.3, 0.3)
    spread: float = 0.2
    thumb_across: float = 0.3


@dataclass(frozen=True)
class HumanPose:
    """A pose as numbers: a moment of a clip, mixed with others or with free joint angles, then varied.

    Attributes:
        clip, time_s: whose spine, head and arms (and legs, if there is no lower_clip), and when.
        lower_clip, lower_time_s: whose pelvis and legs, or None.
        blend_clip, blend_time_s, blend_share: what the result is turned towards, joint by joint, and how far; or None.
        free: joint angles that take the clip's place where they are given.
        towards: what the free angles move to and back in a sequence, every FREE_PERIOD_S.
        jitter: driver joint -> rotation vector, radians, added before the joint limits.
        mirrored: swap left and right.
        left_hand, right_hand: fingers, before mirroring.
        gaze_deg: of the eyes from the head's direction: to the left, and up.
        heading_deg: turn about z, counter-clockwise seen from above; 0 faces -y.
        elapsed_s: how long ago the moment was: a sequence is one pose with growing elapsed_s. Clips go on beyond their
            end, and the pelvis travels as the clip's does.
    """

    clip: str
    time_s: float
    lower_clip: str | None = None
    lower_time_s: float = 0.0
    blend_clip: str | None = None
    blend_time_s: float = 0.0
    blend_share: float = 0.0
    free: FreePose | None = None
    towards: FreePose | None = None
    jitter: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    mirrored: bool = False
    left_hand: HandPose = HandPose()
    right_hand: HandPose = HandPose()
    gaze_deg: tuple[float, float] = (0.0, 0.0)
    heading_deg: float = 0.0
    elapsed_s: float = 0.0

    @property
    def hands(self) -> tuple[HandPose, HandPose]:
        """The left and the right hand, after mirroring."""
        return (self.right_hand, self.left_hand) if self.mirrored else (self.left_hand, self.right_hand)


@dataclass(frozen=True, eq=False)
class Figure:
    """What a HumanPose means for a person of any size.

    Attributes:
        drivers: [D,3,3] global rotations of mocap.DRIVERS.
        travel_legs: [2] how far the pelvis has moved along x and y since the sequence began, in lengths of the leg.
        clearance_legs: how far the body's lowest point is above the ground, in lengths of the leg.
        most_tip_rad: how far the body may be tipped to rest on the ground.
    """

    drivers: np.ndarray
    travel_legs: np.ndarray
    clearance_legs: float
    most_tip_rad: float


def strike(clips: dict[str, Clip], pose: HumanPose) -> Figure:
    """Take up a pose: clip, mix, blend, free angles, jitter, limits, support, mirror, heading, in this order.

    The heading at the beginning of the sequence is taken out, so that heading_deg alone says which way the person faces
    then.
    """
    now = _moment(clips, pose, pose.elapsed_s)
    begun = _moment(clips, pose, 0.0) if pose.elapsed_s else now
    on = "clip" if pose.free is None else pose.free.support
    local, first_root = now.local, begun.local[0]
    if pose.free is not None:
        first_root = overlay(begun.local, pose.free)[0]
        local = _overlay_moving(now.local, pose)
    local = limit_joints(turn_joints(local, pose.jitter))
    drivers = support(local, on)
    travel_m = now.travel_m - begun.travel_m
    if pose.mirrored:
        drivers, first_root, travel_m = mirror_pose(drivers), MIRROR @ first_root @ MIRROR, travel_m * [-1, 1]
    turn = matrix_from_rotvec(np.array([0, 0, np.radians(pose.heading_deg) - heading(first_root)]))
    moves = float(on == "clip")
    return Figure(
        drivers=turn @ drivers,
        travel_legs=moves * (turn[:2, :2] @ travel_m) / FIGURE_LEG_M,
        clearance_legs=moves * now.clearance_m / FIGURE_LEG_M,
        most_tip_rad={"clip": 0.0, "feet": 0.0, "left_foot": 0.0, "ground": np.pi}.get(on, _MOST_TIP_RAD),
    )


def _overlay_moving(local: np.ndarray, pose: HumanPose) -> np.ndarray:
    start = overlay(local, pose.free)
    if pose.towards is None:
        return start
    share = 0.5 - 0.5 * np.cos(2 * np.pi * pose.elapsed_s / FREE_PERIOD_S)
    return interpolate(start, overlay(local, pose.towards), share)


def _moment(clips: dict[str, Clip], pose: HumanPose, elapsed_s: float) -> Moment:
    moment = clip_moment(_clip(clips, pose.clip), pose.time_s + elapsed_s)
    if pose.lower_clip is not None:
        lower = clip_moment(_clip(clips, pose.lower_clip), pose.lower_time_s + elapsed_s)
        moment = replace(lower, local=mix(lower.local, moment.local))
    if pose.blend_clip is not None:
        other = clip_moment(_clip(clips, pose.blend_clip), pose.blend_time_s + elapsed_s)
        moment = blend(moment, other, pose.blend_share)
    return moment


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


def pose_fingers_and_eyes(body: HumanBody, heads: np.ndarray, rotations: np.ndarray, pose: HumanPose) -> None:
    """Turn fingers and eyes of `rotations` [B,3,3], which follow hand and head, in place."""
    for hand, end in zip(pose.hands, "LR", strict=True):
        knuckles = [heads[body.bone(f"finger{finger}-1.{end}")] for finger in range(2, 6)]
        towards_index = _unit(knuckles[0] - knuckles[3])
        along = _unit(knuckles[1] - heads[body.bone(f"wrist.{end}")])
        side = 1.0 if end == "L" else -1.0
        curl_axis = side * towards_index
        palmar = _unit(np.cross(curl_axis, along))
        wrist = rotations[body.bone(f"wrist.{end}")]
        for finger in range(1, 6):
            curl = hand.curl[finger - 1]
            if finger == 1:
                turn = matrix_from_rotvec(-side * along * _THUMB_ACROSS_RAD * hand.thumb_across)
                axis, angles = side * palmar, _THUMB_CURLS_RAD
            else:
                apart = _SPREADS_RAD[finger - 2] * hand.spread * (1 - max(curl, 0))
                turn = matrix_from_rotvec(-side * palmar * apart)
                axis, angles = curl_axis, _FINGER_CURLS_RAD
            for link in range(3):
                turn = turn @ matrix_from_rotvec(axis * curl * angles[link])
                rotations[body.bone(f"finger{finger}-{link + 1}.{end}")] = wrist @ turn
    left, up = np.radians(pose.gaze_deg) * [-1 if pose.mirrored else 1, 1]
    look = matrix_from_rotvec(np.array([0, 0, left])) @ matrix_from_rotvec(np.array([-up, 0, 0]))
    for end in "LR":
        rotations[body.bone(f"eye.{end}")] = rotations[body.bone("head")] @ look


def bend_toes(body: HumanBody, rotations: np.ndarray, positions: np.ndarray) -> None:
    """Lay the toes of `rotations` [B,3,3] flat, in place, where a foot stands on its ball.

    Args:
        positions: [B,3] bone heads, m. Toes that are higher than _TOE_REACH_M above the lowest bone stay straight.
    """
    lowest_z = positions[:, 2].min()
    for end in "LR":
        foot = rotations[body.bone(f"foot.{end}")]
        near = 1 - np.clip((positions[body.bone(f"toe3-1.{end}"), 2] - lowest_z) / _TOE_REACH_M, 0, 1)
        pointing = np.arcsin(np.clip(-(foot @ np.array([0.0, -1.0, 0.0]))[2], -1, 1))
        bent = foot @ matrix_from_rotvec(np.array([-near * np.clip(pointing, 0, _MOST_TOE_BEND_RAD), 0, 0]))
        rotations[[bone for bone, name in enumerate(body.bone_names) if name.startswith("toe") and name[-1] == end]] = (
            bent
        )


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


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
