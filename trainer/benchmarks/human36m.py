"""Human3.6M (Ionescu et al., 2014), the full protocol: S9 and S11, four cameras, 17 joints, MPJPE and PA-MPJPE.

Two layouts: the archives as the dataset's site hands them out, unpacked (CDF files beside videos; h36m-fetch's folder
names are known as well), and MMPose's preprocessed npz beside pictures. Joints in the CDF files are 32, in pixels
and, `D3_Positions_mono`, millimetres of the camera's own axes; places 0, 1, 2, 3, 6, 7, 8, 12 to 15, 17 to 19 and 25
to 27 are the 17, which are our `h36m17` in order. As in the literature, files of "_ALL" are no sequences, and S11's
first Directions, whose video is corrupt, is left out. Both were verified against the public code of h36m-fetch,
VideoPose3D and MMPose and MMPose's test fragment.

"P1" is MPJPE after moving the pelvis onto the truth's, "P2" after Procrustes (rotation, scale, shift, no reflection);
both are means over the 15 actions. The stride is counted in frames of the videos (50 a second); 64 is the one of
"Compositional Human Pose Regression", which much of the literature uses. Boxes are those of the joints, widened.
Our head joints lie on the face and the crown, Human3.6M's inside the head; see `h36m17.yaml`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from posecore.errors import UserError
from trainer.benchmarks.benchmark import Answers, Benchmark, OpenBenchmark, Request
from trainer.benchmarks.files import find, library
from trainer.benchmarks.joints import skeleton_table
from trainer.benchmarks.sample import BenchmarkSample, VideoFrame, box_of_joints, fit_intrinsics
from trainer.benchmarks.scores import groups_and_mean
from trainer.evaluation.metrics import procrustes

TEST_SUBJECTS = ("S9", "S11")
ALL_JOINTS = 32
JOINTS_17 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Which of the 32 joints of the files are the 17 of the protocol."""
_JOINTS = skeleton_table("h36m17", root="pelvis")
_CORRUPT = ("S11", "Directions")
_OTHER_NAMES = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}
"""Actions that some subjects' files call otherwise."""
_MOST_OFF_PX = 15
"""A camera without distortion is off by a few pixels at most."""
_POSE_FOLDERS = ("MyPoseFeatures/{}", "Poses_{}")


def action_of(sequence: str) -> str:
    """The action of a sequence's name: "Directions 1" or "Directions_1" is a repetition of Directions."""
    action = re.sub(r"[ _]\d+$", "", sequence)
    return _OTHER_NAMES.get(action, action)


def _open(root: Path, request: Request) -> OpenBenchmark:
    tables = ("annotation_body3d/fps50/h36m_test.npz", "annotation_body3d/fps10/h36m_test.npz")
    folders = [f"{TEST_SUBJECTS[0]}/{folder.format('D2_Positions')}" for folder in _POSE_FOLDERS]
    found = find(root, "h36m", *folders, *tables)
    if found.is_dir():
        return OpenBenchmark(_JOINTS, lambda left_out: _read_cdf(root, request.stride, left_out))
    return OpenBenchmark(_JOINTS, lambda left_out: _read_npz(found, find(root, "h36m", "images"), request.stride))


def _read_cdf(root: Path, stride: int, left_out: Counter[str]) -> Iterator[BenchmarkSample]:
    for subject in TEST_SUBJECTS:
        folder = root / subject
        flat = find(folder, "h36m", *(place.format("D2_Positions") for place in _POSE_FOLDERS))
        spatial = find(folder, "h36m", *(place.format("D3_Positions_mono") for place in _POSE_FOLDERS))
        for path in sorted(flat.glob("*.cdf")):
            sequence, camera = path.stem.rsplit(".", 1)
            if sequence.startswith("_ALL"):
                continue
            if (subject, sequence) == _CORRUPT:
                left_out["sequences whose video is known to be corrupt"] += 1
                continue
            video = find(folder, "h36m", f"Videos/{path.stem}.mp4")
            joints_px = _read_pose(path, 2)
            joints_cam_m = _read_pose(spatial / path.name, 3) / 1000
            if len(joints_px) != len(joints_cam_m):
                raise UserError(f"{path}: {len(joints_px)} frames, but {len(joints_cam_m)} of {spatial.name}")
            K = _fit_camera(path, joints_px, joints_cam_m)
            for frame in range(0, len(joints_px), stride):
                picture = VideoFrame(video, frame)
                yield _sample(picture, subject, sequence, camera, frame, joints_px[frame], joints_cam_m[frame], K)


