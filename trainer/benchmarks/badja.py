"""BADJA (Biggs et al., 2018): animals in videos; PCK at 0.2 of the root of the segment's area.

`joint_annotations/*.json` of the authors' repository, DAVIS 2017's full-resolution frames and the extra videos beside
it; frames of tiger and cat are not distributed, and whatever frames are missing are left out and counted. Joints are
37 places of the SMAL model in the order row, column, counted in pixels from 0, of which 20 are annotated.
Joints: of each leg the elbow or stifle, the carpus or hock, and the paw are annotated. "neck lower" is our neck. The
middle of the tail, the jaw, and the tips of the ears (SMAL vertices 2124 and 149; our ear is its base) are none of
ours. The repository's README calls vertex 149 the left ear, its code the right one: measured against the shoulders, the
annotations follow the code (in 109 frames against 28 in which the two can be told).
PCK pools a sequence's visible joints and is averaged over sequences, as trackers report it; a segment is whatever is
not black. All of this was verified against the authors' repository, its annotations, and the evaluation of PIPs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from posecore.errors import UserError
from trainer.benchmarks.benchmark import Answers, Benchmark, OpenBenchmark, Request
from trainer.benchmarks.files import find, read_json
from trainer.benchmarks.joints import joint_table
from trainer.benchmarks.sample import BenchmarkSample
from trainer.benchmarks.scores import groups_and_mean, pck

_PLACES = (8, 9, 10, 12, 13, 14, 15, 18, 19, 20, 22, 23, 24, 25, 28, 31, 32, 33, 35, 36)
"""Of the annotated joints among the 37."""
_NUM_PLACES = 37
_JOINTS = joint_table(
    "quadruped",
    {
        "upper_right_1": "right_elbow", "upper_right_2": "right_carpus", "upper_right_3": "right_front_paw",
        "upper_left_1": "left_elbow", "upper_left_2": "left_carpus", "upper_left_3": "left_front_paw",
        "neck_lower": "neck",
        "lower_right_1": "right_stifle", "lower_right_2": "right_hock", "lower_right_3": "right_back_paw",
        "lower_left_1": "left_stifle", "lower_left_2": "left_hock", "lower_left_3": "left_back_paw",
        "tail_0": "tail_root", "tail_3": None, "tail_6": "tail_tip",
        "jaw": None, "nose": "nose", "right_ear": None, "left_ear": None,
    },
)  # fmt: skip


def _open(root: Path, request: Request) -> OpenBenchmark:
    paths = sorted(find(root, "badja", "joint_annotations").glob("*.json"))
    frames = {path.stem: read_json(path) for path in paths}
    if not any((root / frame["image_path"]).is_file() for own in frames.values() for frame in own):
        raise UserError(
            f"{root}: has BADJA's joint_annotations, but none of the frames; unpack DAVIS 2017 (full resolution) to "
            "DAVIS and the extra videos to extra_videos in it"
        )
    return OpenBenchmark(_JOINTS, lambda left_out: _read(root, frames, left_out))


def _read(root: Path, frames: dict[str, list[dict[str, Any]]], left_out: Counter[str]) -> Iterator[BenchmarkSample]:
    for sequence, labelled in frames.items():
        for frame in labelled:
            picture, segment = root / frame["image_path"], root / frame["segmentation_path"]
            if not picture.is_file() or not segment.is_file():
                left_out[f"frames of {sequence} that are not there"] += 1
                continue
            if len(frame["joints"]) != _NUM_PLACES:
                raise UserError(f"{root}: {frame['image_path']}: has {len(frame['joints'])} joints, not {_NUM_PLACES}")
            known = np.array(frame["visibility"], bool)[list(_PLACES)]
            joints = np.array(frame["joints"], np.float64)[list(_PLACES), ::-1] + 0.5
            is_animal = _read_segment(segment)
            if not known.any() or not is_animal.any():
                left_out[f"frames of {sequence} without a joint or a segment"] += 1
                continue
            rows, columns = (np.flatnonzero(is_animal.any(axis)) for axis in (1, 0))
            yield BenchmarkSample(
                key=f"{sequence}/{picture.stem}",
                picture=picture,
                joints_px=np.where(known[:, None], joints, np.nan),
                visible=known,
                box_px=(float(columns[0]), float(rows[0]), float(np.ptp(columns) + 1), float(np.ptp(rows) + 1)),
                cluster=sequence,
                group=sequence,
                species=sequence,
                scale_px=float(np.sqrt(is_animal.sum())),
            )


def _read_segment(path: Path) -> np.ndarray:
    """[H, W] bool. Annotations and masks of these videos are of one size."""
    mask = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if mask is None:
        raise UserError(f"{path}: does not decode as a picture")
    return mask.any(2)


def _score(answers: Answers) -> dict[str, Any]:
    hits = pck(answers.distance_px, 0.2 * answers.scale_px)
    return groups_and_mean(answers.draws, {"pck_area_020": hits}, answers.groups, "by_sequence")


BENCHMARK = Benchmark(
    name="badja",
    title="BADJA",
    superset="quadruped",
    joints=_JOINTS,
    layout=(
        "joint_annotations/bear.json ...   (the repository itself)",
        "DAVIS/JPEGImages/Full-Resolution/bear/00002.jpg ...   DAVIS/Annotations/Full-Resolution/bear/00002.png ...",
        "extra_videos/rs_dog/rgb/0000.png ...   extra_videos/rs_dog/segmentations/0000.png ...",
    ),
    source="https://github.com/benjiebob/BADJA, whose README names DAVIS and the extra videos",
    scores={"pck_area_020": "PCK at 0.2 of the root of the segment, mean over sequences"},
    open=_open,
    score=_score,
)
