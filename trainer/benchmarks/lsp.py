"""Leeds Sports Pose and its extension (Johnson and Everingham, 2010 and 2011): athletes; PCK@0.2 of the torso.

`lsp`: `joints.mat` [3, 14, 2000], the third row 1 where a joint is hidden; pictures 1001 to 2000 are the test half.
`lspet`: `joints.mat` [14, 3, 10000], the third column 1 where a joint is seen, and where it is not the place is a
guess: those joints are taken as not labelled. It has no test half: all of it is judged. Its high-resolution
re-release (hr-lspet) holds PNGs and misses some pictures, which are counted as left out. Coordinates count pixels
from 1. Shapes and the opposite meanings of the third row were verified in three public loaders (SPIN, HMR, and one
for both releases); the data themselves were not at hand.
Joints: their neck lies between the collar bones and is our neck. Boxes are those of the joints, widened. Torso: from
the left shoulder to the right hip, or the other diagonal where one of these is not labelled; PCK pools all joints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from posecore.errors import UserError
from trainer.benchmarks.benchmark import Answers, Benchmark, OpenBenchmark, Request
from trainer.benchmarks.files import find, read_mat
from trainer.benchmarks.joints import joint_table
from trainer.benchmarks.sample import BenchmarkSample, box_of_joints
from trainer.benchmarks.scores import pck, pooled

_JOINTS = joint_table(
    "human",
    {
        "right ankle": "right_ankle", "right knee": "right_knee", "right hip": "right_hip",
        "left hip": "left_hip", "left knee": "left_knee", "left ankle": "left_ankle",
        "right wrist": "right_wrist", "right elbow": "right_elbow", "right shoulder": "right_shoulder",
        "left shoulder": "left_shoulder", "left elbow": "left_elbow", "left wrist": "left_wrist",
        "neck": "neck", "head top": "head_top",
    },
)  # fmt: skip
_TORSO = (("left shoulder", "right hip"), ("right shoulder", "left hip"))
_FIRST_TEST_PICTURE = 1001


def _open(root: Path, request: Request, name: str) -> OpenBenchmark:
    path = find(root, name, "joints.mat")
    (joints,) = read_mat(path, "joints")
    axis = {"lsp": 0, "lspet": 1}[name]
    if joints.ndim != 3 or joints.shape[axis] != 3 or joints.shape[1 - axis] != len(_JOINTS.names):
        wanted = "3 x 14 x pictures" if name == "lsp" else "14 x 3 x pictures"
        raise UserError(f"{path}: joints are {joints.shape}, {name} has {wanted}; the other of lsp and lspet?")
    # [pictures, 14, 3]
    joints = np.moveaxis(joints, (2, 1 - axis), (0, 1)).astype(np.float64)
    first = _FIRST_TEST_PICTURE if request.split == "test" else 1
    return OpenBenchmark(_JOINTS, partial(_read, root, name, joints, first))


def _read(root: Path, name: str, joints: np.ndarray, first: int, left_out: Counter[str]) -> Iterator[BenchmarkSample]:
    digits = 4 if name == "lsp" else 5
    torsos = [_JOINTS.index(ends) for ends in _TORSO]
    for number in range(first, len(joints) + 1):
        stem = f"im{number:0{digits}d}"
        candidates = [root / folder / f"{stem}{suffix}" for folder in ("images", ".") for suffix in (".jpg", ".png")]
        picture = next((path for path in candidates if path.is_file()), None)
        if picture is None:
            left_out["pictures that are not there"] += 1
            continue
        mark = joints[number - 1, :, 2]
        known = np.isfinite(joints[number - 1, :, 0]) if name == "lsp" else mark == 1
        joints_px = np.where(known[:, None], joints[number - 1, :, :2] - 0.5, np.nan)
        box = box_of_joints(joints_px)
        if box is None:
            left_out["subjects with fewer than two labelled joints"] += 1
            continue
        lengths = [float(np.linalg.norm(joints_px[a] - joints_px[b])) for a, b in torsos]
        yield BenchmarkSample(
            key=stem,
            picture=picture,
            joints_px=joints_px,
            visible=mark == (0 if name == "lsp" else 1),
            box_px=box,
            cluster=stem,
            scale_px=next((length for length in lengths if np.isfinite(length)), float("nan")),
        )


def _score(answers: Answers) -> dict[str, Any]:
    return {"pck_torso_020": pooled(answers.draws, pck(answers.distance_px, 0.2 * answers.scale_px))}


_SCORES = {"pck_torso_020": "PCK at 0.2 of the torso"}

LSPET = Benchmark(
    name="lspet",
    title="Leeds Sports Pose Extended",
    superset="human",
    joints=_JOINTS,
    layout=("joints.mat", "images/im00001.jpg ...   (hr-lspet: im00001.png ... beside joints.mat)"),
    source="https://sam.johnson.io/research/lspet.html, or the re-release hr-lspet",
    scores=_SCORES,
    open=partial(_open, name="lspet"),
    score=_score,
)
LSP = Benchmark(
    name="lsp",
    title="Leeds Sports Pose",
    superset="human",
    joints=_JOINTS,
    layout=("joints.mat", "images/im0001.jpg ..."),
    source="https://sam.johnson.io/research/lsp.html",
    scores=_SCORES,
    open=partial(_open, name="lsp"),
    score=_score,
    splits=("test", "all"),
)
