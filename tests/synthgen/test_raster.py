import numpy as np

from posecore.camera import Camera, look_at, project
from synthgen.raster import face_normals, paint_faces

K = np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]])
CAMERA = Camera(100, 100, K, look_at(np.array([0, -2.0, 0]), np.zeros(3)))


def square(half: float, y: float) -> np.ndarray:
    return np.array([[-half, y, -half], [half, y, -half], [half, y, half], [-half, y, half]])


def test_a_square_covers_the_pixels_that_projection_says() -> None:
    seen = paint_faces(CAMERA, square(0.5, 0.0), np.array([[0, 1, 2, 3]])) == 0
    corners = project(CAMERA, square(0.5, 0.0))
    assert corners.min() == 25 and corners.max() == 75
    assert 0 <= seen.sum() - 50 * 50 <= 2 * 50 + 1  # cv2 includes the border on two sides
    rows, columns = np.nonzero(seen)
    assert abs(rows.mean() + 0.5 - 50) < 0.51 and abs(columns.mean() + 0.5 - 50) < 0.51


def test_the_nearer_face_hides_the_farther() -> None:
    vertices = np.concatenate([square(0.2, 0.5), square(0.5, 1.0)])
    seen = paint_faces(CAMERA, vertices, np.array([[0, 1, 2, 3], [4, 5, 6, 7]]))
    assert seen[50, 50] == 0 and set(np.unique(seen)) == {-1, 0, 1}


def test_faces_behind_the_camera_are_left_out() -> None:
    assert (paint_faces(CAMERA, square(0.5, -3.0), np.array([[0, 1, 2, 3]])) == -1).all()


def test_the_margin_shows_what_lies_outside_the_frame() -> None:
    wide = paint_faces(CAMERA, square(1.5, 0.0), np.array([[0, 1, 2, 3]]), margin=1.0, oversampling=2) == 0
    assert wide.shape == (600, 600)
    assert abs(wide.sum() / 4 - 150 * 150) < 2 * 150


def test_normals_point_outwards_for_counter_clockwise_faces() -> None:
    np.testing.assert_allclose(face_normals(square(0.5, 0.0), np.array([[0, 1, 2, 3]])), [[0, -1, 0]])
