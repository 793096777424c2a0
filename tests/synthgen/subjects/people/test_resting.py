import numpy as np
import pytest

from posecore.transforms import matrix_from_rotvec
from synthgen.subjects.people.resting import tip_to_rest

# A tall box, 0.4 x 0.2 x 1 m, its corners and points along its edges.
SIDES = np.array([0.4, 0.2, 1.0])
STEPS = np.linspace(0, 1, 6)
BOX = np.stack(np.meshgrid(STEPS, STEPS, STEPS), axis=-1).reshape(-1, 3) * SIDES - SIDES / 2


def tilted(x_deg, y_deg=0.0):
    return matrix_from_rotvec(np.radians([x_deg, y_deg, 0.0]))


def rest(turn, most_rad=np.pi):
    """How the box lies after it is turned and let go."""
    return tip_to_rest(BOX @ turn.T, np.zeros(3), most_rad) @ turn


def test_what_rests_stays():
    assert tip_to_rest(BOX, np.zeros(3), np.pi) == pytest.approx(np.eye(3))


def test_a_box_leaning_a_little_goes_back_onto_its_foot():
    assert rest(tilted(6, 3)) @ [0, 0, 1] == pytest.approx([0, 0, 1], abs=0.05)


def test_a_box_leaning_beyond_its_edge_falls_onto_its_side():
    fallen = rest(tilted(25))
    assert fallen @ [0, 0, 1] == pytest.approx([0, -1, 0], abs=0.03)


def test_what_would_topple_too_far_stays_as_it_is():
    assert rest(tilted(25), most_rad=0.5) == pytest.approx(tilted(25))


def test_any_figure_ends_with_its_mass_above_its_support_and_lower_than_before():
    rng = np.random.default_rng(0)
    for _ in range(30):
        points = rng.normal(0, (0.3, 0.2, 0.8), (300, 3))
        turn = tip_to_rest(points, np.zeros(3), np.pi)
        assert np.linalg.det(turn) == pytest.approx(1)
        assert -(points @ turn.T)[:, 2].min() <= -points[:, 2].min() + 1e-9
        assert tip_to_rest(points @ turn.T, np.zeros(3), np.pi) == pytest.approx(np.eye(3))
