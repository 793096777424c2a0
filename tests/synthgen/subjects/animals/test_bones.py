"""Bones between stored joints are rigid: in any pose each is the same vector once its parent's rotation is undone."""

import numpy as np
import pytest

from posecore.skeleton import load_skeleton
from posecore.transforms import global_from_local
from synthgen.catalog import load_library
from synthgen.library import SubjectLibrary
from synthgen.recipe import load_recipe
from synthgen.subjects.animals.pose import QuadrupedPose
from synthgen.subjects.animals.shape import QuadrupedShape
from synthgen.subjects.animals.subject import pose_quadruped

SKELETON = load_skeleton("quadruped")
LIMBS = ("elbow", "carpus", "stifle", "hock")


@pytest.fixture(scope="module")
def library() -> SubjectLibrary:
    return load_library(load_recipe("quadrupeds"))


def bones(library: SubjectLibrary, base: str, pose: QuadrupedPose) -> np.ndarray:
    """The bones that end in LIMBS, turned back to rest, in the order of the skeleton."""
    animal = pose_quadruped(library.animals, QuadrupedShape(base=base), pose)
    turns = global_from_local(animal.rotations, SKELETON.parents)
    ends = [row for row, name in enumerate(SKELETON.joints) if name.endswith(LIMBS)]
    starts = [SKELETON.parents[row] for row in ends]
    vectors = animal.joints_world[ends] - animal.joints_world[starts]
    return np.einsum("jba,jb->ja", turns[starts], vectors)


@pytest.mark.parametrize("base", ["dog", "fox", "husky", "horse", "donkey", "cow", "stag", "alpaca"])
def test_limbs_are_rigid_whatever_neck_and_spine_do(library, base):
    source = "wolf" if base == "dog" else base
    standing = bones(library, base, QuadrupedPose(f"{source}/walk", 0.0))
    for pose in (
        QuadrupedPose(f"{source}/gallop", 0.3),
        QuadrupedPose(f"{source}/eat", 0.5),
        QuadrupedPose(f"{source}/walk", 0.7, head_yaw_deg=40, head_pitch_deg=30, spine_bend_deg=15),
    ):
        off = np.linalg.norm(bones(library, base, pose) - standing, axis=1)
        assert (off < 0.05 * np.linalg.norm(standing, axis=1)).all()