def _read_pose(path: Path, dimensions: int) -> np.ndarray:
    """[frames, 17, dimensions] of a CDF file."""
    if not path.is_file():
        raise UserError(f"{path}: missing; Human3.6M's D2_Positions and D3_Positions_mono belong together")
    pose = np.asarray(library("cdflib").CDF(path).varget("Pose"), dtype=np.float64)
    return pose.reshape(-1, ALL_JOINTS, dimensions)[:, list(JOINTS_17)]


def _read_npz(table: Path, images: Path, stride: int) -> Iterator[BenchmarkSample]:
    with np.load(table, allow_pickle=False) as stored:
        names, joints_px, joints_cam_m = stored["imgname"], stored["part"][..., :2], stored["S"][..., :3]
    # S9/S9_Directions_1.54138969/S9_Directions_1.54138969_000001.jpg
    parts = [re.fullmatch(r"(S\d+)_(.+)\.(\d+)_(\d+)", Path(str(name)).stem) for name in names]
    if None in parts:
        raise UserError(f"{table}: picture {names[parts.index(None)]!r} is not named S9_ACTION.CAMERA_FRAME.jpg")
    clips = ["_".join(part.groups()[:3]) for part in parts]
    _, first = np.unique(clips, return_index=True)
    for start, end in zip(sorted(first), [*sorted(first)[1:], len(clips)], strict=True):
        K = _fit_camera(table, joints_px[start:end], joints_cam_m[start:end])
        due = 0
        for row in range(start, end):
            subject, sequence, camera, number = parts[row].groups()
            frame = int(number) - 1
            if frame >= due:
                due = frame - frame % stride + stride
                place = images / str(names[row])
                yield _sample(place, subject, sequence, camera, frame, joints_px[row], joints_cam_m[row], K)


def _fit_camera(path: Path, joints_px: np.ndarray, joints_cam_m: np.ndarray) -> np.ndarray:
    """K [3, 3] of a sequence, which tells as well whether its two tables belong together."""
    K = fit_intrinsics(joints_px, joints_cam_m)
    projected = joints_cam_m @ K.T
    off_px = np.linalg.norm(projected[..., :2] / projected[..., 2:] - joints_px, axis=-1)
    if np.median(off_px) > _MOST_OFF_PX:
        raise UserError(
            f"{path}: no camera brings its 3D joints onto its 2D joints, half are off by {np.median(off_px):.0f} px or "
            "more; are D2_Positions and D3_Positions_mono of one download?"
        )
    return K


def _sample(
    picture: Path | VideoFrame, subject: str, sequence: str, camera: str, frame: int, joints_px: np.ndarray,
    joints_cam_m: np.ndarray, K: np.ndarray,
) -> BenchmarkSample:  # fmt: skip
    return BenchmarkSample(
        key=f"{subject}/{sequence}.{camera}#{frame:06d}",
        picture=picture,
        joints_px=joints_px,
        visible=np.ones(len(joints_px), bool),
        box_px=box_of_joints(joints_px),
        # The four cameras see the same movement.
        cluster=f"{subject}/{sequence}",
        group=action_of(sequence),
        joints_cam_m=joints_cam_m,
        camera_K=K,
    )


def _score(answers: Answers) -> dict[str, Any]:
    ours, theirs, draws = answers.joints_cam_m, answers.true_joints_cam_m, answers.draws
    if ours is None:
        return {"mpjpe_p1_mm": None, "mpjpe_p2_mm": None}
    errors = {
        "mpjpe_p1_mm": 1000 * np.linalg.norm(ours - theirs, axis=-1),
        "mpjpe_p2_mm": 1000 * np.linalg.norm(procrustes(ours, theirs) - theirs, axis=-1),
    }
    return groups_and_mean(draws, errors, answers.groups, "by_action")


BENCHMARK = Benchmark(
    name="h36m",
    title="Human3.6M",
    superset="human",
    joints=_JOINTS,
    layout=(
        "S9/MyPoseFeatures/D2_Positions/Directions 1.54138969.cdf ...   (or S9/Poses_D2_Positions/...); S11 likewise",
        "S9/MyPoseFeatures/D3_Positions_mono/...   S9/Videos/Directions 1.54138969.mp4 ...",
        "or MMPose's: annotation_body3d/fps50/h36m_test.npz (or fps10), images/S9/S9_Directions_1.54138969/...jpg",
    ),
    source="http://vision.imar.ro/human3.6m (registration): Poses D2 Positions, D3 Positions mono and Videos",
    scores={"mpjpe_p1_mm": "P1: MPJPE, mm, mean over actions", "mpjpe_p2_mm": "P2: PA-MPJPE, mm, mean over actions"},
    open=_open,
    score=_score,
    stride=64,
)
