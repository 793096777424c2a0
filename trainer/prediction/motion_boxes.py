"""Boxes round what moves in clips of a camera that stands still: no detector, no labels.

The tracker is the one that packing cuts clips with (`posecore.motion`), on small pictures, shot by shot; long shots are
cut into windows, so that memory stays small and slow changes of light do not count as movement. A moving region grows
and shrinks with every swing of an arm; its edges are therefore the typical ones of the two seconds around.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np

from posecore.errors import UserError
from posecore.motion import Track, find_moving_subjects, intersection_over_union
from posecore.pictures import Picture, Subject
from trainer.prediction.pictures import PackedDataset, Source, Stills, read_pictures
from trainer.prediction.smoothing import fit_locally

_TRACKING_SIZE_PX = 320
_WINDOW_FRAMES = 240  # that share one background
_MIN_TRACK_FRAMES = 6
_CUT_DIFFERENCE = 30.0  # mean change in grey levels between tiny copies of neighbouring frames: beyond it the shot ends
_STEADY_S = 1.0  # on either side, over which a region's typical edges are taken
_TYPICAL_PERCENTILE = 80  # of the edges there: limbs that stand still for a moment still belong to the body
_MAX_OVERLAP = 0.6  # of two boxes in a frame; beyond it they are one subject, the livelier track's
_MIN_OVERLAP = 0.1  # of boxes at both sides of a window's border that are one subject


def find_motion_boxes(sources: Sequence[Source], on_picture: Callable[[], None] = lambda: None) -> MotionBoxes:
    """Follow what moves through all clips; each is read once, at small size.

    Args:
        on_picture: called after each picture, for a progress bar.

    Raises:
        UserError: a source is no clip, or nothing moves anywhere.
    """
    shares: dict[str, list[Subject]] = defaultdict(list)
    for source in sources:
        if isinstance(source, PackedDataset) or (isinstance(source, Stills) and source.rate is None):
            name = source.location if isinstance(source, PackedDataset) else source.names[0]
            raise UserError(f"{name}: movement is found in clips; give a video, or --fps for a folder of its frames")
        names = _Names()
        for window, continues in _windows(source, on_picture):
            small = np.stack([picture.image for picture in window])
            sides = np.array([small.shape[2], small.shape[1]] * 2)
            times_s = np.array([picture.time_s for picture in window])
            found = find_moving_subjects(small, _MIN_TRACK_FRAMES)
            tracks = [_steady(track, times_s[track.frames]) for track in found]
            for number, track in zip(names.of(tracks, len(window), continues), tracks, strict=True):
                for frame, box in zip(track.frames, track.boxes / sides, strict=True):
                    known = shares[window[frame].name]
                    if all(intersection_over_union(np.array(one.box), box) < _MAX_OVERLAP for one in known):
                        known.append(Subject(tuple(box.tolist()), number))
    if not shares:
        raise UserError("nothing moves in front of a still camera; give boxes in a file, or --boxes frame")
    return MotionBoxes(dict(shares))


class MotionBoxes:
    """Moving subjects by picture; a finder (`posecore.boxes`)."""

    def __init__(self, shares: dict[str, list[Subject]]) -> None:
        self._shares = shares  # boxes as shares of the picture's sides, by its name

    def __call__(self, picture: Picture) -> list[Subject]:
        """The subjects that move in a picture, liveliest first."""
        height, width = picture.image.shape[:2]
        sides = np.array([width, height, width, height])
        found = self._shares.get(picture.name, [])
        return [replace(one, box=tuple((sides * one.box).tolist())) for one in found]


class _Names:
    """Ids that outlast a window: a track that begins where one of the window before ended is that one."""

    def __init__(self) -> None:
        self._next = 1
        self._ended: dict[int, np.ndarray] = {}

    def of(self, tracks: Sequence[Track], num_frames: int, continues: bool) -> list[int]:
        free = dict(self._ended) if continues else {}
        ids = []
        for track in tracks:
            overlaps = {name: intersection_over_union(box, track.boxes[0]) for name, box in free.items()}
            best = max(overlaps, key=overlaps.__getitem__, default=None)
            if best is None or track.frames[0] > 0 or overlaps[best] < _MIN_OVERLAP:
                best, self._next = self._next, self._next + 1
            free.pop(best, None)
            ids.append(best)
        at_end = zip(ids, tracks, strict=True)
        self._ended = {name: track.boxes[-1] for name, track in at_end if track.frames[-1] == num_frames - 1}
        return ids


def _windows(source: Source, on_picture: Callable[[], None]) -> Iterator[tuple[list[Picture], bool]]:
    """Small pictures of one shot, at most a window and a quarter of them, and whether they go on from the last ones."""
    window: list[Picture] = []
    continues, previous = False, None
    for picture in read_pictures(source, _TRACKING_SIZE_PX):
        tiny = cv2.resize(picture.image, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        if window:
            is_cut = picture.image.shape != window[-1].image.shape or np.abs(tiny - previous).mean() > _CUT_DIFFERENCE
            # Cut late, so that no window is a stub too short to have a background.
            if is_cut:
                yield window, continues
                window, continues = [], False
            elif len(window) >= _WINDOW_FRAMES + _WINDOW_FRAMES // 4:
                yield window[:_WINDOW_FRAMES], continues
                window, continues = window[_WINDOW_FRAMES:], True
        window.append(picture)
        previous = tiny
        on_picture()
    if window:
        yield window, continues


def _steady(track: Track, times_s: np.ndarray) -> Track:
    """The box along its own path, its edges where they typically are: a limb that rests belongs to the body too."""
    centres = track.boxes[:, :2] + track.boxes[:, 2:] / 2
    path = fit_locally(times_s, centres[:, None], np.ones((len(times_s), 1)), 2 * _STEADY_S, degree=1)[:, 0]
    low, high = track.boxes[:, :2] - path, track.boxes[:, :2] + track.boxes[:, 2:] - path
    boxes = np.empty_like(track.boxes)
    for i, moment in enumerate(times_s):
        near = np.abs(times_s - moment) <= _STEADY_S
        corner = path[i] + np.percentile(low[near], 100 - _TYPICAL_PERCENTILE, axis=0)
        boxes[i] = [*corner, *(path[i] + np.percentile(high[near], _TYPICAL_PERCENTILE, axis=0) - corner)]
    return Track(track.frames, boxes, track.activity)
