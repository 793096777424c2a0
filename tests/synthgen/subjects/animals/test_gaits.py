import numpy as np
import pytest

from synthgen.catalog import fetch
from synthgen.subjects.animals.dog_rig import read_dog
from synthgen.subjects.animals.gaits import GAITS, gait_angles, gait_clearances


@pytest.mark.parametrize("gait", GAITS)
def test_every_gait_speaks_of_joints_that_exist_and_repeats_after_one_cycle(gait):
    start, end = gait_angles(gait, 0.0, 1.0), gait_angles(gait, 1.0, 1.0)
    assert set(start) <= {hinge.name for hinge in read_dog(fetch("body/dog")).joints}
    assert start == pytest.approx(end)


def test_only_a_gallop_leaves_the_ground_with_both_paws_of_a_pair_for_long():
    highest = {gait: max(max(gait_clearances(gait, phase / 20)) for phase in range(20)) for gait in GAITS}
    assert highest["gallop"] > 0.05
    assert highest["stand"] == highest["walk"] == 0


def test_a_trot_moves_diagonal_legs_together():
    for phase in (0.1, 0.4, 0.7):
        angles = gait_angles("trot", phase, 1.0)
        assert np.sign(angles["scapula_R_extend"]) != np.sign(angles["scapula_L_extend"])
        assert (angles["knee_L"] < 0) == (angles["elbow_R"] < 0) != (angles["knee_R"] < 0)


def test_without_stride_a_walk_stands():
    assert np.abs(list(gait_angles("walk", 0.3, 0.0).values())).max() < 4.1
