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
    x, y, z = _components(rotvec)
    squared = x * x + y * y + z * z
    angle = np.maximum(np.sqrt(squared), 1e-12)
    sine, versine = np.sin(angle) / angle, 2 * (np.sin(angle / 2) / angle) ** 2
    xy, xz, yz = versine * x * y, versine * x * z, versine * y * z
    return _matrix(
        [
            [1 - versine * (y * y + z * z), xy - sine * z, xz + sine * y],
            [xy + sine * z, 1 - versine * (x * x + z * z), yz - sine * x],
            [xz - sine * y, yz + sine * x, 1 - versine * (x * x + y * y)],
        ]
    )


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
    (a, b, c), (d, e, f), (g, h, i) = m.tolist() if m.ndim == 2 else np.moveaxis(m, (-2, -1), (0, 1))
    squares = 1 + a + e + i, 1 + a - e - i, 1 - a + e - i, 1 - a - e + i
    wx, wy, wz, xy, xz, yz = h - f, c - g, d - b, d + b, c + g, h + f
    candidates = _matrix(
        [[squares[0], wx, wy, wz], [wx, squares[1], xy, xz], [wy, xy, squares[2], yz], [wz, xz, yz, squares[3]]]
    )
    largest = np.argmax(np.moveaxis(np.array(squares), 0, -1), axis=-1)[..., None, None]
    chosen = np.take_along_axis(candidates, largest, axis=-2)[..., 0, :]
    return chosen / np.sqrt(np.einsum("...i,...i->...", chosen, chosen))[..., None]


def matrix_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """[..., 4] quaternions (w, x, y, z), normalised here -> [..., 3, 3]."""
    w, x, y, z = _components(quaternion)
    norm = np.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w / norm, x / norm, y / norm, z / norm
    return _matrix(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
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


def _components(vectors: np.ndarray) -> list[float] | np.ndarray:
    """The components of [..., n] vectors, each of its own. Of a single vector they are plain floats: poses are built
    from thousands of these, and arithmetic on floats is many times as fast as on arrays of one number."""
    vectors = np.asarray(vectors, dtype=np.float64)
    return vectors.tolist() if vectors.ndim == 1 else np.moveaxis(vectors, -1, 0)


def _matrix(rows: list[list]) -> np.ndarray:
    """[..., R, C] from rows of components."""
    matrix = np.array(rows)
    return matrix if matrix.ndim == 2 else np.moveaxis(matrix, (0, 1), (-2, -1))
