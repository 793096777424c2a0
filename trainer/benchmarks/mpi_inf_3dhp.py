"""MPI-INF-3DHP's test set (Mehta et al., 2017): six sequences; 3D PCK at 150 mm and its AUC.

TS1..TS6 each hold `annot_data.mat` (HDF5) and `imageSequence/img_000001.jpg`; frames with `valid_frame` 0 are not
judged. As in the authors' Matlab code (mpii_compute_3d_pck.m and its joint groups, read in public copies and ports):
truth is `univ_annot3`, in millimetres of the camera's axes at the height of the universal skeleton, relative to the
pelvis; PCK counts errors strictly below the limit over 14 joints (without pelvis, spine and head), AUC is the mean of
PCK at 0, 5, ..., 150 mm. Both pool all frames; the sequences' own numbers are beside them. Boxes are those of the
joints, widened; the camera is fitted to `annot2` and `annot3`.
Joints: "neck" lies at the throat's base and is our neck, "head" is our (inner) head, "spine" our spine2. The layout
was verified against SPIN's and MMPose's code and MMPose's test fragment.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from posecore.errors import UserError
from trainer.benchmarks.benchmark import Answers, Benchmark, OpenBenchmark, Request
from trainer.benchmarks.files import find, library
from trainer.benchmarks.joints import joint_table
from trainer.benchmarks.sample import BenchmarkSample, box_of_joints, fit_intrinsics
from trainer.benchmarks.scores import by_group, pooled

_JOINTS = joint_table(
    "human",
    {
        "head_top": "head_top", "neck": "neck",
        "right_shoulder": "right_shoulder", "right_elbow": "right_elbow", "right_wrist": "right_wrist",
        "left_shoulder": "left_shoulder", "left_elbow": "left_elbow", "left_wrist": "left_wrist",
        "right_hip": "right_hip", "right_knee": "right_knee", "right_ankle": "right_ankle",
        "left_hip": "left_hip", "left_knee": "left_knee", "left_ankle": "left_ankle",
        "pelvis": "pelvis", "spine": "spine2", "head": "head",
    },
    root="pelvis",
)  # fmt: skip
_NOT_IN_PCK = ("pelvis", "spine", "head")
_LIMIT_MM = 150
_AUC_LIMITS_MM = np.arange(0, _LIMIT_MM + 1, 5)
_ACTIVITIES = ("Standing/Walking", "Exercising", "Sitting", "Reaching/Crouching", "On the floor", "Sports", "Other")
"""Of `activity_annotation`, which counts from 1."""


def _open(root: Path, request: Request) -> OpenBenchmark:
    first = find(root, "3dhp", "TS1/annot_data.mat", "mpi_inf_3dhp_test_set/TS1/annot_data.mat")
    folder = first.parent.parent
    sequences = [folder / f"TS{number}" for number in range(1, 7)]
    for sequence in sequences:
        find(sequence, "3dhp", "annot_data.mat")
    return OpenBenchmark(_JOINTS, lambda left_out: (sample for path in sequences for sample in _read(path)))


def _read(folder: Path) -> Iterator[BenchmarkSample]:
    path = folder / "annot_data.mat"
    count = len(_JOINTS.names)
    try:
        with library("h5py").File(path) as file:
            joints_px = np.array(file["annot2"]).reshape(-1, count, 2)
            joints_cam_mm, universal_mm = (np.array(file[n]).reshape(-1, count, 3) for n in ("annot3", "univ_annot3"))
            valid, activity = (np.array(file[n]).ravel() for n in ("valid_frame", "activity_annotation"))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not MPI-INF-3DHP's annotations, which are HDF5 (Matlab 7.3): {error}") from None
    frames = np.flatnonzero(valid)
    K = fit_intrinsics(joints_px[frames], joints_cam_mm[frames] / 1000)
    for frame in frames.tolist():
        yield BenchmarkSample(
            key=f"{folder.name}#{frame + 1:06d}",
            picture=folder / "imageSequence" / f"img_{frame + 1:06d}.jpg",
            joints_px=joints_px[frame],
            visible=np.ones(count, bool),
            box_px=box_of_joints(joints_px[frame]),
            cluster=folder.name,
            group=_ACTIVITIES[int(activity[frame]) - 1],
            joints_cam_m=universal_mm[frame] / 1000,
            camera_K=K,
        )


def _score(answers: Answers) -> dict[str, Any]:
    if answers.joints_cam_m is None:
        return {"pck3d_150mm": None, "auc": None}
    judged = [place for place, name in enumerate(answers.joints.names) if name not in _NOT_IN_PCK]
    error_mm = 1000 * np.linalg.norm(answers.joints_cam_m - answers.true_joints_cam_m, axis=-1)[:, judged]
    values = {
        "pck3d_150mm": (error_mm < _LIMIT_MM).astype(float),
        "auc": (error_mm[..., None] < _AUC_LIMITS_MM).mean(-1),
    }
    sequences = [sample.cluster for sample in answers.samples]
    result: dict[str, Any] = {name: pooled(answers.draws, value) for name, value in values.items()}
    for name, groups in (("by_sequence", sequences), ("by_action", answers.groups)):
        each = {metric: by_group(answers.draws, value, groups) for metric, value in values.items()}
        result[name] = {group: {m: rows[group] for m, rows in each.items()} for group in sorted(set(groups))}
    return result


BENCHMARK = Benchmark(
    name="3dhp",
    title="MPI-INF-3DHP",
    superset="human",
    joints=_JOINTS,
    layout=(
        "mpi_inf_3dhp_test_set/TS1/annot_data.mat, TS2 ... TS6 likewise   (or TS1 ... directly)",
        "mpi_inf_3dhp_test_set/TS1/imageSequence/img_000001.jpg ...",
    ),
    source="https://vcai.mpi-inf.mpg.de/3dhp-dataset: the test set",
    scores={"pck3d_150mm": "3D PCK at 150 mm", "auc": "area under 3D PCK, 0 to 150 mm"},
    open=_open,
    score=_score,
)
