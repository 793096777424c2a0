"""Predictions as files that other tools read: our JSON, a plain table, DeepLabCut's csv, COCO's results.

JSON and the plain table count pixels as the project does, from the outer corner of the top-left pixel. DeepLabCut and
COCO count from its centre, so x and y are half a pixel less there. BVH is in `trainer.prediction.bvh`.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from posecore.dataset import write_atomically
from posecore.skeleton import load_skeleton
from trainer.prediction.predictor import Prediction

_HALF_PIXEL = 0.5


@dataclass(frozen=True)
class Seen:
    """A picture that was looked at, whoever was found there.

    Attributes:
        name, clip, frame, time_s: as in Picture.
    """

    name: str
    clip: str
    frame: int
    time_s: float


def write_json(path: Path, predictions: Iterable[Prediction]) -> None:
    """A JSON list, one object a subject (`Prediction.to_dict`)."""
    lines = ",\n".join(json.dumps(prediction.to_dict(), allow_nan=False) for prediction in predictions)
    _write(path, f"[\n{lines}\n]\n")


def write_table(path: Path, predictions: Iterable[Prediction]) -> None:
    """csv with a line for each subject and joint; what is missing is empty."""
    rows: list[list[Any]] = [
        ["image", "clip", "frame", "time_s", "id", "joint", "x", "y", "confidence", "x_cam_m", "y_cam_m", "z_cam_m"]
    ]
    for one in predictions:
        start = [one.image, one.clip, one.frame, f"{one.time_s:.6f}", one.id]
        for joint, name in enumerate(load_skeleton(one.skeleton).joints):
            values = [(v, 3) for v in one.keypoints[joint]] + [(v, 4) for v in one.joints_cam_m[joint]]
            rows.append([*start, name, *(_number(value, digits) for value, digits in values)])
    _write_csv(path, rows)


def write_dlc(path: Path, predictions: Sequence[Prediction], seen: Sequence[Seen], scorer: str) -> None:
    """DeepLabCut's csv: three header lines (scorer, bodyparts, coords), four with individuals if there are several.

    A line for each picture looked at, also where nobody was found: a clip's by the number of the frame, single
    pictures by their name. A subject or joint without a prediction is empty, as DeepLabCut leaves it.

    Args:
        predictions, seen: of one clip, or of pictures that stand alone.
    """
    skeleton = load_skeleton(predictions[0].skeleton)
    ids = sorted({one.id for one in predictions})
    columns = [(one, joint, coordinate) for one in ids for joint in skeleton.joints for coordinate in _DLC_COORDINATES]
    individuals = [["individuals", *(f"individual{one}" for one, _, _ in columns)]] if len(ids) > 1 else []
    rows: list[list[Any]] = [
        ["scorer", *[scorer] * len(columns)],
        *individuals,
        ["bodyparts", *(joint for _, joint, _ in columns)],
        ["coords", *(coordinate for _, _, coordinate in columns)],
    ]
    by_place = {(one.image, one.id): one for one in predictions}
    for picture in seen:
        row: list[Any] = [picture.name if picture.clip == picture.name else picture.frame]
        for one in ids:
            found = by_place.get((picture.name, one))
            keypoints = np.full((skeleton.num_joints, 3), np.nan) if found is None else found.keypoints
            for x, y, confidence in keypoints:
                known = np.isfinite(x)
                row += [
                    _number(x - _HALF_PIXEL, 3),
                    _number(y - _HALF_PIXEL, 3),
                    _number(confidence, 4) if known else "",
                ]
        rows.append(row)
    _write_csv(path, rows)


def write_coco(path: Path, predictions: Sequence[Prediction], seen: Sequence[Seen]) -> None:
    """COCO's results: a list of image_id, category_id, keypoints (x, y, confidence, flat), score and bbox.

    An image's id is the number that its file is named by, as COCO's are (7 for 000007.jpg); if any name is no number,
    or two agree, all ids are the place among the pictures looked at, from 1. `file_name` is added, which COCO's tools
    ignore. The score is the box's times the mean confidence, as MMPose has it. The format has no way to say that a
    joint is missing: it is 0, 0, 0.
    """
    ids = _image_ids([picture.name for picture in seen])
    entries = []
    for one in predictions:
        places = np.where(np.isfinite(one.keypoints), one.keypoints - [_HALF_PIXEL, _HALF_PIXEL, 0], 0.0)
        entries.append(
            {
                "image_id": ids[one.image],
                "file_name": one.image,
                "category_id": one.category,
                "keypoints": [round(float(value), 3) for value in places.ravel()],
                "score": round(one.score, 5),
                "bbox": [round(value, 2) for value in one.box],
            }
        )
    _write(path, "[\n" + ",\n".join(json.dumps(entry, allow_nan=False) for entry in entries) + "\n]\n")


def by_clip(items: Iterable[Any]) -> dict[str, list[Any]]:
    """Predictions or pictures by their clip, in order."""
    clips: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        clips[item.clip].append(item)
    return dict(clips)


_DLC_COORDINATES = ("x", "y", "likelihood")


def _image_ids(names: Sequence[str]) -> Mapping[str, int]:
    stems = [PurePosixPath(name).stem for name in names]
    if all(stem.isdecimal() for stem in stems) and len(set(map(int, stems))) == len(stems):
        return {name: int(stem) for name, stem in zip(names, stems, strict=True)}
    return {name: place for place, name in enumerate(names, start=1)}


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else ""


def _write_csv(path: Path, rows: list[list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
