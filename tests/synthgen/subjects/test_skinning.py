import numpy as np
import pytest

from posecore.transforms import matrix_from_rotvec
from synthgen.subjects.skinning import bone_positions, skin

HEADS = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 2]], float)
PARENTS = np.array([-1, 0, 1])


def test_a_child_hangs_on_its_turned_parent():
    quarter = matrix_from_rotvec(np.array([0, np.pi / 2, 0]))
    rotations = np.stack([quarter, np.eye(3), np.eye(3)])
    assert bone_positions(HEADS, PARENTS, rotations) == pytest.approx(np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1]]))


def test_no_rotation_leaves_vertices_where_they_rest():
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(50, 3)).astype(np.float32)
    weights = rng.dirichlet(np.ones(3), 50).astype(np.float32)
    assert skin(vertices, weights, HEADS, np.tile(np.eye(3), (3, 1, 1)), HEADS) == pytest.approx(vertices, abs=1e-6)


def test_a_vertex_of_two_bones_goes_to_the_weighted_mean_of_where_each_would_take_it():
    half_turn = matrix_from_rotvec(np.array([0, 0, np.pi]))
    rotations = np.stack([np.eye(3), half_turn, half_turn])
    vertices = np.array([[1, 0, 1.5]], np.float32)
    posed = skin(vertices, np.array([[0.25, 0.75, 0]], np.float32), HEADS, rotations, HEADS)
    assert posed == pytest.approx(np.array([[0.25 * 1 + 0.75 * -1, 0, 1.5]]), abs=1e-6)
