import numpy as np
import pytest

from synthgen.subjects.mesh import cut, joint_depths, vertex_normals


def test_cutting_a_sheet_leaves_a_straight_rim_where_the_field_is_zero():
    x, y = np.meshgrid(np.arange(5.0), np.arange(5.0))
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(25)], 1)
    corner = (np.arange(4)[:, None] * 5 + np.arange(4)).ravel()
    faces = np.stack([corner, corner + 1, corner + 6, corner + 5], 1)
    kept, kept_faces = cut(vertices, faces, vertices[:, 0] - 2.3)
    assert kept[:, 0].max() == pytest.approx(2.3)
    assert len(kept_faces) == 12
    assert vertex_normals(kept, kept_faces) == pytest.approx(np.tile([0, 0, 1], (len(kept), 1)))


def test_a_joint_in_the_middle_of_a_sphere_lies_one_radius_deep():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert joint_depths(np.zeros((1, 3)), points) == pytest.approx([1], abs=1e-6)


def test_a_joint_on_the_surface_lies_at_the_nearest_distance():
    square = np.array([[x, y, 0.0] for x in np.linspace(-1, 1, 9) for y in np.linspace(-1, 1, 9)])
    assert joint_depths(np.array([[0.0, 0.0, -0.001]]), square) == pytest.approx([0.001], abs=1e-4)
