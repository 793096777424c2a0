"""Poses of people on SMPL bodies: from the drivers to the rotation of every joint, and to the face.

Conventions: z up, at heading 0 the person faces -y and its left is +x. Every joint's rotation is global and relative to
the T-pose at rest. Nothing here draws random numbers.
"""

from dataclasses import dataclass, replace

import numpy as np

from posecore.skeleton import mirror_name
from posecore.transforms import matrix_from_rotvec
from synthgen.subjects.people.mocap import DRIVERS, MIRROR, Clip, align, clip_place, interpolate
from synthgen.subjects.people.motion_files import SmplClip
from synthgen.subjects.people.pose import HandPose, HumanPose
from synthgen.subjects.smpl.body import SmplBody

# How far spine and head have turned from the first driver to the second.
_SPINE_SHARES = {"spine1": 0.3, "spine2": 0.65, "spine3": 1.0}
_NECK_SHARES = {"neck": 0.4, "head": 1.0}
_COLLAR_SHARE = 0.15  # of the upper arm's swing out of the T-pose
# Turns of a fist's links, each from the one before; the thumb's towards the little finger.
_FINGER_CURLS_RAD, _THUMB_CURLS_RAD, _THUMB_ACROSS_RAD = (1.25, 1.65, 1.0), (0.3, 0.6, 0.9), 0.9
_SPREADS_RAD = {"index": 0.25, "middle": 0.05, "ring": -0.15, "pinky": -0.35}  # towards the index's side
_TOE_REACH_M, _MOST_TOE_BEND_RAD = 0.08, 0.9
LIMBS = {
    "hip": ("hip", "knee"), "knee": ("knee", "ankle"), "shoulder": ("shoulder", "elbow"), "elbow": ("elbow", "wrist"),
    "wrist": ("elbow", "wrist"),
}  # fmt: skip
_LOWER_JOINTS = ("pelvis", "hip", "knee", "ankle", "foot")
_DOWN = np.array([0.0, 0.0, -1.0])


@dataclass(frozen=True)
class SmplPose(HumanPose):
    """A person's pose; SMPL-X also has a face.

    Attributes:
        expression: coefficients, the model's first ones.
        jaw_deg: how far the jaw hangs, 0 closed.
    """

    expression: tuple[float, ...] = ()
    jaw_deg: float = 0.0


def smpl_rotations(
    body: SmplBody, joints: np.ndarray, clips: dict[str, Clip], drivers: np.ndarray, pose: SmplPose
) -> np.ndarray:
    """Global rotation [J,3,3] of every joint out of the T-pose: from the drivers, and what else the clip recorded.

    A clip that was recorded on SMPL tells more than the drivers: the bend of each vertebra, collar bones, twists,
    fingers. What its joints do beyond what the drivers would make them do goes on top; so the pose is the recorded one
    where nothing else changes it, and follows jitter, limits, mirroring and mixing all the same. A blended or free pose
    has the drivers alone.

    Args:
        joints: [J,3] at rest, m. drivers: [D,3,3] global.
    """
    rotations = joint_rotations(body, joints, drivers, pose)
    if pose.free is not None or pose.blend_clip is not None:
        return rotations
    plain = replace(pose, mirrored=False)
    sources = [(clips[pose.clip], pose.time_s)] * 2
    if pose.lower_clip is not None:
        sources[1] = (clips[pose.lower_clip], pose.lower_time_s)
    for is_lower, (clip, time_s) in enumerate(sources):
        if not isinstance(clip, SmplClip):
            continue
        _, frame, share = clip_place(clip, time_s + pose.elapsed_s)
        told = joint_rotations(
            body, joints, interpolate(clip.rotations[frame], clip.rotations[frame + 1], share), plain
        )
        recorded = interpolate(clip.joint_turns[frame], clip.joint_turns[frame + 1], share)
        for name, turn in zip(clip.joints, recorded, strict=True):
            if name in body.joints and name.endswith(_LOWER_JOINTS) == bool(is_lower):
                beyond = told[body.joint(name)].T @ turn
                if pose.mirrored:
                    name, beyond = mirror_name(name), MIRROR @ beyond @ MIRROR
                rotations[body.joint(name)] = rotations[body.joint(name)] @ beyond
    return rotations


