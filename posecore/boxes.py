"""Who is where in a picture: boxes from a file, from alpha, from what moves, or the whole picture.

A finder is a function from a picture to its subjects, in the order in which they are answered. Boxes are x, y, width,
height in pixels of the upright picture and may reach beyond it. An id stays with a subject through its clip: the
finder's own where it knows one, else boxes are linked from frame to frame by overlap; in a picture that stands alone
subjects are numbered from 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from posecore.errors import UserError
from posecore.motion import intersection_over_union
from posecore.pictures import Picture, Subject
from posecore.sample import tight_box

Finder = Callable[[Picture], list[Subject]]

_MIN_OVERLAP = 0.3  # of two boxes in neighbouring frames, from which on they are one subject
_MAX_GAP_FRAMES = 12  # for which a subject without a box keeps its id


def whole_picture(picture: Picture) -> list[Subject]:
    """The picture itself, without a margin; in a labelled dataset the subjects that it knows of."""
    return [Subject(None, 1)] if picture.labelled is None else list(picture.labelled)


def from_alpha(picture: Picture) -> list[Subject]:
    """The box round what is more than half opaque; nobody where nothing is.

    Raises:
        UserError: the picture has no alpha channel.
    """
    if picture.alpha is None:
        raise UserError(f"{picture.name}: has no alpha channel to take a box from; find its subject in another way")
    opaque = picture.alpha > 127
    return [Subject(tuple(tight_box(opaque).tolist()), 1)] if opaque.any() else []


def inside_picture(picture: Picture, subjects: list[Subject]) -> list[Subject]:
    """Those whose box shares at least a pixel with the picture."""
    height, width = picture.image.shape[:2]

    def is_inside(subject: Subject) -> bool:
        if subject.box is None:
            return True
        x, y, box_width, box_height = subject.box
        return min(x + box_width, width) - max(x, 0) >= 1 and min(y + box_height, height) - max(y, 0) >= 1

    return [subject for subject in subjects if is_inside(subject)]


class IdKeeper:
    """Gives an id to every subject that has none; call it with each picture of a clip in order.

    The pair of boxes that overlaps most is linked first; what overlaps nothing is somebody new.
    """

    def __init__(self) -> None:
        self._clip = ""
        self._last: dict[int, tuple[int, np.ndarray]] = {}
        self._used: set[int] = set()

    def __call__(self, picture: Picture, subjects: list[Subject]) -> list[Subject]:
        """The same subjects, each with an id."""
        if picture.clip != self._clip:
            self._clip, self._last, self._used = picture.clip, {}, set()
        ids = {place: subject.id for place, subject in enumerate(subjects) if subject.id is not None}
        if len(set(ids.values())) < len(ids):
            raise UserError(f"{picture.name}: two boxes bear the same id, {sorted(ids.values())}; ids must differ")
        boxes = [np.array(subject.box or (0.0, 0.0, *picture.image.shape[1::-1])) for subject in subjects]
        overlaps = [
            (-intersection_over_union(box, boxes[place]), known, place)
            for known, (frame, box) in self._last.items()
            for place in range(len(subjects))
            if picture.frame - frame <= _MAX_GAP_FRAMES
        ]
        for negative, known, place in sorted(overlaps):
            if -negative >= _MIN_OVERLAP and place not in ids and known not in ids.values():
                ids[place] = known
        for place in range(len(subjects)):
            if place not in ids:
                ids[place] = 1 + max([*self._used, *ids.values(), 0])
        self._used |= set(ids.values())
        self._last |= {ids[place]: (picture.frame, box) for place, box in enumerate(boxes)}
        return [replace(subject, id=ids[place]) for place, subject in enumerate(subjects)]
