"""The pinhole camera that every sample carries.

OpenCV axes: x right, y down, z forward. World: z up, metres. Pixels: x right, y down, (0, 0) is the OUTER corner of the
top-left pixel, so the centre of that pixel is (0.5, 0.5) and an image of width W spans 0..W.
"""

from dataclasses import dataclass

import numpy as np

from posecore.transforms import invert_rigid, transform_points


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated view.

    Attributes:
        width, height: image size in pixels.
        K: [3, 3] intrinsics in pixels, no skew.
        cam_from_world: [4, 4] rigid transform from world metres to camera metres.
    """

    width: int
    height: int
    K: np.ndarray
    cam_from_world: np.ndarray

    @property
    def position_world(self) -> np.ndarray:
        """[3] optical centre in world metres."""
        return invert_rigid(self.cam_from_world)[:3, 3]


def project_cam(K: np.ndarray, points_cam: np.ndarray) -> np.ndarray:
    """Project camera-frame points [..., 3] (metres) to pixels [..., 2]; points at or behind the camera are NaN."""
    depth = points_cam[..., 2:]
    in_front = depth > 1e-6
    plane = points_cam[..., :2] / np.where(in_front, depth, 1.0)
    pixels = plane * np.array([K[0, 0], K[1, 1]]) + K[:2, 2]
    return np.where(in_front, pixels, np.nan)


def project(camera: Camera, points_world: np.ndarray) -> np.ndarray:
    """Project world points [..., 3] (metres) to pixels [..., 2]; points at or behind the camera are NaN."""
    return project_cam(camera.K, transform_points(camera.cam_from_world, points_world))


def unproject(K: np.ndarray, pixels: np.ndarray, depth_m: np.ndarray) -> np.ndarray:
    """Pixels [..., 2] with planar depth [...] (metres along z) -> camera-frame points [..., 3]."""
    plane = (pixels - K[:2, 2]) / np.array([K[0, 0], K[1, 1]])
    return np.concatenate([plane * depth_m[..., None], depth_m[..., None]], axis=-1)


def look_at(position: np.ndarray, target: np.ndarray, roll_rad: float = 0.0) -> np.ndarray:
    """cam_from_world [4, 4] of a camera at `position` looking at `target` (world metres), z up.

    Args:
        roll_rad: turn about the optical axis; positive turns the picture's content counter-clockwise as seen.

    Raises:
        ValueError: the two points coincide, or the view is straight up or down (the roll would be undefined).
    """
    forward = np.asarray(target, dtype=np.float64) - np.asarray(position, dtype=np.float64)
    distance = np.linalg.norm(forward)
    if distance < 1e-9:
        raise ValueError(f"camera at {position} cannot look at its own position")
    forward = forward / distance
    right = np.cross(forward, [0.0, 0.0, 1.0])
    if np.linalg.norm(right) < 1e-6:
        raise ValueError(f"camera direction {forward} is vertical; roll is undefined there")
    right = right / np.linalg.norm(right)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll_rad), np.sin(roll_rad)
    rotation = np.stack([cosine * right + sine * down, cosine * down - sine * right, forward])
    transform = np.eye(4)
    transform[:3, :3] = rotation
    transform[:3, 3] = -rotation @ position
    return transform
