import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from posecore.transforms import (
    global_from_local,
    invert_rigid,
    local_from_global,
    matrix_from_quaternion,
    matrix_from_rotation_6d,
    matrix_from_rotvec,
    quaternion_from_matrix,
    rotation_6d_from_matrix,
    rotvec_from_matrix,
    transform_points,
)

rotvecs = arrays(np.float64, (4, 3), elements=st.floats(-1.8, 1.8))


@given(rotvecs)
def test_rotvecs_survive_the_way_through_matrices(rotvec: np.ndarray) -> None:
    np.testing.assert_allclose(rotvec_from_matrix(matrix_from_rotvec(rotvec)), rotvec, atol=1e-9)


@given(rotvecs)
def test_all_forms_give_the_same_rotation(rotvec: np.ndarray) -> None:
    matrix = matrix_from_rotvec(rotvec)
    np.testing.assert_allclose(matrix @ np.swapaxes(matrix, -1, -2), np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(matrix_from_rotation_6d(rotation_6d_from_matrix(matrix)), matrix, atol=1e-12)
    np.testing.assert_allclose(matrix_from_quaternion(quaternion_from_matrix(matrix)), matrix, atol=1e-12)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    turn = matrix_from_rotvec(np.array([0, 0, np.pi / 2]))
    np.testing.assert_allclose(turn @ [1, 0, 0], [0, 1, 0], atol=1e-15)


def test_half_turns_keep_their_axis_up_to_sign() -> None:
    for axis in np.eye(3):
        np.testing.assert_allclose(
            np.abs(rotvec_from_matrix(matrix_from_rotvec(np.pi * axis))), np.pi * axis, atol=1e-7
        )


def test_a_single_rotation_is_the_same_as_one_of_many() -> None:
    rotvecs = np.array([[0.3, -0.2, 0.9], [0, 0, 0], [1e-7, 0, -1e-7], [0, 3, 0.5]])
    matrices = matrix_from_rotvec(rotvecs)
    np.testing.assert_array_equal(matrices, [matrix_from_rotvec(rotvec) for rotvec in rotvecs])
    np.testing.assert_array_equal(quaternion_from_matrix(matrices), [quaternion_from_matrix(m) for m in matrices])
    np.testing.assert_allclose(rotvec_from_matrix(matrices), rotvecs, atol=1e-12)


def test_6d_is_the_first_two_columns() -> None:
    matrix = matrix_from_rotvec(np.array([0.3, -0.2, 0.9]))
    np.testing.assert_array_equal(rotation_6d_from_matrix(matrix), [*matrix[:, 0], *matrix[:, 1]])


@given(rotvecs)
def test_local_and_global_rotations_are_inverse_also_when_a_parent_comes_later(rotvec: np.ndarray) -> None:
    parents = (1, 3, 0, -1)
    rotations = matrix_from_rotvec(rotvec)
    np.testing.assert_allclose(global_from_local(local_from_global(rotations, parents), parents), rotations, atol=1e-12)


def test_rigid_inverse_takes_points_back() -> None:
    transform = np.eye(4)
    transform[:3, :3] = matrix_from_rotvec(np.array([0.4, 1.0, -0.3]))
    transform[:3, 3] = [1, -2, 3]
    points = np.arange(12.0).reshape(4, 3)
    there = transform_points(transform, points)
    np.testing.assert_allclose(transform_points(invert_rigid(transform), there), points, atol=1e-12)
