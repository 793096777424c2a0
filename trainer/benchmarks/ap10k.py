"""AP-10K (Yu et al., 2021): 54 species of animals in photographs; OKS-AP, averaged over species.

Joints are those of the packaged skeleton `ap10k17`, which lies where the labels do: on four-legged animals hip and knee
are the stifle and the hock, shoulder and elbow the elbow and the carpus. So do the overview picture of the authors'
repository and MMPose's two examples show it, and so does DeepLabCut's table of conversions have it. Apes and monkeys,
whose hips and knees are labelled as such, are not told apart.
Layout: as the authors' archive unpacks and MMPose documents it. The authors' own evaluation hands each answer's species
to COCOeval as its category, so AP is the mean over the species that occur.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trainer.benchmarks.benchmark import Benchmark, OpenBenchmark, Request
from trainer.benchmarks.coco_format import SCORES, average_precision, load_annotations, read_instances
from trainer.benchmarks.files import find
from trainer.benchmarks.joints import skeleton_table

_OURS = skeleton_table("ap10k17")
_JOINTS = replace(_OURS, names=tuple("root_of_tail" if name == "tail_root" else name for name in _OURS.names))


def _open(root: Path, request: Request) -> OpenBenchmark:
    path = find(root, "ap10k", f"annotations/ap10k-{request.split}.json")
    images = find(root, "ap10k", "data")
    content = load_annotations(path, _JOINTS.names)
    return OpenBenchmark(_JOINTS, lambda left_out: read_instances(content, images, left_out))


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
