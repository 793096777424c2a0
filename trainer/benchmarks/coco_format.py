"""What COCO and AP-10K share: keypoints in a COCO annotation file, and average precision by COCO's own evaluation.

`keypoints` are x, y, v of each joint, v 0 not labelled, 1 hidden, 2 seen; x, y count pixels from 0, so +0.5 brings
them into our frame (boxes are measured from the pixels' edges already). Verified against cocodataset.org's format as
pycocotools reads it and against the fragments of both datasets in MMPose's tests.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posecore.errors import UserError
from trainer.benchmarks.benchmark import Answers
from trainer.benchmarks.files import library, read_json
from trainer.benchmarks.sample import BenchmarkSample

SCORES = {
    "ap": "AP, mean over OKS .50 to .95",
    "ap_50": "AP at OKS .50",
    "ap_75": "AP at OKS .75",
    "ap_medium": "AP, subjects of 32^2 to 96^2 px",
    "ap_large": "AP, subjects above 96^2 px",
    "ar": "AR, mean over OKS .50 to .95",
}
_PLACES = (0, 1, 2, 3, 4, 5)
"""Of SCORES among the numbers that pycocotools summarises for keypoints."""


def load_annotations(path: Path, joints: Sequence[str]) -> dict[str, Any]:
    """The annotation file, checked to be of these joints.

    Raises:
        UserError: unreadable, or of other joints.
    """
    content = read_json(path)
    try:
        named = {tuple(category["keypoints"]) for category in content["categories"]}
        if {"images", "annotations"} - content.keys():
            raise KeyError("images, annotations")
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: not a COCO keypoint file ({error!r})") from None
    if named != {tuple(joints)}:
        raise UserError(f"{path}: its keypoints are {sorted(named)}, not {tuple(joints)}; is it of another dataset?")
    return content


def read_instances(content: dict[str, Any], images: Path, left_out: Counter[str]) -> Iterator[BenchmarkSample]:
    """Everyone who has a labelled joint and a box, picture by picture; crowds are no subjects.

    Args:
        images: the folder that `file_name` is relative to.
    """
    files = {image["id"]: image["file_name"] for image in content["images"]}
    # PoseTrack's field: pictures of one video resemble each other.
    videos = {image["id"]: image.get("vid_id", image["id"]) for image in content["images"]}
    species = {category["id"]: category["name"] for category in content["categories"]}
    for annotation in sorted(content["annotations"], key=lambda a: (a["image_id"], a["id"])):
        keypoints = np.array(annotation.get("keypoints", []), dtype=np.float64).reshape(-1, 3)
        x, y, width, height = annotation["bbox"]
        if annotation.get("iscrowd", 0):
            left_out["crowds"] += 1
        elif not (keypoints[:, 2:] > 0).any():
            left_out["subjects without a labelled joint"] += 1
        elif width <= 0 or height <= 0:
            left_out["subjects without a box"] += 1
        else:
            name = files[annotation["image_id"]]
            yield BenchmarkSample(
                key=f"{Path(name).stem}-{annotation['id']}",
                picture=images / name,
                joints_px=np.where(keypoints[:, 2:] > 0, keypoints[:, :2] + 0.5, np.nan),
                visible=keypoints[:, 2] == 2,
                box_px=(x, y, width, height),
                cluster=str(videos[annotation["image_id"]]),
                species=species[annotation["category_id"]],
                scale_px=float(np.sqrt(annotation.get("area", width * height))),
                annotation={key: annotation[key] for key in ("id", "image_id", "category_id", "bbox")},
            )


def average_precision(answers: Answers) -> dict[str, Any]:
    """COCO's AP and AR, computed by pycocotools.COCOeval on the joints that were judged.

    One answer for each ground-truth box, ranked by mean confidence, as in the literature's "GT box" rows. Several
    categories (AP-10K's species) are averaged, each counting alike. Crowds and people without labels, near whom COCO
    ignores answers, have none here. There is no interval: AP is no mean.
    """
    coco, cocoeval = library("pycocotools.coco"), library("pycocotools.cocoeval")
    truths, results = [], []
    for row, sample in enumerate(answers.samples):
        known = answers.known[row]
        # pycocotools takes whoever is matched to number 0 for unmatched.
        where = {**sample.annotation, "id": row + 1}
        level = np.where(known, np.where(sample.visible[answers.joints.columns], 2, 1), 0)
        place = np.where(known[:, None], answers.true_joints_px[row], 0.0)
        truths.append(
            where
            | {
                "keypoints": np.column_stack([place, level]).ravel().tolist(),
                "num_keypoints": int(known.sum()),
                "area": sample.scale_px**2,
                "iscrowd": 0,
            }
        )
        answer = np.column_stack([answers.joints_px[row], answers.confidence[row]])
        results.append(
            {key: where[key] for key in ("image_id", "category_id")}
            | {"keypoints": answer.ravel().tolist(), "score": float(answers.confidence[row].mean())}
        )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": number} for number in sorted({t["image_id"] for t in truths})],
            "annotations": truths,
            "categories": [{"id": number} for number in sorted({t["category_id"] for t in truths})],
        }
        truth.createIndex()
        evaluation = cocoeval.COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(answers.joints.skeleton.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # pycocotools says -1 where there is nobody of that size.
    values = [float(evaluation.stats[place]) for place in _PLACES]
    return {
        name: None if value < 0 else {"value": value, "low": None, "high": None}
        for name, value in zip(SCORES, values, strict=True)
    }
