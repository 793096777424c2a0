"""Chooses how people hold themselves: a moment of a clip, mixed, blended, or joint angles drawn by family."""

import numpy as np

from synthgen.randomness import Draws
from synthgen.recipe.human import PoseRecipe
from synthgen.subjects.free_pose import FreePose
from synthgen.subjects.human_pose import HandPose, HumanPose
from synthgen.subjects.mocap import DRIVERS
from synthgen.subjects.motion_files import clip_name
from synthgen.subjects.pose_families import ARMS, HANDS, POSTURES, Angles, Range

_ARM_JOINTS = tuple(name for name in DRIVERS if name.endswith(("shoulder", "elbow", "wrist")))
_OTHER_JOINTS = tuple(name for name in DRIVERS if name not in _ARM_JOINTS)


def sample_human_pose(
    pose: PoseRecipe, clip_durations_s: dict[str, float], heading_deg: float, moves: bool, draws: Draws
) -> HumanPose:
    """A pose.

    Args:
        moves: whether the frames of the scene follow it in time: free angles then get others to move towards.
    """
    clip, lower_clip, blend_clip = (
        clip_name(draws.choice(name, pose.clips)) for name in ("clip", "lower_clip", "blend_clip")
    )
    is_mixed, is_blended = (
        draws.chance("mixed_lower_body", pose.mixed_lower_body),
        draws.chance("blended", pose.blended),
    )
    sigma_rad = np.deg2rad(draws.number("jitter_deg", pose.jitter_deg))
    turns = draws.stream("jitter").normal(0, sigma_rad, (len(DRIVERS), 3)).tolist()
    free = _sample_free_pose(pose, draws.within("free")) if draws.chance("free", pose.free) else None
    gaze = draws.stream("gaze")
    return HumanPose(
        clip=clip,
        time_s=draws.uniform("time_s", 0, clip_durations_s[clip]),
        lower_clip=lower_clip if is_mixed else None,
        lower_time_s=draws.uniform("lower_time_s", 0, clip_durations_s[lower_clip]) if is_mixed else 0.0,
        blend_clip=blend_clip if is_blended else None,
        blend_time_s=draws.uniform("blend_time_s", 0, clip_durations_s[blend_clip]) if is_blended else 0.0,
        blend_share=draws.uniform("blend_share") if is_blended else 0.0,
        free=free,
        towards=_sample_variation(free, pose, draws.within("towards")) if free is not None and moves else None,
        jitter={driver: tuple(turn) for driver, turn in zip(DRIVERS, turns, strict=True) if driver != "root"},
        mirrored=draws.chance("mirrored", pose.mirrored),
        left_hand=_sample_hand(draws.choice("left_hand", pose.hands), draws.within("left_hand")),
        right_hand=_sample_hand(draws.choice("right_hand", pose.hands), draws.within("right_hand")),
        gaze_deg=tuple((gaze.uniform(-1, 1, 2) * [1, 0.5] * draws.number("gaze_deg", pose.gaze_deg)).tolist()),
        heading_deg=heading_deg,
    )


def _sample_free_pose(pose: PoseRecipe, draws: Draws) -> FreePose:
    return _sample_family(draws.choice("posture", pose.postures), pose, draws)


def _sample_variation(start: FreePose, pose: PoseRecipe, draws: Draws) -> FreePose:
    """The same posture with angles and arms drawn anew: what stands goes on standing on the same feet."""
    return _sample_family(start.posture, pose, draws)


def _sample_family(posture: str, pose: PoseRecipe, draws: Draws) -> FreePose:
    """Angles of a posture; "clip" leaves pelvis, legs, spine and head to the clip, and likewise for arms.

    With probability `one_sided` the right arm does something else than the left.
    """
    left_arms = draws.choice("arms", pose.arms)
    right_arms = draws.choice("right_arm", pose.arms) if draws.chance("one_sided", pose.one_sided) else left_arms
    angles: dict[str, tuple[float, ...]] = {}
    support = "clip"
    if posture != "clip":
        family = POSTURES[posture]
        support = family.support
        angles |= _sample_angles(_OTHER_JOINTS, family.angles, family.alike, draws.within("posture"))
    for side, name in (("left", left_arms), ("right", right_arms)):
        if name != "clip":
            joints = tuple(joint for joint in _ARM_JOINTS if joint.startswith(side))
            angles |= _sample_angles(joints, ARMS[name].angles, ARMS[name].alike, draws.within("arms"))
    arms = left_arms if left_arms == right_arms else f"{left_arms}, {right_arms}"
    return FreePose(posture, arms, support, angles)


def _sample_angles(joints: tuple[str, ...], ranges: Angles, alike: float, draws: Draws) -> dict[str, tuple[float, ...]]:
    result = {}
    for joint in joints:
        name = joint.removeprefix("left_").removeprefix("right_")
        low, high = np.array(ranges[joint] if joint in ranges else ranges[name]).T
        share = draws.stream(joint).uniform(size=len(low))
        if joint.startswith("right_") and joint not in ranges:
            share = alike * draws.stream(f"left_{name}").uniform(size=len(low)) + (1 - alike) * share
        result[joint] = tuple((low + share * (high - low)).tolist())
    return result


def _sample_hand(family: str, draws: Draws) -> HandPose:
    hand = HANDS[family]

    def within(name: str, ranges: tuple[Range, ...]) -> tuple[float, ...]:
        low, high = np.array(ranges).T
        return tuple(draws.stream(name).uniform(low, high).tolist())

    return HandPose(within("curl", hand.curl), *within("spread", (hand.spread, hand.thumb_across)))
