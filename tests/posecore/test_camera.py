import numpy as np
import pytest

from posecore.camera import Camera, look_at, project, project_cam, unproject

K = np.array([[100.0, 0, 32], [0, 100, 24], [0, 0, 1]])


def camera_at(position: list[float], target: list[float], roll_rad: float = 0.0) -> Camera:
    return Camera(64, 48, K, look_at(np.array(position), np.array(target), roll_rad))


def test_the_target_lands_on_the_principal_point() -> None:
    camera = camera_at([3, -4, 2], [0.5, 0.2, 1])
    np.testing.assert_allclose(project(camera, np.array([0.5, 0.2, 1.0])), [32, 24])


def test_from_the_front_the_subjects_left_is_right_in_the_picture_and_up_is_up() -> None:
    camera = camera_at([0, -5, 1], [0, 0, 1])
    left, above = project(camera, np.array([[0.5, 0, 1], [0, 0, 1.5]]))
    np.testing.assert_allclose(left, [42, 24])
    np.testing.assert_allclose(above, [32, 14])


def test_from_behind_the_subjects_left_is_left_in_the_picture() -> None:
    assert project(camera_at([0, 5, 1], [0, 0, 1]), np.array([0.5, 0, 1.0]))[0] == pytest.approx(22)


def test_roll_turns_the_picture_counter_clockwise() -> None:
    above = project(camera_at([0, -5, 1], [0, 0, 1], np.pi / 2), np.array([0.0, 0, 1.5]))
    np.testing.assert_allclose(above, [22, 24], atol=1e-9)


def test_points_behind_the_camera_are_nan() -> None:
    assert np.isnan(project_cam(K, np.array([[0, 0, -1.0], [0, 0, 0]]))).all()


def test_unproject_inverts_project() -> None:
    points = np.array([[0.2, -0.1, 2.0], [1.0, 0.5, 7.0]])
    np.testing.assert_allclose(unproject(K, project_cam(K, points), points[:, 2]), points)


def test_position_is_where_the_camera_was_put() -> None:
    np.testing.assert_allclose(camera_at([3, -4, 2], [0, 0, 1]).position_world, [3, -4, 2])


def test_a_camera_that_looks_straight_down_is_refused() -> None:
    with pytest.raises(ValueError, match="vertical"):
        look_at(np.array([0.0, 0, 5]), np.zeros(3))
