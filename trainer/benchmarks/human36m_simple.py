"""Simplified Human3.6M: Zhang et al.'s (2018) 128 px crops, judged as KeypointGAN does; error in % of the picture.

S11, six activities, every frame. The whole picture is the crop, as published. Split `masked` blackens the background
by the release's masks, which is KeypointGAN's default and that of the numbers in the literature; `background` keeps
it. The folder's name really is "BackgroudMask". `keypoints_2d` [32, 2] are shares of the picture in the order row,
column: KeypointGAN's loader, on which this rests, swaps them; the data themselves were not at hand.

Scores, each a mean over activities of means over frames: the mean distance of the joints in % of the picture's side
(the "%-MSE" of the papers, which is no square); the same after exchanging left and right wherever that is nearer; and
how often no exchange was needed. The full 32 joints, several of them duplicates, can be answered by a model of the
`human` skeleton only; another answers fewer, which makes its number no match for the published ones: see
`joints_unknown_to_model`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from posecore.errors import UserError
from trainer.benchmarks.benchmark import Answers, Benchmark, OpenBenchmark, Request
from trainer.benchmarks.files import find, read_mat
from trainer.benchmarks.human36m import action_of
from trainer.benchmarks.joints import joint_table
from trainer.benchmarks.sample import BenchmarkSample
from trainer.benchmarks.scores import groups_and_mean, subject_means

ACTIVITIES = ("Directions", "Discussion", "Greeting", "Posing", "Waiting", "Walking")
_SIDE_PX = 128
_SHOULDERS = ("left_shoulder", "right_shoulder")


_LEG = {"hip": "hip", "knee": "knee", "ankle": "ankle", "ball": "foot", "toes": "big_toe"}
_ARM = {
    "shoulder": "shoulder", "elbow": "elbow", "wrist": "wrist", "wrist twin": "wrist", "thumb": "thumb", "hand": "hand",
    "hand twin": "hand",
}  # fmt: skip


def _limb(side: str, limb: dict[str, str]) -> dict[str, str]:
    return {f"{side} {theirs}": f"{side}_{ours}" for theirs, ours in limb.items()}


# Human3.6M's order of 32; the collars coincide with the thorax, the twins with what they double, the second pelvis with
# the first.
_JOINTS = joint_table(
    "human",
    {
        "pelvis": "pelvis", **_limb("right", _LEG), **_limb("left", _LEG), "pelvis twin": "pelvis",
        "spine": "spine2", "thorax": _SHOULDERS, "nose": "nose", "head top": "head_top",
        "left collar": _SHOULDERS, **_limb("left", _ARM), "right collar": _SHOULDERS, **_limb("right", _ARM),
    },
)  # fmt: skip


def _open(root: Path, request: Request) -> OpenBenchmark:
    landmarks = find(root, "h36m-simple", "S11/Landmarks", "human_images/S11/Landmarks")
    pictures = find(landmarks.parent, "h36m-simple", "WithBackground")
    masks = find(landmarks.parent, "h36m-simple", "BackgroudMask") if request.split == "masked" else None
    if not any(action_of(folder.name.rsplit(".", 1)[0]) in ACTIVITIES for folder in landmarks.iterdir()):
        raise UserError(f"{landmarks}: holds none of {', '.join(ACTIVITIES)}, such as 'Directions 1.54138969'")
    return OpenBenchmark(_JOINTS, lambda left_out: _read(landmarks, pictures, masks, request.stride))


def _read(landmarks: Path, pictures: Path, masks: Path | None, stride: int) -> Iterator[BenchmarkSample]:
    for folder in sorted(landmarks.iterdir()):
        sequence = folder.name.rsplit(".", 1)[0]
        if action_of(sequence) not in ACTIVITIES:
            continue
        for path in sorted(folder.glob("*.mat"), key=lambda path: int(path.stem))[::stride]:
            (shares,) = read_mat(path, "keypoints_2d")
            yield BenchmarkSample(
                key=f"{folder.name}#{path.stem}",
                picture=pictures / folder.name / f"{path.stem}.jpg",
                joints_px=_SIDE_PX * shares[:, ::-1].astype(np.float64),
                visible=np.ones(len(_JOINTS.names), bool),
                box_px=None,
                cluster=sequence,
                group=action_of(sequence),
                scale_px=float(_SIDE_PX),
                silhouette=None if masks is None else masks / folder.name / f"{path.stem}.png",
            )


def _score(answers: Answers) -> dict[str, Any]:
    swap = list(answers.joints.skeleton.swap)
    exchanged = np.linalg.norm(answers.joints_px[:, swap] - answers.true_joints_px, axis=-1)
    error, other = (100 * subject_means(d) / answers.scale_px[:, 0] for d in (answers.distance_px, exchanged))
    values = {
        "mean_distance_pct": error,
        "mean_min_distance_pct": np.minimum(error, other),
        "correct_flips": (error <= other).astype(float),
    }
    return groups_and_mean(answers.draws, values, answers.groups, "by_action")


BENCHMARK = Benchmark(
    name="h36m-simple",
    title="Simplified Human3.6M (KeypointGAN's protocol)",
    superset="human",
    joints=_JOINTS,
    layout=(
        "S11/Landmarks/Directions 1.54138969/1.mat ...   (the folder that human_images.tar.gz unpacks to)",
        "S11/WithBackground/Directions 1.54138969/1.jpg ...",
        "S11/BackgroudMask/Directions 1.54138969/1.png ...   (spelt so)",
    ),
    source="human_images.tar.gz of Zhang et al., which https://github.com/tomasjakab/keypointgan links",
    scores={
        "mean_distance_pct": "error, % of the picture, mean over activities",
        "mean_min_distance_pct": "error, % of the picture, flips forgiven",
        "correct_flips": "share of frames that need no flip",
    },
    open=_open,
    score=_score,
    splits=("masked", "background"),
    stride=1,
)
