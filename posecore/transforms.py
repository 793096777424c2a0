"""Rotations and rigid transforms.

Rotation matrices act on column vectors. The 6D form of a rotation is its first two columns, one after the other
(Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", 2019).
Rotation vectors are axis times angle, radians. All functions take any leading batch dimensions.
"""

import numpy as np


def rotation_6d_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """[..., 3, 3] rotation matrices -> [..., 6]: first column, then second column."""
    return np.concatenate([matrix[..., :, 0], matrix[..., :, 1]], axis=-1)


def matrix_from_rotation_6d(rotation_6d: np.ndarray) -> np.ndarray:
    """[..., 6] -> [..., 3, 3] by Gram-Schmidt; the two columns need not be orthonormal."""
    first, second = rotation_6d[..., :3], rotation_6d[..., 3:]
    x = first / np.linalg.norm(first, axis=-1, keepdims=True)
    y = second - np.sum(x * second, axis=-1, keepdims=True) * x
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def matrix_from_rotvec(rotvec: np.ndarray) -> np.ndarray:
    """[..., 3] rotation vectors in radians -> [..., 3, 3] (Rodrigues' formula)."""
    rotvec = np.asarray(rotvec, dtype=np.float64)
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    axis = rotvec / np.maximum(angle[..., 0], 1e-12)
    cross = _cross_matrix(axis)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def rotvec_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """[..., 3, 3] -> [..., 3] rotation vectors, angle in [0, pi]; exact also near 0 and pi (through quaternions)."""
    quaternion = quaternion_from_matrix(matrix)
    quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = np.linalg.norm(quaternion[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternion[..., :1])
    scale = np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)
    return quaternion[..., 1:] * scale


def quaternion_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """[..., 3, 3] -> [..., 4] unit quaternions (w, x, y, z), sign free (Shepperd: largest component first)."""
    m = np.asarray(matrix, dtype=np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = np.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], axis=-1)
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    candidates = np.stack(
        [
            np.stack([squares[..., 0], wx, wy, wz], axis=-1),
            np.stack([wx, squares[..., 1], xy, xz], axis=-1),
            np.stack([wy, xy, squares[..., 2], yz], axis=-1),
            np.stack([wz, xz, yz, squares[..., 3]], axis=-1),
        ],
        axis=-2,
    )
    largest = np.argmax(squares, axis=-1)[..., None, None]
    chosen = np.take_along_axis(candidates, largest, axis=-2)[..., 0, :]
    return chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)


def matrix_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """[..., 4] quaternions (w, x, y, z), normalised here -> [..., 3, 3]."""
    q = np.asarray(quaternion, dtype=np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=-1),
            np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=-1),
            np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=-1),
        ],
        axis=-2,
    )


def local_from_global(rotations_global: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """[..., J, 3, 3] global rotations -> local ones: L_j = G_parent^T G_j; the root's local one is its global one."""
    local = np.array(rotations_global, dtype=np.float64)
    for joint, parent in enumerate(parents):
        if parent >= 0:
            local[..., joint, :, :] = (
                np.swapaxes(rotations_global[..., parent, :, :], -1, -2) @ rotations_global[..., joint, :, :]
            )
    return local


def global_from_local(rotations_local: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """[..., J, 3, 3] local rotations -> global ones: G_j = G_parent L_j."""
    result = np.array(rotations_local, dtype=np.float64)
    done = {-1}
    while len(done) <= len(parents):
        for joint, parent in enumerate(parents):
            if joint not in done and parent in done:
                if parent >= 0:
                    result[..., joint, :, :] = result[..., parent, :, :] @ rotations_local[..., joint, :, :]
                done.add(joint)
    return result


def invert_rigid(transform: np.ndarray) -> np.ndarray:
    """Inverse of [..., 4, 4] rigid transforms (rotation and translation only)."""
    rotation = np.swapaxes(transform[..., :3, :3], -1, -2)
    inverse = np.zeros_like(transform)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3] = -(rotation @ transform[..., :3, 3:])[..., 0]
    inverse[..., 3, 3] = 1
    return inverse


def transform_points(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply one [4, 4] transform to points [..., 3]."""
    return points @ transform[:3, :3].T + transform[:3, 3]


def _cross_matrix(vector: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    rows = [
        np.stack([zero, -z, y], axis=-1),
        np.stack([z, zero, -x], axis=-1),
        np.stack([-y, x, zero], axis=-1),
    ]
    return np.stack(rows, axis=-2)
