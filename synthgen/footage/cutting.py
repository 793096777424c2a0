"""Square clips out of tracks: one square a clip, so that its background stands still; what teaches nothing is dropped.

Squares are x, y, side. Every frame that is left out is counted under its reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from posecore.motion import Track, union_box
from posecore.pictures import Picture
from synthgen.footage.options import PackOptions
from synthgen.footage.shots import Ground

_TYPICAL_PERCENTILE = 80  # of a track's box sides: what counts as the subject's size while parts of it stand still
_MAX_GROWTH = 1.5  # a clip ends where the square round it would exceed this many typical sides
_MAX_OVERHANG = 1.3  # of the picture's shorter side: a larger square would be mostly invented border
_BLUR_OF_MEDIAN = 0.35  # sharpness (variance of the Laplacian) below this part of the clip's median is a blurred frame
_BLUR_FLOOR = 8.0
_BLOCKS = 16  # a side: changes are looked for in so many blocks
_REPEATED_DIFFERENCE = 3.0  # grey levels in the most changed block: below it nobody moved between two frames
_SAME_PHOTO_DIFFERENCE = 6.0  # between two stills; JPEG's losses at another size reach half of it
_MAX_BEYOND = 0.25  # of a crop that a stabilised picture need not fill

Square = tuple[float, float, float]


@dataclass(frozen=True)
class Clip:
    """Frames of one subject, cut out by one square; a still has one.

    Attributes:
        source: name of the video, the pictures' folder, or the still.
        square: in pixels of the source; where the camera moved, of the first frame of its steady part.
        boxes: [T, 4] of the subject in each frame, in the same pixels.
    """

    source: str
    square: Square
    frames: tuple[Picture, ...]
    pictures: tuple[np.ndarray, ...]
    boxes: np.ndarray
    is_stabilised: bool = False


class Cutter:
    """Cuts clips and remembers the stills that it has cut, so that none comes twice."""

    def __init__(self, options: PackOptions, rejects: Counter[str]) -> None:
        self._options = options
        self._rejects = rejects
        self._stills: dict[int, list[np.ndarray]] = defaultdict(list)  # in blocks, by their brightness

    def clips(self, ground: Ground, track: Track) -> Iterator[Clip]:
        """The clips of one subject on its ground."""
        for positions in _steady_runs(track, self._options.clip_frames, self._options.min_clip_frames):
            shape = ground.frames[0].image.shape
            if self._options.subjects == "frame":
                square = _whole_frame(shape)
            else:
                square = _square_round(track.boxes[positions], _typical_side(track), self._options.margin, shape)
                if square[2] * ground.frames[0].scale < self._options.min_subject_px:
                    self._rejects["with a subject that is too small"] += len(positions)
                    continue
            yield from self._clip(ground, track.frames[positions], track.boxes[positions], square)

    def still(self, frame: Picture, box: np.ndarray | None) -> Iterator[Clip]:
        """A picture that stands alone: a clip of one frame, or none.

        Args:
            box: [4] of its subject; None takes the largest centred square.
        """
        shape = frame.image.shape
        if box is None:
            square = _whole_frame(shape)
        else:
            square = _square_round(box[None], max(box[2:]), self._options.margin, shape)
            if square[2] * frame.scale < self._options.min_subject_px:
                self._rejects["with a subject that is too small"] += 1
                return
        picture = _cut_square(frame.image, square, self._options.size_px)
        if _sharpness(picture) < _BLUR_FLOOR:
            self._rejects["blurred"] += 1
        elif self._repeats(picture):
            self._rejects["that repeat an earlier picture"] += 1
        else:
            subject = np.array([[*square, square[2]]]) if box is None else box[None]
            yield Clip(frame.name, _in_source(square, frame.scale), (frame,), (picture,), frame.scale * subject)

    def _repeats(self, picture: np.ndarray) -> bool:
        """Whether a still like it was cut before; if not it is remembered."""
        blocks = cv2.resize(picture.astype(np.float32), (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
        # No block of two alike differs by this much, so neither does their mean: it is in this shelf or the next.
        shelf = int(blocks.mean() // _SAME_PHOTO_DIFFERENCE)
        for other in (other for near in (shelf - 1, shelf, shelf + 1) for other in self._stills[near]):
            if np.abs(blocks - other).mean(axis=-1).max() < _SAME_PHOTO_DIFFERENCE:
                return True
        self._stills[shelf].append(blocks)
        return False

    def _clip(self, ground: Ground, positions: np.ndarray, boxes: np.ndarray, square: Square) -> Iterator[Clip]:
        """Cut the square out of a run of frames and drop what is blurred or repeats; yields at most one clip.

        Args:
            boxes: [T, 4] of the subject, in pixels of the ground.
        """
        rejects, options = self._rejects, self._options
        if ground.reach is not None:
            beyond = np.array([_share_beyond(ground.reach[position], square) for position in positions])
            if (beyond > _MAX_BEYOND).any():
                rejects["whose crop the moving camera leaves"] += int((beyond > _MAX_BEYOND).sum())
            positions, boxes = positions[beyond <= _MAX_BEYOND], boxes[beyond <= _MAX_BEYOND]
            if len(positions) == 0:
                return
        frames = [ground.frames[position] for position in positions]
        pictures = [_cut_square(frame.image, square, options.size_px) for frame in frames]
        sharpness = np.array([_sharpness(picture) for picture in pictures])
        enough = max(_BLUR_FLOOR, _BLUR_OF_MEDIAN * float(np.median(sharpness)))
        kept: list[int] = []
        for position, picture in enumerate(pictures):
            if sharpness[position] < enough:
                rejects["blurred"] += 1
            elif kept and _largest_change(picture, pictures[kept[-1]]) < _REPEATED_DIFFERENCE:
                rejects["without movement since the last"] += 1
            else:
                kept.append(position)
        if len(kept) < options.min_clip_frames:
            if kept:
                rejects["in clips that are too short"] += len(kept)
            return
        yield Clip(
            frames[0].clip,
            _in_source((square[0] - ground.origin[0], square[1] - ground.origin[1], square[2]), frames[0].scale),
            tuple(frames[place] for place in kept),
            tuple(pictures[place] for place in kept),
            frames[0].scale * (boxes[kept] - np.array([*ground.origin, 0.0, 0.0])),
            is_stabilised=ground.reach is not None,
        )


def _steady_runs(track: Track, clip_frames: int, min_clip_frames: int) -> Iterator[list[int]]:
    """Positions in a track, cut into runs over which the subject keeps to one place, no longer than a clip.

    The longest possible runs are taken greedily. What remains at the end shares evenly with the run before if it is
    too short alone; runs that are too long for a clip are shared out evenly.
    """
    limit = _MAX_GROWTH * _typical_side(track)

    def keeps_to_one_place(start: int, end: int) -> bool:
        return end - start == 1 or max(union_box(track.boxes[start:end])[2:]) <= limit

    runs: list[tuple[int, int]] = []
    start = 0
    while start < len(track.frames):
        end = start + 1
        while end < len(track.frames) and keeps_to_one_place(start, end + 1):
            end += 1
        if runs and end - start < min_clip_frames:
            first = runs[-1][0]
            middle = (first + end) // 2
            if keeps_to_one_place(first, middle) and keeps_to_one_place(middle, end):
                runs[-1], start = (first, middle), middle
        runs.append((start, end))
        start = end
    for first, end in runs:
        for run in np.array_split(np.arange(first, end), -(-(end - first) // clip_frames)):
            yield run.tolist()


def _typical_side(track: Track) -> float:
    return float(np.percentile(track.boxes[:, 2:].max(axis=1), _TYPICAL_PERCENTILE))


def _square_round(boxes: np.ndarray, typical_side: float, margin: float, shape: tuple[int, ...]) -> Square:
    """The square round all boxes, moved into the picture as far as it fits.

    It never is smaller than the subject's typical size: where only an arm moved, the rest of the body is still there.
    """
    height, width = shape[:2]
    x, y, box_width, box_height = union_box(boxes)
    side = min(max(box_width, box_height, typical_side) * margin, _MAX_OVERHANG * min(width, height))
    left, top = x + box_width / 2 - side / 2, y + box_height / 2 - side / 2
    left = np.clip(left, 0, width - side) if side <= width else (width - side) / 2
    top = np.clip(top, 0, height - side) if side <= height else (height - side) / 2
    return float(left), float(top), float(side)


def _whole_frame(shape: tuple[int, ...]) -> Square:
    height, width = shape[:2]
    side = float(min(height, width))
    return (width - side) / 2, (height - side) / 2, side


def _cut_square(image: np.ndarray, square: Square, size_px: int) -> np.ndarray:
    """The square, its overhang filled by repeating the border, at `size_px`."""
    x, y, side = round(square[0]), round(square[1]), max(1, round(square[2]))
    height, width = image.shape[:2]
    inside = image[max(0, y) : min(height, y + side), max(0, x) : min(width, x + side)]
    overhang = (max(0, -y), max(0, y + side - height), max(0, -x), max(0, x + side - width))
    if any(overhang):
        inside = cv2.copyMakeBorder(inside, *overhang, cv2.BORDER_REPLICATE)
    return cv2.resize(inside, (size_px, size_px), interpolation=cv2.INTER_AREA if side > size_px else cv2.INTER_CUBIC)


def _share_beyond(reach: np.ndarray, square: Square) -> float:
    """Part of the square that a stabilised picture does not show."""
    x, y, side = round(square[0]), round(square[1]), max(1, round(square[2]))
    height, width = reach.shape
    shown = reach[max(0, y) : min(height, y + side), max(0, x) : min(width, x + side)].sum()
    return 1 - float(shown) / side**2


def _sharpness(picture: np.ndarray) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def _largest_change(first: np.ndarray, second: np.ndarray) -> float:
    """Mean change in grey levels of the block that changed most."""
    difference = cv2.absdiff(first, second).astype(np.float32).mean(axis=-1)
    return float(cv2.resize(difference, (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA).max())


def _in_source(square: Square, scale: float) -> Square:
    x, y, side = (round(value) * scale for value in square)
    return x, y, side
