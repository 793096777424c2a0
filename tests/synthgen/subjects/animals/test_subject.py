"""The four-legged subject: real bases, fetched and baked on first use."""

from dataclasses import replace

import numpy as np
import pytest

from posecore.skeleton import load_skeleton
from posecore.transforms import global_from_local
from synthgen.catalog import fetch, load_animals
from synthgen.subjects.animals.bake import BASES
from synthgen.subjects.animals.dog_rig import read_dog
from synthgen.subjects.animals.gaits import GAITS
from synthgen.subjects.animals.pose import QuadrupedPose
from synthgen.subjects.animals.rig import BONE, PART_NAMES
from synthgen.subjects.animals.shape import QuadrupedShape, shape_animal
from synthgen.subjects.animals.species import species
from synthgen.subjects.animals.subject import AnimalLibrary, pose_quadruped

SKELETON = load_skeleton("quadruped")


@pytest.fixture(scope="module")
def animals() -> AnimalLibrary:
    fetch("body/horse")
    return load_animals(BASES)


def joint(subject, name):
    return subject.joints_world[SKELETON.index(name)]


@pytest.mark.parametrize("base", BASES)
def test_left_is_plus_x_when_facing_minus_y_and_all_four_paws_stand_on_the_ground(animals, base):
    subject = pose_quadruped(animals, QuadrupedShape(base=base), QuadrupedPose(), position_m=(1.0, -2.0))
    height_m = joint(subject, "withers")[2]
    for name in ("eye", "ear", "shoulder", "elbow", "front_paw", "hip", "knee", "back_paw", "hock", "front_hoof"):
        assert joint(subject, f"left_{name}")[0] > joint(subject, f"right_{name}")[0] + 0.02 * height_m
    assert joint(subject, "nose")[1] < joint(subject, "withers")[1] < joint(subject, "tail_tip")[1]
    for name in ("left_front_hoof", "right_front_hoof", "left_back_hoof", "right_back_hoof"):
        assert 0 <= joint(subject, name)[2] < 0.06 * height_m
    assert joint(subject, "throat")[1] < joint(subject, "neck")[1] < joint(subject, "withers")[1]
    assert subject.vertices[:, 2].min() == pytest.approx(0, abs=0.005)
    middle = sum(joint(subject, f"{side}_{name}") for side in ("left", "right") for name in ("shoulder", "hip")) / 4
    assert middle[:2] == pytest.approx([1, -2], abs=1e-6)


@pytest.mark.parametrize("base", BASES)
def test_points_on_the_middle_line_are_in_the_middle_and_pairs_lie_opposite_each_other(animals, base):
    rest = pose_quadruped(animals, QuadrupedShape(base=base), QuadrupedPose()).joints_rest
    withers_m = rest[SKELETON.index("withers")][2]
    for name in ("nose", "neck", "tail_root", "withers", "throat"):
        assert abs(rest[SKELETON.index(name)][0]) < 0.02 * withers_m
    mirrored = rest[list(SKELETON.swap)] * [-1, 1, 1]
    paired = [k for k, other in enumerate(SKELETON.swap) if other != k]
    assert np.abs(mirrored - rest)[paired].max() < 0.1 * withers_m


def test_at_rest_the_dog_has_the_rest_joints_of_its_skeleton_and_no_rotation(animals):
    subject = pose_quadruped(animals, QuadrupedShape(), QuadrupedPose())
    offsets = subject.joints_world - subject.joints_world.mean(0)
    assert offsets == pytest.approx(
        SKELETON.rest_m - SKELETON.rest_m.mean(0), abs=0.014
    )  # the mesh rests with an open mouth, ours is closed
    bent = global_from_local(subject.rotations, SKELETON.parents) @ subject.rotations[0].T
    assert np.abs(bent - np.eye(3)).max() < 0.02


def test_turning_the_head_to_the_left_moves_the_nose_to_the_left_and_raising_the_tail_lifts_its_tip(animals):
    for base in ("dog", "horse", "wolf"):
        shape = QuadrupedShape(base=base)
        still = pose_quadruped(animals, shape, QuadrupedPose())
        moved = pose_quadruped(animals, shape, QuadrupedPose(head_yaw_deg=40, tail_lift_deg=60, tail_swing_deg=40))
        assert joint(moved, "nose")[0] > joint(still, "nose")[0] + 0.05
        assert joint(moved, "tail_tip")[2] > joint(still, "tail_tip")[2] + 0.1
        assert joint(moved, "tail_tip")[0] > joint(still, "tail_tip")[0] + 0.03


@pytest.mark.parametrize("gait", GAITS)
def test_every_gait_and_stance_touches_the_ground_fore_and_hind_or_is_in_the_air_for_a_moment(animals, gait):
    for base in ("dog", "cow", "fox"):
        lows = []
        for phase in (0.05, 0.3, 0.55, 0.8):
            subject = pose_quadruped(animals, QuadrupedShape(base=base), QuadrupedPose(gait, phase))
            assert np.isfinite(subject.vertices).all()
            middle_y = (joint(subject, "left_hip")[1] + joint(subject, "left_shoulder")[1]) / 2
            halves = (subject.vertices[:, 1] < middle_y, subject.vertices[:, 1] > middle_y)
            lows += [subject.vertices[half, 2].min() for half in halves]
        assert min(lows) == pytest.approx(0, abs=0.01)
        assert max(lows) < (0.25 if gait == "gallop" else 0.05) * joint(subject, "withers")[2]


@pytest.mark.parametrize("name", species())
def test_every_species_is_a_sound_mesh_that_stands_level(animals, name):
    shape = species()[name].shape
    subject = pose_quadruped(animals, shape, QuadrupedPose())
    assert np.array_equal(np.unique(subject.faces), np.arange(len(subject.vertices)))
    assert (subject.uv is None) == (shape.base != "dog")
    assert subject.face_parts.max() < len(PART_NAMES)
    feet = [joint(subject, f"{side}_{end}_hoof")[2] for side in ("left", "right") for end in ("front", "back")]
    assert max(feet) < 0.08 * joint(subject, "withers")[2]
    body = animals.bodies[shape.base]
    level = shape_animal(body, shape).heads
    assert abs(level[BONE["foot_L"], 2] - level[BONE["foot_R"], 2]) < 0.02 * level[BONE["thigh_L"], 2]


def test_longer_legs_raise_the_withers_and_leave_the_length_of_the_trunk(animals):
    short = pose_quadruped(animals, QuadrupedShape(), QuadrupedPose())
    long = pose_quadruped(animals, replace(QuadrupedShape(), leg_length=1.3), QuadrupedPose())
    assert joint(long, "withers")[2] > joint(short, "withers")[2] + 0.05

    def trunk(subject):
        return np.linalg.norm(joint(subject, "withers") - joint(subject, "tail_root"))

    assert trunk(long) == pytest.approx(trunk(short), abs=0.005)


def test_builds_and_poses_outside_the_range_are_refused_by_name():
    with pytest.raises(ValueError, match=r"QuadrupedShape.coat_m=0.5"):
        QuadrupedShape(coat_m=0.5)
    with pytest.raises(ValueError, match=r"QuadrupedShape.base='unicorn'"):
        QuadrupedShape(base="unicorn")
    with pytest.raises(ValueError, match=r"QuadrupedPose.motion='amble'"):
        QuadrupedPose(motion="amble")
    with pytest.raises(ValueError, match="no bone 'knee'"):
        QuadrupedPose(jitter={"knee": (0.1, 0.0, 0.0)})


def test_a_folder_without_the_dog_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"dog.xml: pass dm_control/suite"):
        read_dog(tmp_path)
