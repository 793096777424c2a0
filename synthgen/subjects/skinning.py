"""Forward kinematics and linear blend skinning in numpy, shared by every rigged subject.

Conventions: rotations are global and relative to the world-aligned rest pose (identity at rest), metres. Weights are
dense: at 100 bones one matrix product costs less than gathering each vertex's few bones.
"""

import numpy as np


def bone_positions(heads_rest: np.ndarray, parents: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Where each bone's head goes.

    Args:
        heads_rest: [B,3] m.
        parents: [B], -1 for roots, parents before children.
        rotations: [B,3,3] global.

    Returns:
        [B,3] m; roots stay where they rest. P_j = P_parent + G_parent (h_j - h_parent).
    """
    positions = np.array(heads_rest, np.float64)
    for bone, parent in enumerate(parents):
        if parent >= 0:
            positions[bone] = positions[parent] + rotations[parent] @ (heads_rest[bone] - heads_rest[parent])
    return positions


def skin(
    vertices_rest: np.ndarray, weights: np.ndarray, heads_rest: np.ndarray, rotations: np.ndarray, positions: np.ndarray
) -> np.ndarray:
    """Linear blend skinning: v' = sum_b w_b (G_b (v - h_b) + P_b).

    Args:
        vertices_rest: [V,3] float32 m.
        weights: [V,B] float32, rows sum to 1.
        heads_rest, positions: [B,3] bone heads at rest and posed, m.
        rotations: [B,3,3] global.

    Returns:
        [V,3] float32 m.
    """
    affine = np.empty((len(rotations), 12), np.float32)
    affine[:, :9] = rotations.reshape(-1, 9)
    affine[:, 9:] = positions - np.einsum("bij,bj->bi", rotations, heads_rest)
    blended = weights @ affine
    posed = blended[:, 9:]
    x, y, z = np.ascontiguousarray(vertices_rest.T)
    for axis in range(3):
        along_x, along_y, along_z = blended[:, 3 * axis : 3 * axis + 3].T
        posed[:, axis] += along_x * x + along_y * y + along_z * z
    return np.ascontiguousarray(posed)
