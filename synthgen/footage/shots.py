"""Footage into shots of one camera, and shots into runs of frames over a ground that stands still."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from posecore.pictures import Picture
from synthgen.footage.stabilise import camera_path, lay_on_canvas, reach_on_canvas, scale_path, steady_parts

_TRACKING_SIZE_PX = 320
_CUT_DIFFERENCE = 30.0  # mean change in grey levels between tiny copies of neighbouring frames: beyond it the shot ends


@dataclass(frozen=True)
class Ground:
    """A run of frames over a ground that stands still: as they are, or laid on a canvas with the camera's motion taken
    out.

    Attributes:
        first: position of its first frame in the shot.
        small: uint8 [T, h, w, 3], the frames at tracking size.
        to_canvas: [T, 2, 3] from each frame's pixels to the canvas's, pixel centres as cv2 has them; None where the
            camera stood still.
        reach: bool [T, H, W], where each picture lies on the canvas; None where the camera stood still.
        origin: where the source's corner lies on the canvas, in working pixels.
    """

    frames: list[Picture]
    first: int = 0
    small: np.ndarray | None = None
    to_canvas: np.ndarray | None = None
    reach: np.ndarray | None = None
    origin: tuple[float, float] = (0.0, 0.0)


def split_shots(frames: Iterator[Picture], window_frames: int) -> Iterator[list[Picture]]:
    """Runs of frames of one camera: ended by a cut, another picture size, or the window's length.

    A quarter window is read ahead, so that what is left at the end of a shot is never a stub.
    """
    shot: list[Picture] = []
    previous = None
    for frame in frames:
        tiny = cv2.resize(frame.image, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        if shot and (frame.image.shape != shot[-1].image.shape or np.abs(tiny - previous).mean() > _CUT_DIFFERENCE):
            yield shot
            shot = []
        if len(shot) >= window_frames + window_frames // 4:
            yield shot[:window_frames]
            shot = shot[window_frames:]
        shot.append(frame)
        previous = tiny
    if shot:
        yield shot


def standing_ground(shot: list[Picture]) -> Ground:
    """The shot of a camera that is known to stand still."""
    return Ground(shot, small=_shrunk(shot))


def still_grounds(shot: list[Picture], subjects: Sequence[Sequence[np.ndarray]] | None = None) -> Iterator[Ground]:
    """The shot itself if its camera stands still, else its steady parts, one at a time: they are copies.

    Args:
        subjects: boxes [4] of each frame, in its pixels: what lies in them is not the ground. None: not known.
    """
    small = _shrunk(shot)
    height, width = shot[0].image.shape[:2]
    to_small = small.shape[2] / width
    path = camera_path(small, None if subjects is None else _boxes_as_masks(subjects, small.shape[1:3], to_small))
    if path is None:
        yield Ground(shot, small=small)
        return
    for part in steady_parts(scale_path(path, 1 / to_small), width, height):
        frames = shot[part.first : part.last]
        laid = [
            replace(frame, image=lay_on_canvas(frame.image, to_canvas, part.canvas))
            for frame, to_canvas in zip(frames, part.to_canvas, strict=True)
        ]
        reach = np.stack([reach_on_canvas((height, width), to_canvas, part.canvas) for to_canvas in part.to_canvas])
        yield Ground(laid, part.first, _shrunk(laid), part.to_canvas, reach, part.origin)


def _shrunk(frames: list[Picture]) -> np.ndarray:
    """[T, H, W, 3] copies at tracking size."""
    height, width = frames[0].image.shape[:2]
    factor = min(1.0, _TRACKING_SIZE_PX / max(width, height))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.stack([cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA) for frame in frames])


def _boxes_as_masks(subjects: Sequence[Sequence[np.ndarray]], shape: tuple[int, ...], to_small: float) -> np.ndarray:
    """Bool [T, H, W]: what lies in a box of its frame."""
    masks = np.zeros((len(subjects), *shape), dtype=bool)
    for mask, boxes in zip(masks, subjects, strict=True):
        for box in boxes:
            x, y, width, height = to_small * box
            mask[max(0, round(y)) : max(0, round(y + height)), max(0, round(x)) : max(0, round(x + width))] = True
    return masks
