import numpy as np

from posecore.camera import Camera, look_at
from synthgen.engines.surfaces import pixel_directions
from synthgen.rays import RayMesh, SeenMesh, split_quads

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


def test_rays_through_few_or_many_pixels_meet_what_they_meet_in_the_whole_mesh() -> None:
    rng = np.random.default_rng(0)
    faces = np.arange(4 * 300).reshape(-1, 4)
    vertices = (np.repeat(rng.uniform(-1, 1, (300, 3)), 4, axis=0) + rng.uniform(-0.2, 0.2, (1200, 3))).astype("f4")
    vertices[:4] = [[-3, -9, -3], [3, -9, 3], [3, 1, 3], [-3, 1, -3]]  # reaches behind the camera
    K = np.array([[90.0, 0, 50], [0, 90, 50], [0, 0, 1]])
    camera = Camera(100, 100, K, look_at(np.array([0.0, -4, 0.5]), np.zeros(3)))
    triangles = split_quads(faces)[0]
    for count in (1, 60, 5000):
        pixels = rng.uniform(-20, 120, (count, 2))
        hits, corners = SeenMesh(camera, vertices, faces).first_hits(pixels)
        whole = RayMesh(vertices, triangles).first_hits(camera.position_world, pixel_directions(camera, pixels))
        np.testing.assert_allclose(hits.distance, whole.distance, rtol=1e-5)
        met = np.isfinite(whole.distance)
        assert met.any()
        np.testing.assert_array_equal(corners[met], triangles[whole.triangle[met]])