def joint_rotations(body: SmplBody, joints: np.ndarray, drivers: np.ndarray, pose: SmplPose) -> np.ndarray:
    """Global rotation [J,3,3] of every joint out of the T-pose, from the drivers' [D,3,3].

    A limb's driver hangs straight down at zero where the T-pose spreads it; the smallest rotation between the two comes
    first.
    """
    turn = dict(zip(DRIVERS, drivers, strict=True))
    rotations = np.tile(turn["root"], (len(body.joints), 1, 1))

    def put(name: str, rotation: np.ndarray) -> None:
        rotations[body.joint(name)] = rotation

    for name, share in _SPINE_SHARES.items():
        put(name, interpolate(turn["root"], turn["chest"], share))
    for name, share in _NECK_SHARES.items():
        put(name, interpolate(turn["chest"], turn["neck"], share))
    for side in ("left", "right"):
        for segment in LIMBS:
            put(f"{side}_{segment}", turn[f"{side}_{segment}"] @ align(limb(body, joints, side, segment), _DOWN))
        for name in ("ankle", "foot"):
            put(f"{side}_{name}", turn[f"{side}_ankle"])
        arm = limb(body, joints, side, "shoulder")
        swing = align(arm, turn["chest"].T @ rotations[body.joint(f"{side}_shoulder")] @ arm)
        put(f"{side}_collar", turn["chest"] @ interpolate(np.eye(3), swing, _COLLAR_SHARE))
        hand = pose.left_hand if (side == "left") != pose.mirrored else pose.right_hand
        for name, rotation in _hand_rotations(body, joints, side, hand).items():
            put(name, rotations[body.joint(f"{side}_wrist")] @ rotation)
    if body.kind == "smplx":
        put("jaw", turn["neck"] @ matrix_from_rotvec(np.array([np.radians(pose.jaw_deg), 0, 0])))
        left, up = np.radians(pose.gaze_deg) * [-1 if pose.mirrored else 1, 1]
        look = matrix_from_rotvec(np.array([0, 0, left])) @ matrix_from_rotvec(np.array([-up, 0, 0]))
        for side in ("left", "right"):
            put(f"{side}_eyeball", turn["neck"] @ look)
    return rotations


def bend_toes(body: SmplBody, rotations: np.ndarray, positions: np.ndarray) -> None:
    """Lay the toes of `rotations` [J,3,3] flat, in place, where a foot stands on its ball.

    Args:
        positions: [J,3] m. Toes that are higher than _TOE_REACH_M above the lowest joint stay straight.
    """
    lowest_z = positions[:, 2].min()
    for side in ("left", "right"):
        toe, foot = body.joint(f"{side}_foot"), rotations[body.joint(f"{side}_ankle")]
        near = 1 - np.clip((positions[toe, 2] - lowest_z) / _TOE_REACH_M, 0, 1)
        pointing = np.arcsin(np.clip((foot @ np.array([0.0, 1.0, 0.0]))[2], -1, 1))
        rotations[toe] = foot @ matrix_from_rotvec(np.array([-near * np.clip(pointing, 0, _MOST_TOE_BEND_RAD), 0, 0]))


def limb(body: SmplBody, joints: np.ndarray, side: str, segment: str) -> np.ndarray:
    first, last = (joints[body.joint(f"{side}_{end}")] for end in LIMBS[segment])
    return last - first


def _hand_rotations(body: SmplBody, joints: np.ndarray, side: str, hand: HandPose) -> dict[str, np.ndarray]:
    """What a hand's joints [3,3] do relative to the wrist, in the T-pose, where the palm looks down."""
    if body.kind == "smpl":
        return {f"{side}_hand": np.eye(3)}
    outwards = 1.0 if side == "left" else -1.0
    rotations = {}
    for number, finger in enumerate(("thumb", "index", "middle", "ring", "pinky")):
        along = joints[body.joint(f"{side}_{finger}1")] - joints[body.joint(f"{side}_wrist")]
        if finger == "thumb":
            turn = matrix_from_rotvec(np.array([_THUMB_ACROSS_RAD * hand.thumb_across, 0, 0]))
            axis, bends = np.array([0, 0, outwards]), _THUMB_CURLS_RAD
        else:
            apart = _SPREADS_RAD[finger] * hand.spread * (1 - max(hand.curl[number], 0))
            turn = matrix_from_rotvec(np.array([0, 0, -outwards * apart]))
            axis, bends = np.cross(along, _DOWN), _FINGER_CURLS_RAD
        for link, bend in enumerate(bends, 1):
            turn = turn @ matrix_from_rotvec(axis / np.linalg.norm(axis) * bend * hand.curl[number])
            rotations[f"{side}_{finger}{link}"] = turn
    return rotations
