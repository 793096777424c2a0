import numpy as np

from synthgen.rays import RayMesh, split_quads

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)


def test_quads_split_into_two_triangles_and_triangles_stay() -> None:
    triangles, face_of = split_quads(np.array([[0, 1, 2, 3], [4, 5, 6, 6]]))
    assert triangles.tolist() == [[0, 1, 2], [4, 5, 6], [0, 2, 3]]
    assert face_of.tolist() == [0, 1, 0]


def test_the_first_hit_tells_distance_triangle_and_place() -> None:
    mesh = RayMesh(np.concatenate([SQUARE, SQUARE - [0, 0, 1]]), np.array([[0, 1, 2], [4, 5, 6]]))
    directions = np.array([[0, 0, -1], [0, 0, -2], [0, 0, 1], [9, 0, -1]])
    hits = mesh.first_hits(np.array([0.7, 0.2, 2]), directions)
    np.testing.assert_allclose(hits.distance, [2, 1, np.inf, np.inf])
    assert hits.triangle.tolist() == [0, 0, -1, -1]
    np.testing.assert_allclose(hits.weights[0] @ SQUARE[:3], [0.7, 0.2, 0], atol=1e-6)


def test_a_ray_is_blocked_only_within_its_reach() -> None:
    mesh = RayMesh(SQUARE, np.array([[0, 1, 2]]))
    directions = np.array([[0.0, 0, -1], [0, 0, 1]])
    assert mesh.blocked(np.array([0.7, 0.2, 2]), directions).tolist() == [True, False]
    assert mesh.blocked(np.array([0.7, 0.2, 2]), directions, reach=1.5).tolist() == [False, False]
