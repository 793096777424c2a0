"""MPII Human Pose (Andriluka et al., 2014): people in photographs; PCKh@0.5.

Two layouts. The usual validation split (Tompson's 2,958 people) is not the authors' own: it comes as `valid.json` and
`gt_valid.mat` with HRNet, as `mpii_val.json` and `mpii_gt_val.mat` with MMPose; split `val`. The authors' own
`mpii_human_pose_v1_u12_1.mat` has labels for its training pictures only; split `train` judges everyone in them.
Joints: pelvis and the mean of the shoulders ("thorax") are ours as well; "upper neck" is our neck. Coordinates count
pixels from 1. A person's box is the square of 200 px times `scale` round `center` moved down by 15 px times `scale`,
as HRNet and MMPose take it. PCKh: within half of 0.6 times the diagonal of the head's box, pooled over joints but
pelvis and thorax (HRNet's and MMPose's evaluation, which follow the authors' Matlab code). Both layouts were verified
against the code of HRNet and MMPose and MMPose's test fragment; the authors' .mat against its documentation only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from posecore.errors import UserError
from trainer.benchmarks.benchmark import Answers, Benchmark, OpenBenchmark, Request
from trainer.benchmarks.files import find, read_json, read_mat
from trainer.benchmarks.joints import joint_table
from trainer.benchmarks.sample import BenchmarkSample, Box
from trainer.benchmarks.scores import by_group, pck, pooled

_JOINTS = joint_table(
    "human",
    {
        "right ankle": "right_ankle", "right knee": "right_knee", "right hip": "right_hip",
        "left hip": "left_hip", "left knee": "left_knee", "left ankle": "left_ankle",
        "pelvis": "pelvis", "thorax": ["left_shoulder", "right_shoulder"], "upper neck": "neck", "head top": "head_top",
        "right wrist": "right_wrist", "right elbow": "right_elbow", "right shoulder": "right_shoulder",
        "left shoulder": "left_shoulder", "left elbow": "left_elbow", "left wrist": "left_wrist",
    },
)  # fmt: skip
_NOT_IN_PCKH = ("pelvis", "thorax")
_HEAD_OF_BOX = 0.6
"""Head size over the diagonal of the annotated head box."""
_PERSON_PX = 200
"""Height of a person of `scale` 1."""
_OWN = "mpii_human_pose_v1_u12_1.mat"


def _open(root: Path, request: Request) -> OpenBenchmark:
    images = find(root, "mpii", "images")
    if request.split == "train":
        path = find(root, "mpii", _OWN, f"annotations/{_OWN}", f"annot/{_OWN}")
        return OpenBenchmark(_JOINTS, lambda left_out: _read_authors(path, images, left_out))
    people = find(root, "mpii", "annot/valid.json", "annotations/mpii_val.json")
    heads = find(root, "mpii", "annot/gt_valid.mat", "annotations/mpii_gt_val.mat")
    return OpenBenchmark(_JOINTS, lambda left_out: _read_validation(people, heads, images))


def _read_validation(people: Path, heads: Path, images: Path) -> Iterator[BenchmarkSample]:
    persons = read_json(people)
    head_boxes, missing, places = read_mat(heads, "headboxes_src", "jnt_missing", "pos_gt_src")
    if not len(persons) == head_boxes.shape[2] == places.shape[2]:
        raise UserError(f"{people}: {len(persons)} people, but {heads.name} has {places.shape[2]}; take both of a kind")
    for number, person in enumerate(persons):
        known = missing[:, number] == 0
        yield BenchmarkSample(
            key=f"{Path(person['image']).stem}-{number}",
            picture=images / person["image"],
            joints_px=np.where(known[:, None], places[:, :, number] - 0.5, np.nan),
            visible=known,
            box_px=_person_box(person["center"], person["scale"]),
            cluster=person["image"],
            scale_px=_HEAD_OF_BOX * float(np.linalg.norm(head_boxes[1, :, number] - head_boxes[0, :, number])),
        )


def _read_authors(path: Path, images: Path, left_out: Counter[str]) -> Iterator[BenchmarkSample]:
    (release,) = read_mat(path, "RELEASE", struct_as_record=False, squeeze_me=True)
    for picture, is_train in zip(release.annolist, release.img_train, strict=True):
        if not is_train:
            left_out["pictures whose labels are withheld"] += 1
            continue
        name = str(picture.image.name)
        for number, person in enumerate(np.atleast_1d(picture.annorect)):
            points = np.atleast_1d(getattr(getattr(person, "annopoints", None), "point", []))
            if not len(points) or not _has(person, "objpos") or not _has(person, "scale"):
                left_out["people without joints, place or scale"] += 1
                continue
            joints_px, visible = np.full((len(_JOINTS.names), 2), np.nan), np.zeros(len(_JOINTS.names), bool)
            for point in points:
                joints_px[int(point.id)] = float(point.x) - 0.5, float(point.y) - 0.5
                # A number or text; points of the head have no mark, and hidden ones alone are "0".
                visible[int(point.id)] = str(getattr(point, "is_visible", 1)) != "0"
            yield BenchmarkSample(
                key=f"{Path(name).stem}-{number}",
                picture=images / name,
                joints_px=joints_px,
                visible=visible,
                box_px=_person_box((float(person.objpos.x), float(person.objpos.y)), float(person.scale)),
                cluster=name,
                scale_px=_HEAD_OF_BOX * float(np.hypot(person.x2 - person.x1, person.y2 - person.y1)),
            )


def _has(person: Any, name: str) -> bool:
    return np.size(getattr(person, name, ())) > 0


def _person_box(center: tuple[float, float], scale: float) -> Box:
    side = _PERSON_PX * scale
    x, y = center[0] - 0.5, center[1] - 0.5 + 15 * scale
    return x - side / 2, y - side / 2, side, side


def _score(answers: Answers) -> dict[str, Any]:
    judged = [place for place, name in enumerate(answers.joints.names) if name not in _NOT_IN_PCKH]
    share = answers.distance_px[:, judged] / answers.scale_px
    hits = pck(share, 0.5)
    names = [answers.joints.names[place].removeprefix("left ").removeprefix("right ") for place in judged]
    parts = np.broadcast_to(np.array(names), hits.shape)
    return {
        "pckh_050": pooled(answers.draws, hits),
        "pckh_010": pooled(answers.draws, pck(share, 0.1)),
        "by_part": {name: {"pckh_050": value} for name, value in by_group(answers.draws, hits, parts).items()},
    }


BENCHMARK = Benchmark(
    name="mpii",
    title="MPII Human Pose",
    superset="human",
    joints=_JOINTS,
    layout=(
        "images/015601864.jpg ...",
        "val: annot/valid.json, annot/gt_valid.mat   (HRNet)   or annotations/mpii_val.json, mpii_gt_val.mat (MMPose)",
        f"train: {_OWN}   (the authors')",
    ),
    source="http://human-pose.mpi-inf.mpg.de, and the validation split from HRNet's or MMPose's documentation",
    scores={"pckh_050": "PCKh at 0.5", "pckh_010": "PCKh at 0.1"},
    open=_open,
    score=_score,
    splits=("val", "train"),
)
