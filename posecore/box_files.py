"""Boxes that somebody else found, from a file: ours, COCO's, or a table.

    {"a.png": [x, y, w, h]}, {"a.png": [[...], [...]]}     JSON by picture; for a video the boxes of all its frames
    {"a.mp4": {"0": [x, y, w, h], "40": [...]}}            JSON by frame; between the given frames interpolated
    [{"image": "a.mp4#000012", "box": [...], "id": 1}]     JSON list; what `trainer predict` writes is one
    [{"image_id": 7, "bbox": [...], "score": 0.9}]         COCO detections or results; or images and annotations
    image,x,y,width,height[,frame][,id][,score]            csv, a header and a line a box; image may be left out
                                                           where there is one input

Pictures go by their name or by the last part of a path; COCO's image ids without names are a picture's number (7 for
000007.jpg), else the frame of a clip. A picture that the file does not name has no subject. Boxes are in pixels, from
the outer corner of the top-left one, as COCO's are.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from posecore.errors import UserError
from posecore.pictures import IMAGE_SUFFIXES, Picture, Subject

MIN_SCORE = 0.3
"""Detections below this score are left out unless the user says otherwise; MMPose's demos use the same."""

_NAME_COLUMNS = ("image", "file_name", "filename", "name", "video")
_COLUMNS = {"x": ("x",), "y": ("y",), "width": ("width", "w"), "height": ("height", "h")}


def read_box_file(path: Path, min_score: float = MIN_SCORE, category: int | None = None) -> BoxFile:
    """Read a file of boxes; its form is recognised by its content.

    Args:
        min_score: detections below it are left out; a box without a score is certain.
        category: of COCO detections, those to take; None takes all, if they are of one.

    Raises:
        UserError: the file cannot be read as boxes, or holds several categories and none was chosen.
    """
    try:
        if path.suffix.lower() == ".csv":
            file = _from_table(path)
        else:
            content = json.loads(path.read_text())
            if isinstance(content, dict) and "annotations" in content:
                file = _from_coco(content["annotations"], content.get("images", []))
            elif isinstance(content, dict):
                file = _from_mapping(content)
            elif any("image_id" in entry for entry in content):
                file = _from_coco(content, [])
            else:
                file = _from_entries(content)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(
            f"{path}: cannot be read as boxes ({reason}); "
            'write {"a.png": [x, y, w, h]}, a list of {"image", "box"}, COCO detections, or csv: image,x,y,width,height'
        ) from None
    file = replace(file, path=path)
    categories = sorted({subject.category for subject in file.subjects()})
    if category is None and len(categories) > 1:
        raise UserError(f"{path}: holds boxes of the categories {categories}; choose one with --box-category")
    if category is not None and category not in categories:
        raise UserError(f"{path}: holds no box of category {category}, only of {categories}")
    return file.filtered(min_score, category)


@dataclass(frozen=True)
class BoxFile:
    """The boxes of a file; a finder (`posecore.boxes`).

    Attributes:
        by_picture: subjects by the name of a picture, or of a clip for all its frames.
        by_frame: by a clip's name (None: of the only input) and frame.
        by_number: by COCO's image id, where it has no name.
        keyframes: boxes by clip and frame, of one subject; between them it moves evenly.
    """

    by_picture: dict[str, list[Subject]] = field(default_factory=dict)
    by_frame: dict[str | None, dict[int, list[Subject]]] = field(default_factory=dict)
    by_number: dict[int, list[Subject]] = field(default_factory=dict)
    keyframes: dict[str, dict[int, Subject]] = field(default_factory=dict)
    path: Path = Path()

    def __call__(self, picture: Picture) -> list[Subject]:
        """The subjects of a picture; none if the file does not name it."""
        for name in (picture.name, _last(picture.name), picture.clip, _last(picture.clip)):
            if name in self.by_picture:
                return self.by_picture[name]
        for name in (picture.clip, _last(picture.clip)):
            if name in self.keyframes:
                return [_interpolated(self.keyframes[name], picture.frame)]
            if name in self.by_frame:
                return self.by_frame[name].get(picture.frame, [])
        if None in self.by_frame:
            return self.by_frame[None].get(picture.frame, [])
        if self.by_number:
            return self.by_number.get(_number(picture), [])
        return []

    def within_keyframes(self, picture: Picture) -> bool:
        """False before the first and after the last of several keyframes, where the box is only held."""
        for name in (picture.clip, _last(picture.clip)):
            if name in self.keyframes:
                known = self.keyframes[name]
                return len(known) == 1 or min(known) <= picture.frame <= max(known)
        return True

    def subjects(self) -> list[Subject]:
        """Every box of the file."""
        lists = [*self.by_picture.values(), *self.by_number.values()]
        lists += [one for frames in self.by_frame.values() for one in frames.values()]
        return [one for several in lists for one in several] + [
            one for frames in self.keyframes.values() for one in frames.values()
        ]

    def filtered(self, min_score: float, category: int | None) -> BoxFile:
        """Only the boxes with that score or more, and of that category."""

        def chosen(subjects: list[Subject]) -> list[Subject]:
            return [one for one in subjects if one.score >= min_score and category in (None, one.category)]

        return replace(
            self,
            by_picture={name: chosen(subjects) for name, subjects in self.by_picture.items()},
            by_frame={
                name: {frame: chosen(subjects) for frame, subjects in frames.items()}
                for name, frames in self.by_frame.items()
            },
            by_number={number: chosen(subjects) for number, subjects in self.by_number.items()},
        )

    @property
    def is_nameless(self) -> bool:
        """Whether it tells frames alone, and so is of one clip or picture."""
        return None in self.by_frame

    def an_entry(self) -> str:
        """What the file calls one of its pictures, for a message."""
        for keys in (self.by_picture, self.keyframes, self.by_frame):
            for key in keys:
                if key is not None:
                    return key
        return f"frame or image {next(iter(self.by_number or self.by_frame.get(None, {'none': None})))}"


