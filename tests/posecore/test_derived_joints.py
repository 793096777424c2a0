from dataclasses import replace

import numpy as np
import pytest

from posecore.camera import project
from posecore.derived_joints import derive_joints, derived_names
from posecore.errors import UserError
from posecore.sample import HIDDEN_BY_OTHER, HIDDEN_BY_SELF, OUTSIDE, VISIBLE
from posecore.skeleton import load_skeleton
from tests.posecore.samples import make_sample

HUMAN, COCO, H36M = (load_skeleton(name) for name in ("human", "coco17", "h36m17"))


def test_joints_of_the_stored_skeleton_stay_as_they_are() -> None:
    sample = make_sample()
    joints = derive_joints(sample.subjects[0], HUMAN, sample.camera)
    assert joints.joints_px is sample.subjects[0].joints_px


@pytest.mark.parametrize("skeleton", [COCO, H36M], ids=lambda skeleton: skeleton.name)
def test_derived_joints_project_exactly(skeleton) -> None:
    sample = make_sample()
    joints = derive_joints(sample.subjects[0], skeleton, sample.camera)
    assert np.allclose(project(sample.camera, joints.joints_world_m), joints.joints_px, atol=1e-9)


def test_a_joint_is_as_visible_as_the_worst_that_it_is_made_of() -> None:
    sample = make_sample()
    subject = sample.subjects[0]
    visibility = np.full(HUMAN.num_joints, VISIBLE, np.uint8)
    single = COCO.points[COCO.index("left_knee")]
    visibility[int(np.argmax(single))] = HIDDEN_BY_SELF
    changed = replace(subject, visibility=visibility)
    derived = derive_joints(changed, COCO, sample.camera)
    assert derived.visibility[COCO.index("left_knee")] == HIDDEN_BY_SELF
    assert derived.visibility[COCO.index("right_knee")] == VISIBLE


def test_what_is_outside_follows_from_the_derived_joint_itself() -> None:
    sample = make_sample()
    subject = replace(sample.subjects[0], visibility=np.zeros(HUMAN.num_joints, np.uint8))
    joints = derive_joints(subject, COCO, sample.camera)
    inside = ((joints.joints_px >= 0) & (joints.joints_px < 64)).all(axis=1)
    assert (joints.visibility[inside] == HIDDEN_BY_OTHER).all() and (joints.visibility[~inside] == OUTSIDE).all()


def test_an_animal_has_no_coco_joints_and_the_error_says_what_it_has() -> None:
    sample = make_sample()
    subject = replace(sample.subjects[0], skeleton="quadruped", species="dog")
    with pytest.raises(UserError, match="in which this dog is stored; choose one of quadruped, ap10k17"):
        derive_joints(subject, COCO, sample.camera)
    assert derived_names("human") == ["human", "coco17", "h36m17", "smpl24"]
