"""What COCO and AP-10K share: keypoints in a COCO annotation file, and average precision by COCO's own evaluation.

`keypoints` are x, y, v of each joint, v 0 not labelled, 1 hidden, 2 seen; x, y count pixels from 0, so +0.5 brings
them into our frame (boxes are measured from the pixels' edges already). Verified against cocodataset.org's format as
pycocotools reads it and against the fragments of both datasets in MMPose's tests.

Two fields are ours, for footage of calibrated cameras (`benchmarks/real_video.py` writes them): an annotation's
`keypoints_3d_cam`, metres in the camera's axes (x right, y down, z forward), three numbers a joint, and its picture's
`camera_K`, the rows of the 3 x 3 intrinsics in pixels of our frame. A file has both everywhere or neither.
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
from trainer.benchmarks.scores import per_subject
from trainer.evaluation.metrics import procrustes

SCORES = {
    "ap": "AP, mean over OKS .50 to .95",
    "ap_50": "AP at OKS .50",
    "ap_75": "AP at OKS .75",
    "ap_medium": "AP, subjects of 32^2 to 96^2 px",
    "ap_large": "AP, subjects above 96^2 px",
    "ar": "AR, mean over OKS .50 to .95",
}
SCORES_3D = {
    "mpjpe_hips_mm": "MPJPE, hips' middle on the truth's, mm",
    "n_mpjpe_hips_mm": "N-MPJPE: scaled as well",
    "pa_mpjpe_hips_mm": "PA-MPJPE: scaled, turned and shifted",
}
"""Of files that carry 3D."""
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
    has_3d = ["keypoints_3d_cam" in annotation for annotation in content["annotations"]]
    has_K = ["camera_K" in image for image in content["images"]]
    if any(has_3d) and not (all(has_3d) and all(has_K)):
        raise UserError(
            f"{path}: {sum(has_3d)} of {len(has_3d)} annotations have keypoints_3d_cam, "
            f"{sum(has_K)} of {len(has_K)} images camera_K; give them to all, or to none"
        )
    return content


def read_instances(content: dict[str, Any], images: Path, left_out: Counter[str]) -> Iterator[BenchmarkSample]:
    """Everyone who has a labelled joint and a box, picture by picture; crowds are no subjects.

    Args:
        images: the folder that `file_name` is relative to.
    """
    files = {image["id"]: image["file_name"] for image in content["images"]}
    # PoseTrack's field: pictures of one video resemble each other.
    videos = {image["id"]: image.get("vid_id", image["id"]) for image in content["images"]}
    cameras = {image["id"]: np.array(image["camera_K"]) for image in content["images"] if "camera_K" in image}
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
                **_in_3d(annotation, cameras, len(keypoints)),
                annotation={key: annotation[key] for key in ("id", "image_id", "category_id", "bbox")},
            )


def joint_errors(answers: Answers) -> dict[str, Any]:
    """SCORES_3D, each None where the annotations carry no 3D or the model lacks a hip."""
    ours, theirs, names = answers.joints_cam_m, answers.true_joints_cam_m, answers.joints.names
    if ours is None or not {"left_hip", "right_hip"} <= set(names):
        return dict.fromkeys(SCORES_3D)
    hips = [names.index("left_hip"), names.index("right_hip")]
    ours, theirs = (joints - joints[:, hips].mean(1, keepdims=True) for joints in (ours, theirs))
    scale = (ours * theirs).sum((1, 2)) / np.maximum((ours**2).sum((1, 2)), 1e-12)
    moved = (ours, scale[:, None, None] * ours, procrustes(ours, theirs))
    errors = [1000 * np.linalg.norm(joints - theirs, axis=-1) for joints in moved]
    return {name: per_subject(answers.draws, error) for name, error in zip(SCORES_3D, errors, strict=True)}


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


def _in_3d(annotation: dict[str, Any], cameras: dict[int, np.ndarray], num_joints: int) -> dict[str, np.ndarray]:
    """Our own fields of a sample, none where the file has none."""
    if "keypoints_3d_cam" not in annotation:
        return {}
    joints = np.array(annotation["keypoints_3d_cam"], dtype=np.float64).reshape(num_joints, 3)
    return {"joints_cam_m": joints, "camera_K": cameras[annotation["image_id"]]}
