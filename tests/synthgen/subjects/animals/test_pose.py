"""Poses of animals, on real bases and clips."""

from dataclasses import replace

import numpy as np
import pytest

from posecore.skeleton import load_skeleton
from synthgen.catalog import load_animals
from synthgen.rays import RayMesh
from synthgen.subjects.animals.bake import BASES
from synthgen.subjects.animals.gaits import GAITS
from synthgen.subjects.animals.pose import ACTIONS, LEGS, QuadrupedPose, clip_sources, cycle_s, strike
from synthgen.subjects.animals.rig import BONE, MIRRORED
from synthgen.subjects.animals.shape import QuadrupedShape
from synthgen.subjects.animals.species import species
from synthgen.subjects.animals.subject import pose_quadruped

SKELETON = load_skeleton("quadruped")
PAWS = ("left_front_paw", "right_front_paw", "left_back_paw", "right_back_paw")


@pytest.fixture(scope="module")
def animals():
    return load_animals(BASES)


def joint(subject, name):
    return subject.joints_world[SKELETON.index(name)]


def test_every_animal_can_do_every_action(animals):
    for base in BASES:
        for action in ACTIONS:
            own, of_all = clip_sources(action, base)
            assert action in GAITS or own
            assert set(own) | set(of_all) <= set(animals.clips)


@pytest.mark.parametrize("name", ["dog", "lion", "wolf", "horse", "elephant_calf", "sheep"])
def test_no_action_bends_a_hind_leg_the_wrong_way_or_leaves_the_ground_for_good(animals, name):
    shape = species()[name].shape
    for action in ACTIONS:
        if action == "death":  # on its side
            continue
        own, of_all = clip_sources(action, shape.base)
        heights = []
        for motion in {*own[:1], *of_all[-1:], *({action} & set(GAITS))}:
            for phase in (0.1, 0.45, 0.8):
                subject = pose_quadruped(animals, shape, QuadrupedPose(motion, phase))
                heights.append(subject.vertices[:, 2].min())
                assert np.isfinite(subject.vertices).all() and heights[-1] > -1e-5
                for side in ("left", "right"):
                    hip, stifle, hock = (joint(subject, f"{side}_{part}")[1:] for part in ("hip", "stifle", "hock"))
                    thigh, shin = stifle - hip, hock - stifle
                    forward = thigh[0] * shin[1] - thigh[1] * shin[0]  # the stifle lies before the line hip - hock
                    assert forward > -0.1 * np.linalg.norm(thigh) * np.linalg.norm(shin), (motion, phase, side)
        assert min(heights) < 0.05 * joint(subject, "withers")[2]


def test_a_leg_turns_as_its_joints_say(animals):
    """Joints of one leg: the elbow lies where the shoulder's rotation takes it, and so on down."""
    shape = species()["tiger"].shape
    subject = pose_quadruped(animals, shape, QuadrupedPose("wolf/gallop", 0.4, heading_deg=50, head_yaw_deg=30))
    globals_ = np.empty_like(subject.rotations)
    for row in _parents_first():
        parent = SKELETON.parents[row]
        globals_[row] = subject.rotations[row] if parent < 0 else globals_[parent] @ subject.rotations[row]
    for upper, lower in (("shoulder", "elbow"), ("hip", "stifle"), ("stifle", "hock")):
        for side in ("left", "right"):
            a, b = SKELETON.index(f"{side}_{upper}"), SKELETON.index(f"{side}_{lower}")
            expected = subject.joints_world[a] + globals_[a] @ (subject.joints_rest[b] - subject.joints_rest[a])
            assert subject.joints_world[b] == pytest.approx(expected, abs=1e-6)


def _parents_first():
    done: list[int] = []
    while len(done) < len(SKELETON.parents):
        done += [row for row, up in enumerate(SKELETON.parents) if row not in done and (up < 0 or up in done)]
    return done


def test_mirrored_is_the_pose_in_a_mirror(animals):
    heads = animals.bodies["wolf"].heads
    pose = QuadrupedPose("wolf/walk", 0.3)
    one, other = (strike(animals.clips, "wolf", heads, p).rotations for p in (pose, replace(pose, mirrored=True)))
    mirror = np.diag([-1.0, 1, 1])
    assert other == pytest.approx(mirror @ one[MIRRORED] @ mirror, abs=1e-9)
    assert np.abs(other - one).max() > 0.1


def test_wild_turns_are_brought_into_the_joints_limits(animals):
    heads = animals.bodies["dog"].heads
    wild = QuadrupedPose(jitter={"shin_L": (-3.0, 2.0, 2.0), "forearm_R": (3.0, 0.0, 0.0)}, head_yaw_deg=300)
    local = strike(animals.clips, "dog", heads, wild).rotations
    shin = local[BONE["thigh_L"]].T @ local[BONE["shin_L"]]
    assert np.degrees(np.arccos((np.trace(shin) - 1) / 2)) < 20  # a knee does not bend forwards
    neck = local[BONE["spine3"]].T @ local[BONE["neck1"]]
    assert np.degrees(np.arccos((np.trace(neck) - 1) / 2)) < 40


