"""StanfordExtra (Biggs et al., 2020): dogs in photographs; PCK at 0.15 and 0.10 of the root of the silhouette's area.

Version 12 with the splits of "Who Left the Dogs Out?" beside it, pictures from Stanford Dogs. Of the 24 joints 20 are
labelled (`keypoint_definitions.csv`; eyes, withers and throat are not); a joint that is not labelled is 0, 0, 0.
Joints: the top of a foreleg is the elbow, of a hind leg the stifle; their middles are carpus and hock. The chin and the
tips of the ears are none of ours; our ear is its base. What stands for what follows from the names that the same file
gives for the Animal Pose dataset, from the SMAL joints that WLDO assigns them, and from the sample pictures. Places
count pixels from 0.
As WLDO's evaluation has it, PCK is taken for each dog over its labelled joints, then averaged over dogs; legs, tail,
ears and face likewise. Layout and fields were verified against the authors' repositories and their sample file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from posecore.errors import UserError
from trainer.benchmarks.benchmark import Answers, Benchmark, OpenBenchmark, Request
from trainer.benchmarks.files import find, library, read_json
from trainer.benchmarks.joints import JointTable, joint_table, mapped_table
from trainer.benchmarks.sample import BenchmarkSample
from trainer.benchmarks.scores import pck, per_subject

_LEGS = (("left", "front"), ("left", "rear"), ("right", "front"), ("right", "rear"))


def _leg(side: str, end: str) -> dict[str, str]:
    ours = {"front": ("front_paw", "carpus", "elbow"), "rear": ("back_paw", "hock", "stifle")}[end]
    return {
        f"{side.capitalize()} {end} leg: {theirs}": f"{side}_{partner}"
        for theirs, partner in zip(("paw", "middle joint", "top"), ours, strict=True)
    }


_JOINTS = joint_table(
    "quadruped",
    {
        **{name: partner for leg in _LEGS for name, partner in _leg(*leg).items()},
        "Tail start": "tail_root", "Tail end": "tail_tip",
        "Base of left ear": "left_ear", "Base of right ear": "right_ear", "Nose": "nose", "Chin": None,
        "Left ear tip": None, "Right ear tip": None,
        "Left eye": "left_eye", "Right eye": "right_eye", "Withers": "withers", "Throat": "throat",
    },
)  # fmt: skip
_PARTS = {"legs": "leg:", "tail": "Tail", "ears": "ear", "face": ("Nose", "Chin")}
"""WLDO's groups, by what their joints' names hold."""
_FOLDERS = ("", "StanfordExtra_V12/", "StanfordExtra_v12/")


def _open(root: Path, request: Request) -> OpenBenchmark:
    path = find(root, "stanfordextra", *(f"{folder}StanfordExtra_v12.json" for folder in _FOLDERS))
    images = find(root, "stanfordextra", *(f"{folder}Images" for folder in _FOLDERS))
    dogs = read_json(path)
    if request.split == "all":
        numbers: Sequence[int] = range(len(dogs))
    else:
        name = f"{request.split}_stanford_StanfordExtra_v12.npy"
        numbers = np.load(find(path.parent, "stanfordextra", name), allow_pickle=False).ravel().tolist()
        if max(numbers) >= len(dogs):
            raise UserError(f"{path}: {len(dogs)} dogs, but {name} names number {max(numbers)}; take both of a version")
    joints = mapped_table(_JOINTS.names, "quadruped", request.joint_map, "StanfordExtra", _JOINTS)
    return OpenBenchmark(joints, partial(_read, dogs, numbers, images, joints))


def _read(
    dogs: list[dict[str, Any]], numbers: Sequence[int], images: Path, table: JointTable, left_out: Counter[str]
) -> Iterator[BenchmarkSample]:
    area_of = library("pycocotools.mask").area
    for number in numbers:
        dog = dogs[number]
        joints = np.array(dog["joints"], dtype=np.float64)
        known = joints[:, 2] > 0
        if joints.shape != (len(table.names), 3) or not known.any():
            left_out["dogs without a labelled joint"] += 1
            continue
        name = dog["img_path"].replace("\\", "/")
        silhouette = {"size": [dog["img_height"], dog["img_width"]], "counts": dog["seg"].encode()}
        yield BenchmarkSample(
            key=f"{Path(name).stem}-{number}",
            picture=images / name,
            joints_px=np.where(known[:, None], joints[:, :2] + 0.5, np.nan),
            visible=known,
            box_px=tuple(float(value) for value in dog["img_bbox"]),
            cluster=name,
            # n02085620-Chihuahua
            species=name.split("/")[0].partition("-")[2],
            scale_px=float(np.sqrt(area_of(silhouette))),
        )


def _score(answers: Answers) -> dict[str, Any]:
    share = answers.distance_px / answers.scale_px
    limits = {"pck_area_015": 0.15, "pck_area_010": 0.10}
    parts = {}
    for part, words in _PARTS.items():
        words = (words,) if isinstance(words, str) else words
        places = [p for p, name in enumerate(answers.joints.names) if any(word in name for word in words)]
        if places:
            parts[part] = {
                metric: per_subject(answers.draws, pck(share[:, places], limit)) for metric, limit in limits.items()
            }
    return {
        **{metric: per_subject(answers.draws, pck(share, limit)) for metric, limit in limits.items()},
        "by_part": parts,
    }


BENCHMARK = Benchmark(
    name="stanfordextra",
    title="StanfordExtra v12",
    superset="quadruped",
    joints=_JOINTS,
    layout=(
        "StanfordExtra_v12.json   (or StanfordExtra_V12/StanfordExtra_v12.json)",
        "test_stanford_StanfordExtra_v12.npy, val_..., train_...   (beside the json)",
        "Images/n02085620-Chihuahua/n02085620_10074.jpg ...   (Stanford Dogs)",
    ),
    source="https://github.com/benjiebob/StanfordExtra, and Stanford Dogs' Images",
    scores={
        "pck_area_015": "PCK at 0.15 of the root of the silhouette",
        "pck_area_010": "PCK at 0.10 of the root of the silhouette",
    },
    open=_open,
    score=_score,
    splits=("test", "val", "train", "all"),
    takes_joint_map=True,
)
