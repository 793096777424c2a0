"""Welding, quads and subdivision, on a cube."""

import numpy as np
import pytest

from synthgen.subjects.animals.surface import quads_of, smooth_surface, subdivide, weld

CORNERS = np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)], float)
CUBE = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]])


def test_one_step_makes_of_a_cube_what_catmull_and_clark_say():
    values, faces, origin = subdivide(CORNERS, CUBE)
    assert values.shape == (8 + 6 + 12, 3) and faces.shape == (24, 4)
    assert np.bincount(origin).tolist() == [4] * 6
    # A corner goes to (mean of 3 faces + 2 x mean of 3 edges) / 3, an edge's middle to the mean of ends and faces.
    assert values[:8] == pytest.approx(CORNERS * 5 / 9)
    assert values[8:14] == pytest.approx(CORNERS[CUBE].mean(1))
    assert sorted(np.abs(values[14:]).max(1)) == pytest.approx([0.75] * 12)


def test_faces_keep_their_side_out_and_share_all_edges():
    values, faces, _ = smooth_surface(CORNERS, CUBE, 2, 0.0)
    across = np.cross(values[faces[:, 2]] - values[faces[:, 0]], values[faces[:, 3]] - values[faces[:, 1]])
    assert ((across * values[faces].mean(1)).sum(1) > 0).all()
    edges = np.sort(np.concatenate([np.stack([faces[:, k], faces[:, (k + 1) % 4]], 1) for k in range(4)]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_triangles_and_attributes_come_along():
    pyramid = np.array([[0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [-1, -1, 0, 0]], float)
    faces = np.array([[0, 1, 2, 2], [0, 2, 3, 3], [0, 3, 1, 1], [1, 3, 2, 2]])
    values, quads, _ = subdivide(pyramid, faces)
    assert len(quads) == 12 and len(values) == 4 + 4 + 6
    assert values[:, 3] == pytest.approx(values[:, 2])  # an attribute that is the height stays the height
    assert values[:, 3].min() >= 0


def test_a_surface_may_keep_close_to_its_corners():
    loose, *_ = smooth_surface(CORNERS, CUBE, 2, 0.0)
    tight, *_ = smooth_surface(CORNERS, CUBE, 2, 1.0)
    far = [np.linalg.norm(surface[:8] - CORNERS, axis=1).max() for surface in (loose, tight)]
    assert far[1] < 0.4 * far[0]


def test_a_border_stays_a_border():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    values, faces, _ = subdivide(square, np.array([[0, 1, 2, 3]]))
    assert np.isfinite(values).all() and len(faces) == 4
    assert values[:, :2].min() >= 0 and values[:, :2].max() <= 1


def test_doubled_vertices_become_one_and_split_quads_whole_again():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1e-6], [1, 1, 0], [0, 1, 0]], float)
    first, group = weld(vertices, 1e-3)
    assert len(first) == 4 and group[0] == group[3] and group[2] == group[4]
    triangles = group[np.array([[0, 1, 2], [3, 4, 5]])]
    faces, labels = quads_of(triangles, np.tile([0.0, 0, 1], (2, 1)), np.array(["a", "a"]))
    assert len(faces) == 1 and len(set(faces[0])) == 4 and labels.tolist() == ["a"]
    apart, _ = quads_of(triangles, np.tile([0.0, 0, 1], (2, 1)), np.array(["a", "b"]))
    assert len(apart) == 2 and (apart[:, 2] == apart[:, 3]).all()
