"""The four-legged subject: the real dog, fetched on first use."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from posecore.skeleton import load_skeleton
from posecore.transforms import global_from_local
from synthgen.catalog import fetch
from synthgen.subjects.dog_rig import read_dog
from synthgen.subjects.gaits import Gait
from synthgen.subjects.quadruped import (
    JOINTS,
    PART_NAMES,
    SPECIES,
    QuadrupedBody,
    QuadrupedPose,
    QuadrupedShape,
    hinge_angles,
    pose_quadruped,
)

SKELETON = load_skeleton("quadruped")


@pytest.fixture(scope="module")
def body() -> QuadrupedBody:
    return QuadrupedBody.load(fetch("body/dog"))


def joint(subject, name):
    return subject.joints_world[SKELETON.index(name)]


def test_left_is_plus_x_when_facing_minus_y_and_all_four_paws_stand_on_the_ground(body):
    subject = pose_quadruped(body, QuadrupedShape(), QuadrupedPose(), position_m=(1.0, -2.0))
    for name in ("eye", "ear", "shoulder", "elbow", "front_paw", "hip", "knee", "back_paw", "hock", "front_hoof"):
        assert joint(subject, f"left_{name}")[0] > joint(subject, f"right_{name}")[0] + 0.02
    assert joint(subject, "nose")[1] < joint(subject, "withers")[1] < joint(subject, "tail_tip")[1]
    for name in ("left_front_hoof", "right_front_hoof", "left_back_hoof", "right_back_hoof"):
        assert 0 <= joint(subject, name)[2] < 0.03
    assert joint(subject, "throat")[1] < joint(subject, "neck")[1] < joint(subject, "withers")[1]
    assert subject.vertices[:, 2].min() == pytest.approx(0, abs=1e-6)
    middle = sum(joint(subject, f"{side}_{name}") for side in ("left", "right") for name in ("shoulder", "hip")) / 4
    assert middle[:2] == pytest.approx([1, -2])


def test_at_rest_the_dog_has_the_rest_joints_of_its_skeleton_and_no_rotation(body):
    as_modelled = QuadrupedPose(mouth_open=15 / 35)  # the mesh rests with its jaw 15 degrees open
    subject = pose_quadruped(body, QuadrupedShape(), as_modelled)
    offsets = subject.joints_world - subject.joints_world.mean(0)
    assert offsets == pytest.approx(SKELETON.rest_m - SKELETON.rest_m.mean(0), abs=0.002)
    bent = global_from_local(subject.rotations, SKELETON.parents) @ subject.rotations[0].T
    assert np.abs(bent - np.eye(3)).max() < 0.02


def test_the_rig_has_exactly_the_joints_that_poses_may_name(body):
    assert sorted(hinge.name for hinge in body.rig.joints) == sorted(JOINTS)
    with pytest.raises(ValueError, match="no joint 'knee'"):
        QuadrupedPose(jitter_deg={"knee": 3.0})


def test_hinges_stay_within_their_limits(body):
    wild = QuadrupedPose("gallop", 0.3, stride=2.0, head_yaw_deg=300, jitter_deg=dict.fromkeys(JOINTS, -200.0))
    angles = hinge_angles(body.rig, wild)
    for hinge, angle in zip(body.rig.joints, angles, strict=True):
        assert hinge.low_deg <= angle <= hinge.high_deg


def test_turning_the_head_to_the_left_moves_the_nose_to_the_left_and_raising_the_tail_lifts_its_tip(body):
    still = pose_quadruped(body, QuadrupedShape(), QuadrupedPose())
    moved = pose_quadruped(body, QuadrupedShape(), QuadrupedPose(head_yaw_deg=40, tail_lift_deg=60, tail_swing_deg=40))
    assert joint(moved, "nose")[0] > joint(still, "nose")[0] + 0.05
    assert joint(moved, "tail_tip")[2] > joint(still, "tail_tip")[2] + 0.1
    assert joint(moved, "tail_tip")[0] > joint(still, "tail_tip")[0] + 0.05


@pytest.mark.parametrize("gait", get_args(Gait))
def test_every_gait_touches_the_ground_fore_and_hind(body, gait):
    subject = pose_quadruped(body, QuadrupedShape(), QuadrupedPose(gait, 0.3))
    assert np.isfinite(subject.vertices).all()
    hips = joint(subject, "left_hip")[1] + joint(subject, "left_shoulder")[1]
    for part in (subject.vertices[:, 1] < hips / 2, subject.vertices[:, 1] > hips / 2):
        assert subject.vertices[part, 2].min() < 0.03


@pytest.mark.parametrize("species", sorted(SPECIES))
def test_every_species_is_a_sound_mesh_with_texture_coordinates(body, species):
    subject = pose_quadruped(body, SPECIES[species], QuadrupedPose("walk", 0.4))
    assert np.array_equal(np.unique(subject.faces), np.arange(len(subject.vertices)))
    assert subject.uv.shape == (len(subject.faces), 4, 2)
    assert subject.face_parts.max() < len(PART_NAMES)
    assert joint(subject, "withers")[2] == pytest.approx(0.55 * SPECIES[species].size, rel=0.35)


def test_longer_legs_raise_the_withers_and_leave_the_length_of_the_trunk(body):
    short = pose_quadruped(body, QuadrupedShape(), QuadrupedPose())
    long = pose_quadruped(body, replace(QuadrupedShape(), leg_length=1.3), QuadrupedPose())
    assert joint(long, "withers")[2] > joint(short, "withers")[2] + 0.05

    def trunk(subject):
        return np.linalg.norm(joint(subject, "withers") - joint(subject, "tail_root"))

    assert trunk(long) == pytest.approx(trunk(short), abs=0.005)


def test_builds_outside_the_range_are_refused_by_name():
    with pytest.raises(ValueError, match=r"QuadrupedShape.coat_m=0.5"):
        QuadrupedShape(coat_m=0.5)
    with pytest.raises(ValueError, match=r"QuadrupedPose.gait='amble'"):
        QuadrupedPose(gait="amble")


def test_a_folder_without_the_dog_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"dog.xml: pass dm_control/suite"):
        read_dog(tmp_path)