def _from_mapping(content: dict[str, Any]) -> BoxFile:
    by_picture: dict[str, list[Subject]] = {}
    keyframes: dict[str, dict[int, Subject]] = {}
    for name, given in content.items():
        if isinstance(given, dict):
            keyframes[name] = {int(frame): Subject(_box(box), 1) for frame, box in given.items()}
            if not given:
                raise ValueError(f"{name} has no frame")
        else:
            boxes = given if given and isinstance(given[0], list) else [given] if given else []
            by_picture[name] = [Subject(_box(box)) for box in boxes]
    return BoxFile(by_picture=_with_last(by_picture), keyframes=_with_last(keyframes))


def _from_entries(content: list[dict[str, Any]]) -> BoxFile:
    by_picture: dict[str, list[Subject]] = defaultdict(list)
    for entry in content:
        by_picture[entry["image"]].append(_subject(entry, "box", "box_score"))
    return BoxFile(by_picture=_with_last(by_picture))


def _from_coco(annotations: list[dict[str, Any]], images: list[dict[str, Any]]) -> BoxFile:
    names = {image["id"]: image["file_name"] for image in images}
    by_picture: dict[str, list[Subject]] = {name: [] for name in names.values()}
    by_number: dict[int, list[Subject]] = defaultdict(list)
    for entry in annotations:
        if entry.get("iscrowd"):  # the box of many
            continue
        subject = _subject(entry, "bbox", "score")
        number = entry["image_id"]
        name = names[number] if names else entry.get("file_name")
        if name is None and isinstance(number, str) and not number.isdecimal():
            name = number
        if name is not None:
            by_picture.setdefault(name, []).append(subject)
        else:
            by_number[int(number)].append(subject)
    return BoxFile(by_picture=_with_last(by_picture), by_number=dict(by_number))


def _from_table(path: Path) -> BoxFile:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    if not rows:
        raise ValueError("it has no line under its header")
    header = {(name or "").strip().lower(): name for name in rows[0]}
    columns = {what: next((header[n] for n in names if n in header), None) for what, names in _COLUMNS.items()}
    missing = [what for what, name in columns.items() if name is None]
    if missing:
        raise ValueError(f"its header lacks {', '.join(missing)}: {', '.join(header)}")
    name_column = next((header[name] for name in _NAME_COLUMNS if name in header), None)
    by_picture: dict[str, list[Subject]] = defaultdict(list)
    by_frame: dict[str | None, dict[int, list[Subject]]] = defaultdict(lambda: defaultdict(list))
    for number, row in enumerate(rows):
        entry = {"box": [float(row[columns[what]]) for what in _COLUMNS]}
        entry |= {key: row[header[key]] for key in ("id", "score") if key in header and row[header[key]]}
        subject = _subject(entry, "box", "score")
        if "frame" in header:
            by_frame[row[name_column] if name_column else None][int(float(row[header["frame"]]))].append(subject)
        elif name_column:
            by_picture[row[name_column]].append(subject)
        else:
            by_frame[None][number].append(subject)
    return BoxFile(
        by_picture=_with_last(by_picture),
        by_frame=_with_last({name: dict(frames) for name, frames in by_frame.items()}),
    )


def _subject(entry: dict[str, Any], box: str, score: str) -> Subject:
    own = entry.get("id") if "image_id" not in entry else entry.get("track_id")  # COCO's id is the annotation's
    return Subject(
        _box(entry[box]),
        None if own is None else int(float(own)),
        float(entry.get(score, 1.0)),
        int(entry.get("category_id", 1)),
    )


def _box(box: Iterable[Any]) -> tuple[float, float, float, float]:
    values = [float(value) for value in box]
    if len(values) != 4 or not all(map(math.isfinite, values)) or min(values[2:]) <= 0:
        raise ValueError(f"a box is [x, y, width, height] with a size above 0, got {list(box)}")
    return tuple(values)


def _with_last(table: dict) -> dict:
    """The table with each path's last part as one more key, where no other path ends in it."""
    counts = Counter(_last(name) for name in table if name is not None)
    short = {_last(name): value for name, value in table.items() if name is not None and counts[_last(name)] == 1}
    return short | table


def _last(name: str) -> str:
    return PurePosixPath(name).name


def _number(picture: Picture) -> int | None:
    """What COCO would call the picture: the number that is its file's name, else its place in its clip."""
    name = PurePosixPath(picture.name)
    if name.suffix.lower() in IMAGE_SUFFIXES and name.stem.isdecimal():
        return int(name.stem)
    return None if picture.clip == picture.name else picture.frame


def _interpolated(keyframes: dict[int, Subject], frame: int) -> Subject:
    known = sorted(keyframes)
    table = np.array([keyframes[one].box for one in known])
    return Subject(tuple(float(np.interp(frame, known, table[:, side])) for side in range(4)), 1)
