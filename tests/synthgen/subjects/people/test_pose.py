from dataclasses import replace

import numpy as np
import pytest

from posecore.skeleton import load_skeleton
from synthgen.subjects.people.body import HumanShape, shape_body
from synthgen.subjects.people.clothes import Wardrobe
from synthgen.subjects.people.free_pose import FreePose
from synthgen.subjects.people.mocap import DRIVERS, FIGURE_LEG_M, clip_moment
from synthgen.subjects.people.paint import Complexion
from synthgen.subjects.people.pose import HandPose, HumanPose, bone_rotations, leg_length, pose_fingers_and_eyes, strike
from synthgen.subjects.people.subject import pose_human
from synthgen.subjects.skinning import bone_positions

OPEN = HandPose((0.0,) * 5, 0.0, 0.0)
CURLED = HandPose((0.3, 0.45, 0.45, 0.45, 0.45), 0.0, 1.0)


def subject(library, pose):
    return pose_human(library.human, library.clips, HumanShape(), Wardrobe(), Complexion(), pose)


def joint(posed, name):
    return posed.joints_world[load_skeleton("human").index(name)]


def bones(library, pose):
    """Posed heads of the bones by name, the body as at rest but for fingers and eyes, and their rotations."""
    body = library.human
    _, heads = shape_body(body, HumanShape())
    rotations = np.tile(np.eye(3), (len(body.bone_names), 1, 1))
    pose_fingers_and_eyes(body, heads, rotations, pose)
    positions = bone_positions(heads, body.bone_parents, rotations)
    return dict(zip(body.bone_names, positions, strict=True)), dict(zip(body.bone_names, rotations, strict=True))


def test_curling_brings_the_fingertips_to_the_palm_and_not_to_the_back_of_the_hand(library):
    """In the A-pose the palms face down and inwards."""
    for end, inwards in (("L", -1), ("R", 1)):
        opened, _ = bones(library, HumanPose("walk", 0.0, left_hand=OPEN, right_hand=OPEN))
        closed, _ = bones(library, HumanPose("walk", 0.0, left_hand=CURLED, right_hand=CURLED))
        for finger in range(2, 6):
            tip = f"finger{finger}-3.{end}"
            moved = closed[tip] - opened[tip]
            assert moved @ [inwards, 0, -1] > 0.01, tip
            to_wrist = [np.linalg.norm(hand[tip] - hand[f"wrist.{end}"]) for hand in (opened, closed)]
            assert to_wrist[1] < 0.95 * to_wrist[0], tip


def test_spreading_takes_index_and_little_finger_apart(library):
    narrow, _ = bones(library, HumanPose("walk", 0.0, left_hand=OPEN, right_hand=OPEN))
    wide, _ = bones(library, HumanPose("walk", 0.0, left_hand=replace(OPEN, spread=1.0), right_hand=OPEN))

    def gap(heads, end):
        return np.linalg.norm(heads[f"finger2-3.{end}"] - heads[f"finger5-3.{end}"])

    assert gap(wide, "L") > gap(narrow, "L") + 0.02
    assert gap(wide, "R") == pytest.approx(gap(narrow, "R"))


def test_a_mirror_swaps_hands_and_gaze(library):
    pose = HumanPose("walk", 0.0, left_hand=CURLED, right_hand=OPEN, gaze_deg=(20.0, 10.0))
    straight, looking = bones(library, pose)
    mirrored, looking_back = bones(library, replace(pose, mirrored=True))
    for name in ("finger2-3", "finger1-3"):
        assert mirrored[f"{name}.R"] == pytest.approx(straight[f"{name}.L"] * [-1, 1, 1], abs=1e-6)
    ahead = np.array([0.0, -1.0, 0.0])
    sight = looking["eye.L"] @ ahead
    assert sight[0] > 0.3 and sight[2] > 0.1
    assert looking_back["eye.R"] @ ahead == pytest.approx(sight * [-1, 1, 1])


def test_a_blend_goes_from_one_clip_to_the_other_and_keeps_a_standing_pelvis_from_half_lying_down(library):
    walk = HumanPose("walk", 0.2)
    dance, lying = (replace(walk, blend_clip=clip, blend_time_s=0.5) for clip in ("dance_a", "getup_faceup"))
    none, whole = (strike(library.clips, replace(dance, blend_share=share)).drivers for share in (0.0, 1.0))
    assert none == pytest.approx(strike(library.clips, walk).drivers, abs=1e-9)
    elbow = DRIVERS.index("left_elbow")
    own = strike(library.clips, HumanPose("dance_a", 0.5)).drivers
    assert whole[elbow - 1].T @ whole[elbow] == pytest.approx(own[elbow - 1].T @ own[elbow], abs=1e-6)
    assert strike(library.clips, replace(lying, blend_share=0.5)).drivers[0] == pytest.approx(none[0], abs=1e-6)


