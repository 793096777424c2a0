from typing import get_args

import numpy as np
import pytest

from synthgen.subjects.gaits import Gait, gait_angles
from synthgen.subjects.quadruped import JOINTS


@pytest.mark.parametrize("gait", get_args(Gait))
def test_every_gait_speaks_of_joints_that_exist_and_repeats_after_one_cycle(gait):
    start, end = gait_angles(gait, 0.0, 1.0), gait_angles(gait, 1.0, 1.0)
    assert set(start) <= set(JOINTS)
    assert start == pytest.approx(end)


def test_a_trot_moves_diagonal_legs_together():
    for phase in (0.1, 0.4, 0.7):
        angles = gait_angles("trot", phase, 1.0)
        assert np.sign(angles["scapula_R_extend"]) != np.sign(angles["scapula_L_extend"])
        assert (angles["knee_L"] < 0) == (angles["elbow_R"] < 0) != (angles["knee_R"] < 0)


def test_without_stride_a_walk_stands():
    assert np.abs(list(gait_angles("walk", 0.3, 0.0).values())).max() < 4.1
