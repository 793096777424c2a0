"""COCO keypoints, 2017 (Lin et al., 2014): people in photographs; OKS-AP.

Joints: COCO's 17 are our `coco17`, name for name. Layout: as cocodataset.org unpacks it; HRNet's, with pictures one
folder deeper, is read as well. Where annotations carry 3D (`coco_format`), there are scores of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.benchmarks.benchmark import Answers, Benchmark, OpenBenchmark, Request
from trainer.benchmarks.coco_format import (
    SCORES,
    SCORES_3D,
    average_precision,
    joint_errors,
    load_annotations,
    read_instances,
)
from trainer.benchmarks.files import find
from trainer.benchmarks.joints import skeleton_table

_JOINTS = skeleton_table("coco17", root="left_hip")  # every model of people has one


def _open(root: Path, request: Request) -> OpenBenchmark:
    path = find(root, "coco", f"annotations/person_keypoints_{request.split}.json")
    images = find(root, "coco", request.split, f"images/{request.split}")
    content = load_annotations(path, _JOINTS.names)
    return OpenBenchmark(_JOINTS, lambda left_out: read_instances(content, images, left_out))


def _score(answers: Answers) -> dict[str, Any]:
    return average_precision(answers) | joint_errors(answers)


BENCHMARK = Benchmark(
    name="coco",
    title="COCO keypoints 2017",
    superset="human",
    joints=_JOINTS,
    layout=(
        "annotations/person_keypoints_val2017.json",
        "val2017/000000000139.jpg ...   (or images/val2017/...)",
        "our extension, for 3D: annotations' keypoints_3d_cam [17][3] (metres, camera axes), images' camera_K [3][3]",
    ),
    source="https://cocodataset.org/#download: 2017 val images, 2017 train/val annotations",
    scores=SCORES | SCORES_3D,
    open=_open,
    score=_score,
    splits=("val2017", "train2017"),
)