def test_a_sequence_travels_with_the_clip_by_the_length_of_the_persons_legs(library):
    walk = library.clips["walk"]
    posed = [subject(library, HumanPose("walk", 0.0, elapsed_s=s)) for s in (0.0, 3 * walk.duration_s)]
    travelled = joint(posed[1], "pelvis") - joint(posed[0], "pelvis")
    _, heads = shape_body(library.human, HumanShape())
    expected = 3 * np.linalg.norm(clip_moment(walk, walk.duration_s).travel_m)
    scale = leg_length(library.human, heads) / FIGURE_LEG_M
    assert np.linalg.norm(travelled[:2]) == pytest.approx(scale * expected, rel=0.02)
    assert travelled[1] < -0.9 * np.linalg.norm(travelled)


def test_heading_turns_and_mirroring_mirrors_the_travel(library):
    pose = HumanPose("cartwheel", 0.0, elapsed_s=1.5)
    travel = strike(library.clips, pose).travel_legs
    assert np.linalg.norm(travel) > 0.5
    turned = strike(library.clips, replace(pose, heading_deg=90.0)).travel_legs
    assert turned == pytest.approx([-travel[1], travel[0]])
    assert strike(library.clips, replace(pose, mirrored=True)).travel_legs == pytest.approx(travel * [-1, 1])


def test_a_backflip_is_in_the_air_where_the_clip_is_and_all_else_touches_the_ground(library):
    flip = library.clips["backflip"]
    highest = flip.dt_s * flip.clearance_m.argmax()
    assert subject(library, HumanPose("backflip", highest)).vertices[:, 2].min() > 0.6
    for clip in ("walk", "crawl", "getup_faceup", "cartwheel"):
        assert subject(library, HumanPose(clip, 0.7)).vertices[:, 2].min() == pytest.approx(0, abs=1e-6)


def test_free_angles_keep_the_clips_arms_and_a_lying_body_lies(library):
    on_back = {"root": (-90.0, 0.0, 0.0), "chest": (0.0,) * 3, "neck": (0.0,) * 3}
    legs = {f"{side}_{joint}": (0.0,) * n for side in ("left", "right") for joint, n in (("hip", 3), ("knee", 1))}
    free = FreePose("lie_on_back", "clip", "clip", "ground", on_back | legs)
    posed = subject(library, HumanPose("walk", 0.2, free=free))
    lying = [joint(posed, name)[2] for name in ("pelvis", "neck", "left_knee", "right_knee", "head")]
    assert max(lying) < 0.3
    assert posed.vertices[:, 2].min() == pytest.approx(0, abs=1e-6)


def test_toes_bend_where_the_heel_rises(library):
    angles = {driver: (0.0,) * (1 if driver.endswith(("knee", "elbow")) else 3) for driver in DRIVERS}
    on_toes = {"left_ankle": (35.0, 0.0, 0.0), "right_ankle": (35.0, 0.0, 0.0)}
    skeleton = load_skeleton("human")
    bends_deg = []
    for change in ({}, on_toes):
        free = FreePose("stand", "hang", "hang", "clip", angles | change)
        posed = subject(library, HumanPose("walk", 0.0, free=free))
        toe = posed.rotations[skeleton.index("left_foot")]
        bends_deg.append(np.degrees(np.arccos(np.clip((np.trace(toe) - 1) / 2, -1, 1))))
    assert bends_deg[0] < 3
    assert 20 < bends_deg[1] < 40


def test_bones_without_a_turn_rest(library):
    """The A-pose's own directions: a body whose drivers are its rest directions does not move."""
    body = library.human
    _, heads = shape_body(body, HumanShape())
    hanging = bone_rotations(body, heads, np.tile(np.eye(3), (len(DRIVERS), 1, 1)))
    positions = dict(zip(body.bone_names, bone_positions(heads, body.bone_parents, hanging), strict=True))
    for upper, lower in (("upperarm01", "wrist"), ("upperleg01", "foot")):
        for end in "LR":
            limb = positions[f"{lower}.{end}"] - positions[f"{upper}.{end}"]
            assert limb / np.linalg.norm(limb) == pytest.approx([0, 0, -1], abs=0.01)
