"""Lays a rigid figure on the ground: it tips over its support until its centre of mass is above it.

World axes, z up, metres. Deterministic and quasi-static: no speed, no bouncing, no sliding.
"""

import cv2
import numpy as np

from posecore.transforms import matrix_from_rotvec

RESTING_STEP = 5
"""Every fifth vertex of a body tells well enough where it touches the ground."""

_CONTACT_M = 0.006
_MOST_TIPS = 40


def tip_to_rest(points: np.ndarray, centre_of_mass: np.ndarray, most_rad: float) -> np.ndarray:
    """The rotation [3,3] by which a figure comes to rest.

    Each round it tips about the point or edge of its support that is nearest to its centre of mass, until the next
    point touches the ground. Each round lowers the centre of mass, so that it ends; 40 rounds are enough for a body.

    Args:
        points: [N,3] of the surface. centre_of_mass: [3].
        most_rad: a figure that would topple further than this stays as it is.
    """
    points, centre = points.astype(np.float64), centre_of_mass
    total = np.eye(3)
    for _ in range(_MOST_TIPS):
        above = points[:, 2] - points[:, 2].min()
        touching = above <= _CONTACT_M
        pivot = _nearest_of_hull(points[touching, :2], centre[:2])
        if pivot is None:
            break
        towards = (centre[:2] - pivot) / np.linalg.norm(centre[:2] - pivot)
        ahead = (points[~touching, :2] - pivot) @ towards
        angle = np.arctan2(above[~touching], ahead).min()
        turn = matrix_from_rotvec(angle * np.array([-towards[1], towards[0], 0]))
        points, centre, total = points @ turn.T, turn @ centre, turn @ total
    return total if np.arccos(np.clip(total[2, 2], -1, 1)) <= most_rad else np.eye(3)


def _nearest_of_hull(support: np.ndarray, point: np.ndarray) -> np.ndarray | None:
    """The point [2] of the convex hull of `support` [N,2] that is nearest to `point` [2]; None if it lies inside."""
    hull = cv2.convexHull(support.astype(np.float32))[:, 0].astype(np.float64)
    if len(hull) > 2 and cv2.pointPolygonTest(hull.astype(np.float32), point.tolist(), False) >= 0:
        return None
    edges = np.roll(hull, -1, axis=0) - hull
    share = ((point - hull) * edges).sum(1) / np.maximum((edges**2).sum(1), 1e-12)
    nearest = hull + np.clip(share, 0, 1)[:, None] * edges
    return nearest[np.linalg.norm(nearest - point, axis=1).argmin()]
