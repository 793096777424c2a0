"""Chooses how people hold themselves: a moment of a clip, mixed, blended, or joint angles drawn by family."""

from dataclasses import replace

import numpy as np

from synthgen.randomness import Draws
from synthgen.recipe.human import PoseRecipe
from synthgen.subjects.people.free_pose import FreePose
from synthgen.subjects.people.mocap import DRIVERS
from synthgen.subjects.people.motion_files import clip_name
from synthgen.subjects.people.pose import HandPose, HumanPose
from synthgen.subjects.people.pose_families import ARMS, HANDS, POSTURES, Angles, Range

_VARIATION = 0.3  # of a sequence's free pose, as a share of the way to another draw
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
        towards=_sample_variation(free, draws.within("towards")) if free is not None and moves else None,
        jitter={driver: tuple(turn) for driver, turn in zip(DRIVERS, turns, strict=True) if driver != "root"},
        mirrored=draws.chance("mirrored", pose.mirrored),
        left_hand=_sample_hand(draws.choice("left_hand", pose.hands), draws.within("left_hand")),
        right_hand=_sample_hand(draws.choice("right_hand", pose.hands), draws.within("right_hand")),
        gaze_deg=tuple((gaze.uniform(-1, 1, 2) * [1, 0.5] * draws.number("gaze_deg", pose.gaze_deg)).tolist()),
        heading_deg=heading_deg,
    )


def _sample_free_pose(pose: PoseRecipe, draws: Draws) -> FreePose:
    """Families of pelvis and legs and of arms, and their angles; "clip" leaves them to the clip.

    With probability `one_sided` the right arm does something else than the left.
    """
    posture, left_arm = draws.choice("posture", pose.postures), draws.choice("arms", pose.arms)
    right_arm = draws.choice("right_arm", pose.arms) if draws.chance("one_sided", pose.one_sided) else left_arm
    return _sample_family(posture, left_arm, right_arm, draws)


def _sample_variation(start: FreePose, draws: Draws) -> FreePose:
    """The same families, and angles that differ by a share of what another draw differs by."""
    other = _sample_family(start.posture, start.left_arm, start.right_arm, draws)
    moved = {
        joint: tuple((np.array(angles) + _VARIATION * (np.array(other.angles_deg[joint]) - angles)).tolist())
        for joint, angles in start.angles_deg.items()
    }
    return replace(start, angles_deg=moved)


def _sample_family(posture: str, left_arm: str, right_arm: str, draws: Draws) -> FreePose:
    angles: dict[str, tuple[float, ...]] = {}
    support = "clip"
    if posture != "clip":
        family = POSTURES[posture]
        support = family.support
        angles |= _sample_angles(_OTHER_JOINTS, family.angles, family.alike, draws.within("posture"))
    for side, name in (("left", left_arm), ("right", right_arm)):
        if name != "clip":
            joints = tuple(joint for joint in _ARM_JOINTS if joint.startswith(side))
            angles |= _sample_angles(joints, ARMS[name].angles, ARMS[name].alike, draws.within("arms"))
    return FreePose(posture, left_arm, right_arm, support, angles)


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