def test_a_clip_repeats_and_a_death_lasts(animals):
    heads = animals.bodies["cow"].heads

    def rotations(motion, elapsed_s):
        return strike(animals.clips, "cow", heads, QuadrupedPose(motion, 0.2, elapsed_s=elapsed_s)).rotations

    cycle = cycle_s(animals.clips, "cow/walk")
    assert rotations("cow/walk", cycle) == pytest.approx(rotations("cow/walk", 0), abs=1e-6)
    assert rotations("cow/death", 60) == pytest.approx(rotations("cow/death", 90))
    assert np.abs(rotations("cow/death", 60) - rotations("cow/death", 0)).max() > 0.3


@pytest.mark.parametrize("leg", LEGS)
def test_a_raised_leg_is_off_the_ground_and_the_others_are_on_it(animals, leg):
    for base in ("dog", "husky", "horse"):
        pose = QuadrupedPose(raised_leg=leg, raised_share=1)
        subject = pose_quadruped(animals, QuadrupedShape(base=base), pose)
        withers_m = joint(subject, "withers")[2]
        for paw in PAWS:
            rise_m = joint(subject, paw)[2] - subject.joints_rest[SKELETON.index(paw), 2]
            assert rise_m > 0.08 * withers_m if paw == f"{leg}_paw" else rise_m < 0.04 * withers_m


def _walk(animals, name, motion, num_steps=24, **pose):
    cycle = cycle_s(animals.clips, motion)
    moments = np.arange(num_steps + 1) * cycle / num_steps
    shape = species()[name].shape
    moved = [
        pose_quadruped(animals, shape, QuadrupedPose(motion, 0.2, moves=True, elapsed_s=float(s), **pose))
        for s in moments
    ]
    return np.array([subject.joints_world for subject in moved]), moved[0].joints_rest


@pytest.mark.parametrize(
    ("name", "motion", "least_standing"),
    [
        ("horse", "horse/walk", 0.2),
        ("cow", "cow/walk", 0.2),
        ("dog", "walk", 0.2),
        ("dog", "trot", 0.2),
        ("horse", "horse/gallop", 0.1),
        ("wolf", "wolf/gallop", 0.1),
        ("wolf", "wolf/leap", 0.04),
    ],
)
def test_who_walks_gets_on_and_paws_on_the_ground_stay_there(animals, name, motion, least_standing):
    joints, rest = _walk(animals, name, motion)
    withers = SKELETON.index("withers")
    height_m = rest[withers, 2]
    way = joints[-1, withers] - joints[0, withers]
    assert -way[1] > 0.5 * height_m and abs(way[0]) < 0.1 * height_m  # it faces -y
    paws = [SKELETON.index(paw) for paw in PAWS]
    stands = (joints[1:, paws, 2] - rest[paws, 2] < 0.01 * height_m) & (
        joints[:-1, paws, 2] - rest[paws, 2] < 0.01 * height_m
    )
    slides = np.linalg.norm(np.diff(joints[:, paws, :2], axis=0), axis=2)[stands]
    assert stands.mean() > least_standing
    assert slides.mean() < 0.003 * height_m


def test_the_way_follows_the_heading_and_who_idles_stays(animals):
    joints, rest = _walk(animals, "horse", "horse/walk", num_steps=8, heading_deg=90)
    withers = SKELETON.index("withers")
    assert joints[-1, withers, 0] - joints[0, withers, 0] > 0.5 * rest[withers, 2]
    joints, rest = _walk(animals, "horse", "horse/idle", num_steps=8)
    assert np.abs(joints[-1] - joints[0]).max() < 0.01 * rest[withers, 2]


@pytest.mark.parametrize("base", ["dog", "wolf", "horse", "cow"])
def test_painted_left_legs_are_left_from_behind_and_right_from_the_front(animals, base):
    """The marker: skin that bones of the left side move; its joints bear left names."""
    subject = pose_quadruped(
        animals, QuadrupedShape(base=base), QuadrupedPose(f"{'wolf' if base == 'dog' else base}/walk", 0.3)
    )
    weights = animals.bodies[base].weights
    paint = weights[:, [bone for name, bone in BONE.items() if name.endswith("_L")]].sum(1) > 0.9
    legs = subject.vertices[paint & (subject.vertices[:, 2] < 0.4 * joint(subject, "withers")[2])]
    # Seen from behind, looking along -y, x grows to the left of the picture.
    assert legs[:, 0].mean() > 0.02
    for name in PAWS:
        nearest = np.linalg.norm(subject.vertices - joint(subject, name), axis=1).argmin()
        assert paint[nearest] == name.startswith("left")


@pytest.mark.parametrize("name", species())
def test_joints_of_legs_and_neck_lie_inside_the_body_and_surface_points_on_it(animals, name):
    subject = pose_quadruped(animals, species()[name].shape, QuadrupedPose())
    faces = subject.faces
    triangles = np.concatenate([faces[:, :3], faces[faces[:, 3] != faces[:, 2]][:, [0, 2, 3]]])
    mesh = RayMesh(subject.vertices, triangles)
    directions = np.random.default_rng(0).normal(size=(100, 3))
    inner = ("neck", "shoulder", "elbow", "carpus", "hip", "knee", "stifle", "hock", "paw")
    height_m = joint(subject, "withers")[2]
    for row, label in enumerate(SKELETON.joints):
        if label.endswith(inner):
            meets = mesh.first_hits(np.tile(subject.joints_world[row], (100, 1)), directions)
            assert np.isfinite(meets.distance).mean() > 0.9, label
        elif not label.endswith("ear"):
            assert np.linalg.norm(subject.vertices - subject.joints_world[row], axis=1).min() < 0.035 * height_m, label
