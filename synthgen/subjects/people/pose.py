"""Poses of people: from clips to the rotation of every bone of the MakeHuman rig.

Conventions: z up, at heading 0 the character faces -y and its left is +x. Every bone rotation is global and relative
to the A-pose at rest (identity at rest). Nothing here draws random numbers.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from posecore.transforms import matrix_from_rotvec
from synthgen.subjects.people.body import HumanBody
from synthgen.subjects.people.free_pose import FreePose, Support, overlay, support
from synthgen.subjects.people.mocap import (
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
# The bones between whose heads the segment of a driver lies; the hand goes by the forearm.
_SEGMENTS = {
    "hip": ("upperleg01", "lowerleg01"), "knee": ("lowerleg01", "foot"), "shoulder": ("upperarm01", "lowerarm01"),
    "elbow": ("lowerarm01", "wrist"), "wrist": ("lowerarm01", "wrist"),
}  # fmt: skip
# Turns of a fist's links, each from the one before; of the thumb towards the little finger.
_FINGER_CURLS_RAD = (1.25, 1.65, 1.0)
_THUMB_CURLS_RAD = (0.3, 0.6, 0.9)
_THUMB_ACROSS_RAD = 0.9
_SPREADS_RAD = np.array([0.25, 0.05, -0.15, -0.35])  # index to little finger, towards the index's side
_MOST_TIP_RAD = 0.45  # of a body that sits or is between two clips; one that would topple further holds itself
_TOE_REACH_M = 0.15
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
        face: facial action ("jawOpen", "mouthSmileLeft", ...) -> strength, 0..1.
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
    face: dict[str, float] = field(default_factory=dict)

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
        most_tip_rad=_most_tip_rad(pose, on),
    )


def _most_tip_rad(pose: HumanPose, on: Support) -> float:
    match on:
        case "feet" | "left_foot" | "knees" | "left_foot_and_right_knee":
            return 0.0
        case "clip":
            return 0.0 if pose.blend_clip is None else _MOST_TIP_RAD
        case "ground":
            return np.pi
        case "seat":
            return _MOST_TIP_RAD


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
    root, chest, neck = turn["root"], turn["chest"], turn["neck"]
    rotations = np.tile(root, (len(body.bone_names), 1, 1))
    limbs = np.array([_segment(body, heads, *bones, end) for end in "LR" for bones in _SEGMENTS.values()])
    # rest to hanging down: thigh, shin, arm, forearm, forearm (for the hand) of each side
    limb_turns = np.array([turn[f"{side}_{joint}"] for side in ("left", "right") for joint in _SEGMENTS])
    limb_turns = (limb_turns @ align(limbs, np.array([0.0, 0.0, -1.0]))).reshape(2, 5, 3, 3)
    thigh, _, arm, forearm, _ = np.moveaxis(limbs.reshape(2, 5, 3), 1, 0)
    leg_turn, shin_turn, arm_turn, forearm_turn, hand_turn = np.moveaxis(limb_turns, 1, 0)
    # Relative to what the limb hangs on: the smallest turn that points it there (swing), and the whole turn.
    bones = np.concatenate([thigh, arm, forearm])
    whole = np.concatenate([root.T @ leg_turn, chest.T @ arm_turn, np.swapaxes(forearm_turn, -1, -2) @ hand_turn])
    swing = align(bones, (whole @ bones[..., None])[..., 0])
    shares = [*_SPINE_SHARES.values(), *_NECK_SHARES.values(), *_COLLAR_SHARES.values(), *_COLLAR_SHARES.values()]
    starts = [root] * len(_SPINE_SHARES) + [chest] * len(_NECK_SHARES) + [np.eye(3)] * 2 * len(_COLLAR_SHARES)
    ends = [chest] * len(_SPINE_SHARES) + [neck] * len(_NECK_SHARES)
    ends += [swing[2]] * len(_COLLAR_SHARES) + [swing[3]] * len(_COLLAR_SHARES)
    turns = interpolate(
        np.concatenate([starts, swing[:4], np.tile(np.eye(3), (2, 1, 1))]),
        np.concatenate([ends, whole[:4], np.swapaxes(swing[4:], -1, -2) @ whole[4:]]),
        np.array([*shares, *[0.5] * 6]),
    )
    num_spine = len(_SPINE_SHARES) + len(_NECK_SHARES)
    for name, rotation in zip((*_SPINE_SHARES, *_NECK_SHARES), turns[:num_spine], strict=True):
        rotations[body.bone(name)] = rotation
    collars = chest @ turns[num_spine:-6].reshape(2, len(_COLLAR_SHARES), 3, 3)
    half_thigh, half_arm, half_hand = root @ turns[-6:-4], chest @ turns[-4:-2], forearm_turn @ turns[-2:]
    for row, (side, end) in enumerate((("left", "L"), ("right", "R"))):
        by_part = {
            "upperleg01": half_thigh[row],
            "upperleg02": leg_turn[row],
            "lowerleg": shin_turn[row],
            "foot": turn[f"{side}_ankle"],
            "toe": turn[f"{side}_ankle"],
            "upperarm01": half_arm[row],
            "upperarm02": arm_turn[row],
            "lowerarm01": forearm_turn[row],
            "lowerarm02": half_hand[row],
            "wrist": hand_turn[row],
            "metacarpal": hand_turn[row],
            "finger": hand_turn[row],
            **dict(zip(_COLLAR_SHARES, collars[row], strict=True)),
        }
        for part, rotation in by_part.items():
            rotations[_bones(body.bone_names, part, end)] = rotation
    return rotations


def pose_fingers_and_eyes(body: HumanBody, heads: np.ndarray, rotations: np.ndarray, pose: HumanPose) -> None:
    """Turn fingers and eyes of `rotations` [B,3,3], which follow hand and head, in place."""
    for hand, end in zip(pose.hands, "LR", strict=True):
        index, middle, little = (heads[body.bone(f"finger{finger}-1.{end}")] for finger in (2, 3, 5))
        along = _unit(middle - heads[body.bone(f"wrist.{end}")])
        side = -1.0 if end == "L" else 1.0
        palmar = _unit(np.cross(side * (index - little), along))
        curl_axis = np.cross(along, palmar)
        fingers = np.array([_segment(body, heads, f"finger{n}-1", f"finger{n}-2", end) for n in range(2, 6)])
        resting_apart = np.arcsin(fingers @ (side * curl_axis) / np.linalg.norm(fingers, axis=1))
        curls = np.array(hand.curl)
        bent = np.maximum(curls[1:], 0)
        apart = (1 - bent) * hand.spread * _SPREADS_RAD - bent * resting_apart  # a fist's fingers lie side by side
        closed = matrix_from_rotvec(-side * apart[:, None] * palmar)
        curled = matrix_from_rotvec((curls[1:, None] * np.cumsum(_FINGER_CURLS_RAD))[..., None] * curl_axis)
        across = matrix_from_rotvec(-side * _THUMB_ACROSS_RAD * hand.thumb_across * along)
        thumb = matrix_from_rotvec((curls[0] * np.cumsum(_THUMB_CURLS_RAD))[:, None] * side * palmar)
        links = np.concatenate([[across @ thumb], curled @ closed[:, None]])
        bones = [body.bone(f"finger{finger}-{link}.{end}") for finger in range(1, 6) for link in range(1, 4)]
        rotations[bones] = rotations[body.bone(f"wrist.{end}")] @ links.reshape(-1, 3, 3)
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
        rotations[_bones(body.bone_names, "toe", end)] = bent


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _segment(body: HumanBody, heads: np.ndarray, first: str, second: str, end: str) -> np.ndarray:
    return heads[body.bone(f"{second}.{end}")] - heads[body.bone(f"{first}.{end}")]


@lru_cache(maxsize=100)
def _bones(bone_names: tuple[str, ...], part: str, end: str) -> list[int]:
    """Bones of one side whose names begin with `part`."""
    return [bone for bone, name in enumerate(bone_names) if name.startswith(part) and name.endswith(f".{end}")]


def _clip(clips: dict[str, Clip], name: str) -> Clip:
    if name not in clips:
        raise ValueError(f"HumanPose: no clip {name!r}; there are: {', '.join(sorted(clips))}")
    return clips[name]
