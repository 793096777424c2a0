"""Mouths and horns that the packaged bases are given."""

import numpy as np
import pytest

from posecore.skeleton import load_skeleton
from synthgen.catalog import load_animals
from synthgen.subjects.animals.bake import BASES
from synthgen.subjects.animals.pose import QuadrupedPose
from synthgen.subjects.animals.rig import BONE, PART_NAMES
from synthgen.subjects.animals.shape import QuadrupedShape
from synthgen.subjects.animals.species import species
from synthgen.subjects.animals.subject import pose_quadruped
from synthgen.subjects.mesh import rim_edges

SKELETON = load_skeleton("quadruped")
MOUTH, HORNS, UDDER, FUR = (PART_NAMES.index(name) for name in ("mouth", "horns", "udder", "fur"))


@pytest.fixture(scope="module")
def animals():
    return load_animals(BASES)


def shown_area(subject, part):
    """How much of a part looks out of the head, from a camera before the animal: area of its faces that look ahead."""
    corners = subject.vertices[subject.faces[subject.face_parts == part]]
    across = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    return np.maximum(-across[:, 1], 0).sum() / 2


@pytest.mark.parametrize("base", BASES)
def test_a_mouth_opens_downwards_and_leaves_the_rest_of_the_animal_alone(animals, base):
    shape = QuadrupedShape(base=base)
    shut, ajar, wide = (pose_quadruped(animals, shape, QuadrupedPose(mouth_open=share)) for share in (0, 0.5, 1))
    jaw = animals.bodies[base].weights[:, BONE["jaw"]]
    moved = np.linalg.norm(wide.vertices - shut.vertices, axis=1)
    assert moved[jaw == 0].max() < 1e-5
    chin = jaw > 0.9
    withers_m = shut.joints_rest[SKELETON.index("withers"), 2]
    drops = [(shut.vertices - subject.vertices)[chin, 2].max() / withers_m for subject in (ajar, wide)]
    assert drops[1] > drops[0] > 0.02
    nose = SKELETON.index("nose")
    np.testing.assert_allclose(wide.joints_world[nose], shut.joints_world[nose], atol=0.002)
    assert shown_area(wide, MOUTH) > shown_area(shut, MOUTH)


@pytest.mark.parametrize("base", [base for base in BASES if base != "dog"])
def test_shut_lips_meet_and_the_cut_leaves_no_hole(animals, base):
    body = animals.bodies[base]
    inside = np.unique(body.faces[body.face_parts == MOUTH])
    upper = inside[body.weights[inside, BONE["jaw"]] == 0]
    lower = inside[body.weights[inside, BONE["jaw"]] > 0.5]
    assert len(upper) > 10
    gaps = np.linalg.norm(body.vertices[upper][:, None] - body.vertices[lower], axis=2).min(1)
    assert gaps.max() < 1e-6
    # Of the mouth only the tongue has an open rim, and that lies between the lips.
    rim = np.unique(rim_edges(body.faces))
    in_mouth = np.intersect1d(rim, inside)
    assert len(in_mouth) and not np.isin(in_mouth, np.unique(body.faces[body.face_parts == FUR])).any()


def test_goats_and_rams_have_horns_that_deer_and_sheep_have_not(animals):
    heights = {}
    for name in ("deer", "goat", "alpaca", "sheep", "ram"):
        subject = pose_quadruped(animals, species()[name].shape, QuadrupedPose())
        horns = np.unique(subject.faces[subject.face_parts == HORNS])
        eye_m = subject.joints_world[SKELETON.index("left_eye"), 2]
        left = subject.vertices[horns][subject.vertices[horns, 0] > 0]
        assert len(left) == len(horns) / 2
        heights[name] = np.ptp(left, axis=0).max() / eye_m
    assert max(heights["deer"], heights["alpaca"], heights["sheep"]) < 0.01
    assert min(heights["goat"], heights["ram"]) > 0.15


def test_horns_turn_with_the_head(animals):
    shape = species()["ram"].shape
    still, turned = (pose_quadruped(animals, shape, QuadrupedPose(head_yaw_deg=yaw)) for yaw in (0, 40))
    horns = np.unique(still.faces[still.face_parts == HORNS])
    spread = [
        np.linalg.norm(subject.vertices[horns] - subject.vertices[horns].mean(0), axis=1) for subject in (still, turned)
    ]
    np.testing.assert_allclose(*spread, atol=1e-4)
    assert turned.vertices[horns, 0].mean() > still.vertices[horns, 0].mean() + 0.02


def test_who_has_no_udder_shows_none(animals):
    cow, pig = (pose_quadruped(animals, species()[name].shape, QuadrupedPose()) for name in ("cow", "pig"))
    assert (cow.face_parts == UDDER).any() and not (pig.face_parts == UDDER).any()
