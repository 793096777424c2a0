"""AP-10K (Yu et al., 2021): 54 species of animals in photographs; OKS-AP, averaged over species.

Joints are matched by where they are, not by name. On four-legged animals the labels called hip and knee lie on the
stifle and the hock, shoulder and elbow on the elbow and the wrist: so do the overview picture of the authors'
repository and MMPose's two pictures show it, and so does DeepLabCut's table of conversions have it. Hence their hip is
our knee (the stifle) and their knee our hock. Of the fore leg, our shoulder and elbow lie as theirs do on hoofed
animals only (see DECISIONS.md on the shared rig); on all others these four are not judged. Apes and monkeys, whose hips
and knees are labelled as such, are not told apart.
Layout: as the authors' archive unpacks and MMPose documents it. The authors' own evaluation hands each answer's species
to COCOeval as its category, so AP is the mean over the species that occur.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer.benchmarks.benchmark import Benchmark, OpenBenchmark, Request
from trainer.benchmarks.coco_format import SCORES, average_precision, load_annotations, read_instances
from trainer.benchmarks.files import find
from trainer.benchmarks.joints import joint_table
from trainer.benchmarks.sample import BenchmarkSample

_JOINTS = joint_table(
    "quadruped",
    {
        "left_eye": "left_eye", "right_eye": "right_eye", "nose": "nose", "neck": "neck", "root_of_tail": "tail_root",
        "left_shoulder": "left_shoulder", "left_elbow": "left_elbow", "left_front_paw": "left_front_paw",
        "right_shoulder": "right_shoulder", "right_elbow": "right_elbow", "right_front_paw": "right_front_paw",
        "left_hip": "left_knee", "left_knee": "left_hock", "left_back_paw": "left_back_paw",
        "right_hip": "right_knee", "right_knee": "right_hock", "right_back_paw": "right_back_paw",
    },
)  # fmt: skip
_FORE_LEG = _JOINTS.index(["left_shoulder", "left_elbow", "right_shoulder", "right_elbow"])
_HOOFED = ("Bovidae", "Cervidae", "Equidae", "Giraffidae")
"""Families (`supercategory`) of which the rig's hoofed animals are."""


def _open(root: Path, request: Request) -> OpenBenchmark:
    path = find(root, "ap10k", f"annotations/ap10k-{request.split}.json")
    images = find(root, "ap10k", "data")
    content = load_annotations(path, _JOINTS.names)
    return OpenBenchmark(_JOINTS, lambda left_out: _read(content, images, left_out))


def _read(content: dict[str, Any], images: Path, left_out: Counter[str]) -> Iterator[BenchmarkSample]:
    hoofed = {category["id"] for category in content["categories"] if category["supercategory"] in _HOOFED}
    for sample in read_instances(content, images, left_out):
        if sample.annotation["category_id"] in hoofed:
            yield sample
            continue
        joints_px = sample.joints_px.copy()
        joints_px[_FORE_LEG] = np.nan
        yield replace(sample, joints_px=joints_px)


BENCHMARK = Benchmark(
    name="ap10k",
    title="AP-10K",
    superset="quadruped",
    joints=_JOINTS,
    layout=("annotations/ap10k-test-split1.json", "data/000000000001.jpg ..."),
    source="https://github.com/AlexTheBad/AP-10K",
    scores=SCORES,
    open=_open,
    score=average_precision,
    splits=tuple(f"{part}-split{number}" for part in ("test", "val", "train") for number in (1, 2, 3)),
)
