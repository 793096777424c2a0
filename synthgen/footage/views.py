"""Calibrated videos: which camera filmed which, pictures without their lens, and whose clips belong together.

They are taken to be synchronous: what bears one frame number was filmed at one moment. Cameras stand still.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from posecore.calibration import CalibratedCamera, LengthUnit, Straightener, rays_apart_m, read_calibration
from posecore.errors import UserError
from posecore.pictures import Picture, read_video
from synthgen.footage.cutting import Clip
from synthgen.footage.sources import Footage

_FARTHEST_APART_M = 0.5  # between the rays through the middles of two boxes: beyond it they show two subjects
_COMPARED_MOMENTS = 9  # of two clips, evenly spread


@dataclass(frozen=True)
class View:
    """A clip and who filmed it; its pixels are the camera's, undistorted."""

    clip: Clip
    camera: CalibratedCamera

    def stored_camera(self, size_px: int) -> dict[str, Any]:
        """The pinhole camera of the stored pictures, as meta.json has it, and its name."""
        x, y, side = self.clip.square
        to_stored = np.diag([size_px / side, size_px / side, 1.0]) @ np.array([[1.0, 0, -x], [0, 1, -y], [0, 0, 1]])
        return {
            "name": self.camera.name,
            "width": size_px,
            "height": size_px,
            "K": (to_stored @ self.camera.K).tolist(),
            "cam_from_world": self.camera.cam_from_world.tolist(),
        }


def match_cameras(footage: Sequence[Footage], calibration: Path, unit: LengthUnit) -> list[CalibratedCamera]:
    """The camera of each video, by the video's name without its ending, fitted to its pictures.

    Raises:
        UserError: a video or a camera has no partner, or something is no video.
    """
    cameras = read_calibration(calibration, unit)
    pictures = [item.name for item in footage if not item.is_video]
    if pictures:
        raise UserError(f"{pictures[0]}: pictures cannot be calibrated; give one video a camera, or no --calibration")
    stems = [item.paths[0].stem for item in footage]
    without_camera = [item.name for item, stem in zip(footage, stems, strict=True) if stem not in cameras]
    without_video = [name for name in cameras if name not in stems]
    if without_camera or without_video or len(set(stems)) < len(stems):
        lacks = [f"no camera for {', '.join(without_camera)}"] if without_camera else []
        lacks += [f"no video for camera {', '.join(without_video)}"] if without_video else []
        raise UserError(
            f"{calibration}: {'; '.join(lacks) or 'two videos of one camera'}; a video is called as its camera "
            f"({', '.join(f'{name}.mp4' for name in cameras)})"
        )
    return [_fitted(cameras[stem], item) for item, stem in zip(footage, stems, strict=True)]


def straightened(frames: Iterator[Picture], camera: CalibratedCamera) -> Iterator[Picture]:
    """The frames of a video as its pinhole camera sees them."""
    straighten = None
    for frame in frames:
        if straighten is None:
            straighten = Straightener(camera, frame.scale, frame.image.shape[1::-1])
        alpha = None if frame.alpha is None else straighten(frame.alpha)
        yield replace(frame, image=straighten(frame.image), alpha=alpha)


class Windows:
    """Videos side by side, in windows of as many frame numbers; iterating gives the first frame number of each.

    Only one video's frames of one window are held at a time.
    """

    def __init__(self, videos: Sequence[Iterator[Picture]], length: int) -> None:
        self._videos = videos
        self._length = length
        self._ahead = [next(video, None) for video in videos]

    def __iter__(self) -> Iterator[int]:
        while any(frame is not None for frame in self._ahead):
            first = min(frame.frame for frame in self._ahead if frame is not None)
            yield first
            for place in range(len(self._videos)):  # what the caller did not take
                self.take(place, first)

    def take(self, place: int, first: int) -> list[Picture]:
        """The frames of one video within the window that begins with frame `first`."""
        inside = []
        while (frame := self._ahead[place]) is not None and frame.frame < first + self._length:
            inside.append(frame)
            self._ahead[place] = next(self._videos[place], None)
        return inside


def subjects_of(views: Sequence[View]) -> list[int]:
    """The number of the subject that each view shows: views of one number are of one subject.

    Two views belong together where the rays through the middles of their boxes pass each other closely, the closest
    pairs first. A subject has one view of each camera at a moment.
    """
    subject = list(range(len(views)))
    for _, first, second in sorted(_candidates(views)):
        joined = [place for place in range(len(views)) if subject[place] in (subject[first], subject[second])]
        if subject[first] != subject[second] and not _any_clash([views[place] for place in joined]):
            for place in joined:
                subject[place] = min(subject[first], subject[second])
    numbers = {one: number for number, one in enumerate(dict.fromkeys(subject))}
    return [numbers[one] for one in subject]


def _candidates(views: Sequence[View]) -> Iterator[tuple[float, int, int]]:
    """Distance in metres and places of two views that may show one subject."""
    for first, second in combinations(range(len(views)), 2):
        one, other = views[first], views[second]
        common = sorted(_moments(one) & _moments(other))
        if one.camera.name == other.camera.name or not common:
            continue
        chosen = np.linspace(0, len(common) - 1, min(len(common), _COMPARED_MOMENTS)).round().astype(int)
        apart = [
            rays_apart_m(one.camera.pinhole, _middle(one, moment), other.camera.pinhole, _middle(other, moment))
            for moment in (common[place] for place in chosen)
        ]
        if (distance := float(np.median(apart))) < _FARTHEST_APART_M:
            yield distance, first, second


def _any_clash(views: Sequence[View]) -> bool:
    """Whether one camera would show a subject twice at a moment."""
    return any(
        one.camera.name == other.camera.name and _moments(one) & _moments(other)
        for one, other in combinations(views, 2)
    )


def _moments(view: View) -> set[int]:
    return {frame.frame for frame in view.clip.frames}


def _middle(view: View, moment: int) -> np.ndarray:
    """[2] of the subject's box at a moment, in pixels of the camera."""
    place = next(place for place, frame in enumerate(view.clip.frames) if frame.frame == moment)
    x, y, width, height = view.clip.boxes[place]
    return np.array([x + width / 2, y + height / 2])


def _fitted(camera: CalibratedCamera, item: Footage) -> CalibratedCamera:
    height, width = next(read_video(item.paths[0], item.name)).image.shape[:2]
    return camera.fitted(width, height)
