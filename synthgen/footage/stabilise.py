"""Taking the camera's own motion out of a shot, so that the ground stands still and only subjects move.

The motion between neighbouring pictures is a similarity (shift, turn, zoom), fitted to tracked corners by RANSAC: the
ground gives most of them, so the subject is outvoted. A moving shot is cut into parts over which the view travels by
a third of a picture at most; each part is laid out on one canvas, in the frame of its first picture. Affine maps are
[2, 3], pixels to pixels, (0, 0) the centre of the first pixel as cv2 has it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

_STILL_PX = 1.2  # a picture's corners may wander this far, at tracking size, while the camera counts as still
_MAX_TRAVEL = 0.35  # of the picture's side: the canvas of a part grows no further
_MAX_ZOOM = 1.25
_MIN_CORNERS = 12
_CHECKED_PAIRS = 6


@dataclass(frozen=True)
class SteadyPart:
    """A part of a moving shot on its canvas.

    Attributes:
        first, last: positions in the shot, `last` not included.
        to_canvas: [n, 2, 3] from each picture's pixels to the canvas's.
        canvas: width, height. origin: where the first picture's corner lies on the canvas.
    """

    first: int
    last: int
    to_canvas: np.ndarray
    canvas: tuple[int, int]
    origin: tuple[float, float]


def camera_path(pictures: np.ndarray, subjects: np.ndarray | None = None) -> np.ndarray | None:
    """How the camera moves through a shot.

    Args:
        pictures: uint8 [T, H, W, 3], small (about 320 px).
        subjects: bool [T, H, W], where corners say nothing about the ground; None: not known.

    Returns:
        [T, 2, 3] maps from each picture's pixels to those of the first; None if the camera stands still, or if its
        motion cannot be told (too few corners that agree).
    """
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    height, width = greys[0].shape
    checked = np.linspace(0, len(greys) - 1, min(len(greys), _CHECKED_PAIRS)).round().astype(int)[1:]
    grounds = [None] * len(greys) if subjects is None else [np.uint8(255) * ~mask for mask in subjects]
    direct = [_similarity(greys[0], greys[index], grounds[0]) for index in checked]
    if all(motion is not None and _travel(motion, width, height) < _STILL_PX for motion in direct):
        return None
    path = [np.eye(2, 3)]
    for (before, after), ground in zip(itertools.pairwise(greys), grounds, strict=False):
        motion = _similarity(before, after, ground)
        if motion is None:
            return None
        path.append(_compose(path[-1], cv2.invertAffineTransform(motion)))
    if max(_travel(step, width, height) for step in path) < _STILL_PX:
        return None
    return np.stack(path)


def steady_parts(path: np.ndarray, width: int, height: int) -> list[SteadyPart]:
    """Cut a moving shot into parts, each on a canvas not much larger than a picture.

    Args:
        path: as `camera_path` gives it, for pictures of this width and height.
    """
    parts = []
    first = 0
    while first < len(path):
        home = cv2.invertAffineTransform(path[first])
        maps = [np.eye(2, 3)]
        while first + len(maps) < len(path):
            step = _compose(home, path[first + len(maps)])
            zoom = float(np.hypot(step[0, 0], step[1, 0]))
            centre = step @ [width / 2, height / 2, 1] - [width / 2, height / 2]
            too_far = np.abs(centre / [width, height]).max() > _MAX_TRAVEL
            if too_far or not 1 / _MAX_ZOOM < zoom < _MAX_ZOOM:
                break
            maps.append(step)
        parts.append(_lay_out(first, np.stack(maps), width, height))
        first += len(maps)
    return parts


def scale_path(path: np.ndarray, factor: float) -> np.ndarray:
    """The same motion for pictures `factor` times as large; pixel centres are minded."""
    scaled = path.copy()
    offset = (factor - 1) / 2
    scaled[:, :, 2] = factor * path[:, :, 2] + offset - path[:, :, :2] @ [offset, offset]
    return scaled


def lay_on_canvas(image: np.ndarray, to_canvas: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """A picture [H, W, 3] on its canvas; where it does not reach, its border is repeated."""
    return cv2.warpAffine(image, to_canvas, canvas, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def reach_on_canvas(shape: tuple[int, ...], to_canvas: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """Bool [H, W] of the canvas: where the picture lies."""
    whole = np.full(shape[:2], 255, np.uint8)
    return cv2.warpAffine(whole, to_canvas, canvas, flags=cv2.INTER_NEAREST, borderValue=0) > 0


def _similarity(before: np.ndarray, after: np.ndarray, ground: np.ndarray | None) -> np.ndarray | None:
    """[2, 3] motion of the ground from one grey picture to another; None if too few corners agree on one.

    Args:
        ground: uint8 [H, W], above 0 where corners are looked for in the first; None: everywhere.
    """
    corners = cv2.goodFeaturesToTrack(before, 300, 0.01, 5, mask=ground)
    if corners is None or len(corners) < _MIN_CORNERS:
        return None
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, winSize=(15, 15), maxLevel=3)
    kept = found[:, 0] == 1
    if kept.sum() < _MIN_CORNERS:
        return None
    # cv2's RANSAC starts from a fixed seed of its own: the same pictures give the same motion.
    motion, agreeing = cv2.estimateAffinePartial2D(corners[kept], moved[kept], ransacReprojThreshold=1.0)
    if motion is None or agreeing.sum() < max(_MIN_CORNERS, 0.3 * kept.sum()):
        return None
    return motion


def _travel(motion: np.ndarray, width: int, height: int) -> float:
    """How far the picture's corners move at most, in pixels."""
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], dtype=np.float64)
    return float(np.linalg.norm(corners @ motion.T - corners[:, :2], axis=1).max())


def _compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The map that applies `first`, then `second`."""
    return second[:, :2] @ first + np.concatenate([np.zeros((2, 2)), second[:, 2:]], axis=1)


def _lay_out(first: int, maps: np.ndarray, width: int, height: int) -> SteadyPart:
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], dtype=np.float64)
    reached = np.concatenate([corners @ step.T for step in maps])
    low, high = np.floor(reached.min(axis=0)), np.ceil(reached.max(axis=0))
    to_canvas = maps.copy()
    to_canvas[:, :, 2] -= low
    canvas = (int(high[0] - low[0]), int(high[1] - low[1]))
    return SteadyPart(first, first + len(maps), to_canvas, canvas, (float(-low[0]), float(-low[1])))
