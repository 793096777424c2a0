"""Legs that would go through one another."""

import numpy as np
import pytest

from posecore.transforms import matrix_from_rotvec
from synthgen.catalog import load_animals
from synthgen.subjects.animals.contact import clear_legs
from synthgen.subjects.animals.rig import BONE, PARENTS
from synthgen.subjects.animals.shape import QuadrupedShape, shape_animal
from synthgen.subjects.animals.species import species
from synthgen.subjects.animals.subject import QuadrupedPose, pose_quadruped
from synthgen.subjects.skinning import bone_positions


@pytest.fixture(scope="module")
def animals():
    return load_animals(["dog", "cow", "horse", "wolf"])


def _crossed(figure):
    """Both fore legs swung nearly to the middle, so that they meet."""
    rotations = np.tile(np.eye(3), (len(PARENTS), 1, 1))
    for end, sign in (("L", 1), ("R", -1)):
        legs = [BONE[f"{name}_{end}"] for name in ("upper_arm", "forearm", "hand", "finger")]
        top, paw = figure.heads[legs[0]], figure.heads[legs[-1]]
        rotations[legs] = matrix_from_rotvec(np.array([0, 0.9 * abs(paw[0]) / (top - paw)[2] * sign, 0]))
    return rotations, bone_positions(figure.heads, PARENTS, rotations)


@pytest.mark.parametrize("base", ["dog", "horse"])
def test_crossed_legs_are_found_and_swung_apart(animals, base):
    figure = shape_animal(animals.bodies[base], QuadrupedShape(base=base))
    rotations, positions = _crossed(figure)
    paws = [BONE["finger_L"], BONE["finger_R"]]
    before = np.linalg.norm(np.subtract(*positions[paws]))
    left = clear_legs(figure.spheres, rotations, positions)
    assert np.linalg.norm(np.subtract(*positions[paws])) > before
    assert left < 0.02 * figure.hip_m
    # What was turned is still a chain of stiff bones.
    for end in "LR":
        bone, parent = BONE[f"hand_{end}"], BONE[f"forearm_{end}"]
        stretch = figure.heads[bone] - figure.heads[parent]
        assert positions[bone] == pytest.approx(positions[parent] + rotations[parent] @ stretch, abs=1e-9)


def test_legs_that_do_not_meet_are_left_alone(animals):
    for name in ("dog", "horse", "bulldog", "pig", "elephant_calf"):
        shape = species()[name].shape
        assert pose_quadruped(animals, shape, QuadrupedPose()).self_penetration_m == 0
        figure = shape_animal(animals.bodies[shape.base], shape)
        rotations = np.tile(np.eye(3), (len(PARENTS), 1, 1))
        positions = figure.heads.copy()
        assert clear_legs(figure.spheres, rotations, positions) == 0
        assert np.array_equal(positions, figure.heads)
