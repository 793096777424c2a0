"""Who is where in a shot: by movement, by boxes from a file, by alpha, or the whole frame.

All ways give the same: tracks, one box a frame, in working pixels of the ground on which the shot lies.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from posecore.box_files import BoxFile
from posecore.boxes import IdKeeper, from_alpha, inside_picture
from posecore.motion import Track, find_moving_subjects
from posecore.pictures import Picture, Subject
from synthgen.footage.options import PackOptions
from synthgen.footage.shots import Ground
from synthgen.footage.straight_boxes import StraightBoxes

_MAX_GAP_FRAMES = 12  # without a box, over which the boxes before and after are joined

NOBODY = {
    "motion": "where nothing moves",
    "boxes": "without a box",
    "alpha": "without a transparent ground",
}
"""What is said of frames in which nobody was found."""

Located = list[dict[int, np.ndarray]]
"""For each frame of a shot its subjects: id -> box [4] in working pixels of the frame."""


def locate(shot: list[Picture], options: PackOptions, box_file: BoxFile | StraightBoxes | None) -> Located | None:
    """Who is in each frame, as a file or alpha says it; None where movement or nothing tells.

    Boxes without ids are linked from frame to frame by overlap.
    """
    if options.subjects == "boxes":
        return _linked(shot, lambda picture: box_file(picture) if box_file.within_keyframes(picture) else [])
    if options.subjects == "alpha":
        return _linked(shot, _cut_out)
    return None


def find_tracks(ground: Ground, located: Located | None, options: PackOptions, rejects: Counter[str]) -> list[Track]:
    """Subjects on a ground.

    Args:
        located: of the whole shot.
        rejects: frames in which nobody is, and tracks beyond `max_subjects`, are counted here.
    """
    num_frames = len(ground.frames)
    if options.subjects == "frame":
        height, width = ground.frames[0].image.shape[:2]
        return [Track(np.arange(num_frames), np.repeat([[0.0, 0.0, width, height]], num_frames, axis=0), 1.0)]
    if located is None:
        tracks = _moving(ground, options, rejects)
    else:
        tracks = _joined(located[ground.first : ground.first + num_frames], ground.to_canvas)
    empty = num_frames - len({int(frame) for track in tracks for frame in track.frames})
    if empty:
        rejects[NOBODY[options.subjects]] += empty
    return tracks


def _moving(ground: Ground, options: PackOptions, rejects: Counter[str]) -> list[Track]:
    size = (ground.small.shape[2], ground.small.shape[1])
    height, width = ground.frames[0].image.shape[:2]
    scale = np.array([width / size[0], height / size[1]] * 2)
    reach = None
    if ground.reach is not None:
        reach = np.stack(
            [cv2.resize(one.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for one in ground.reach]
        )
        reach = reach.astype(bool)
    found = find_moving_subjects(ground.small, options.min_clip_frames, reach)
    kept: list[Track] = []
    for track in (Track(one.frames, one.boxes * scale, one.activity) for one in found):
        alongside = sum(bool(np.intersect1d(track.frames, other.frames).size) for other in kept)
        if alongside < options.max_subjects:
            kept.append(track)
        else:
            rejects["of subjects beyond the liveliest"] += len(track.frames)
    return kept


def _cut_out(picture: Picture) -> list[Subject]:
    """What is opaque, where something is not; in pixels of the source, as a file has it."""
    if picture.alpha is None or picture.alpha.min() > 127:
        return []
    return [replace(one, box=tuple(side * picture.scale for side in one.box)) for one in from_alpha(picture)]


def _linked(shot: list[Picture], finder: Callable[[Picture], list[Subject]]) -> Located:
    keeper = IdKeeper()
    located = []
    for position, picture in enumerate(shot):
        subjects = [replace(one, box=tuple(side / picture.scale for side in one.box)) for one in finder(picture)]
        inside = keeper(replace(picture, frame=position, clip="shot"), inside_picture(picture, subjects))
        located.append({one.id: np.array(one.box) for one in inside})
    return located


def _joined(located: Located, to_canvas: np.ndarray | None) -> list[Track]:
    """Tracks of what bears one id; a longer gap makes two of one."""
    boxes: dict[int, dict[int, np.ndarray]] = defaultdict(dict)
    for position, subjects in enumerate(located):
        for name, box in subjects.items():
            boxes[name][position] = box if to_canvas is None else _on_canvas(box, to_canvas[position])
    tracks = []
    for known in boxes.values():
        places = np.array(sorted(known))
        for run in np.split(places, np.flatnonzero(np.diff(places) > _MAX_GAP_FRAMES) + 1):
            frames = np.arange(run[0], run[-1] + 1)
            sides = np.stack([known[place] for place in run])
            between = np.stack([np.interp(frames, run, sides[:, side]) for side in range(4)], axis=1)
            tracks.append(Track(frames, between, 1.0))
    return sorted(tracks, key=lambda track: (int(track.frames[0]), *track.boxes[0]))


def _on_canvas(box: np.ndarray, to_canvas: np.ndarray) -> np.ndarray:
    """The box round a box that was carried onto the canvas."""
    x, y, width, height = box
    corners = np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]]) - 0.5
    carried = corners @ to_canvas[:, :2].T + to_canvas[:, 2] + 0.5
    low, high = carried.min(axis=0), carried.max(axis=0)
    return np.concatenate([low, high - low])
