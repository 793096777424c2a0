"""Metrics of pose estimates, defined once: numbers with bootstrap intervals. numpy only.

2D is in pixels of the image judged ((0, 0) its outer corner), 3D in metres. A joint of weight 0 (outside the frame or
unknown) counts nowhere in 2D. Left and right are anatomical. Formulas: the project's specification of the method, 4.8;
OKS as COCO defines it, with the box's area in place of the segment's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from posecore.errors import UserError
from posecore.skeleton import Skeleton

PCK_THRESHOLDS = {"pck_005": 0.05, "pck_010": 0.10, "pck_020": 0.20}
OKS_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).round(2))
MIN_SIDE_SEPARATION = 0.05
"""Flips are judged where left and right joints lie this far apart on average, over the box's longer side."""


@dataclass(frozen=True)
class Poses:
    """Estimates and truths of N subjects, one a picture, K joints."""

    joints_px: np.ndarray
    """[N, K, 2] estimated."""
    confidence: np.ndarray
    """[N, K]."""
    true_joints_px: np.ndarray
    """[N, K, 2]."""
    weight: np.ndarray
    """[N, K] 1 where the truth is known and inside the frame, else 0."""
    visible: np.ndarray
    """[N, K] bool: seen, not hidden."""
    box_px: np.ndarray
    """[N, 4] x, y, width, height."""
    image_size_px: int
    joints_cam_m: np.ndarray | None = None
    """[N, K, 3] estimated, camera axes; the origin does not matter."""
    true_joints_cam_m: np.ndarray | None = None
    groups: tuple[str, ...] | None = None
    """What belongs together (scene, clip) and is drawn together by the bootstrap; None: each subject by itself."""

    def __len__(self) -> int:
        return len(self.joints_px)


def evaluate_poses(poses: Poses, skeleton: Skeleton, resamples: int = 200, seed: int = 0) -> dict[str, Any]:
    """Every metric that the data allow.

    Returns:
        name -> {"value", "low", "high"} (95% interval, bootstrapped over groups), or None where it cannot be told
        (no 3D, no subject whose sides are apart); "num_samples" and "skeleton".

    Raises:
        UserError: no subjects, or none with a known joint.
    """
    has_joint = poses.weight.sum(1) > 0
    if not has_joint.any():
        raise UserError(f"cannot evaluate: none of {len(poses)} subjects has a joint inside the frame")
    poses = _select(poses, np.flatnonzero(has_joint))
    values = per_subject_metrics(poses, skeleton)
    similarity = oks(poses, skeleton)
    score = np.average(poses.confidence, axis=1, weights=poses.weight + 1e-9)
    _, group = np.unique(poses.groups or np.arange(len(poses)).astype(str), return_inverse=True)
    members = [np.flatnonzero(group == g) for g in range(group.max() + 1)]
    rng = np.random.default_rng(seed)
    draws = [
        np.concatenate([members[g] for g in rng.integers(len(members), size=len(members))]) for _ in range(resamples)
    ]

    def interval(measure) -> dict[str, float] | None:
        value = measure(np.arange(len(poses)))
        if not np.isfinite(value):
            return None
        spread = np.array([measure(rows) for rows in draws])
        low, high = np.nanpercentile(spread, [2.5, 97.5])
        return {"value": float(value), "low": float(low), "high": float(high)}

    result: dict[str, Any] = {name: interval(lambda rows, v=v: _mean(v[rows])) for name, v in values.items()}
    result["oks_ap"] = interval(lambda rows: average_precision(similarity[rows], score[rows]))
    return result | {"num_samples": len(poses), "skeleton": skeleton.name}


def per_subject_metrics(poses: Poses, skeleton: Skeleton) -> dict[str, np.ndarray]:
    """[N] values of each metric that is a mean over subjects; NaN where a subject cannot be judged by it."""
    swap = list(skeleton.swap)
    distance = _distance(poses.joints_px, poses.true_joints_px)
    error = _weighted(distance, poses.weight)
    swapped = _weighted(_distance(poses.joints_px[:, swap], poses.true_joints_px), poses.weight)
    to_pct = 100.0 / poses.image_size_px
    result = {
        "error_pct": error * to_pct,
        "error_pct_min": np.minimum(error, swapped) * to_pct,
        "flip_rate": np.where(_sides_are_apart(poses, skeleton), error > swapped, np.nan),
    }
    seen = poses.weight * poses.visible
    side = poses.box_px[:, 2:].max(1)
    for name, threshold in PCK_THRESHOLDS.items():
        result[name] = _weighted(distance <= threshold * side[:, None], seen)
    if poses.joints_cam_m is not None and poses.true_joints_cam_m is not None:
        root = skeleton.parents.index(-1)
        ours = poses.joints_cam_m - poses.joints_cam_m[:, root : root + 1]
        theirs = poses.true_joints_cam_m - poses.true_joints_cam_m[:, root : root + 1]
        scale = (ours * theirs).sum((1, 2)) / np.maximum((ours**2).sum((1, 2)), 1e-12)
        result["mpjpe_mm"] = 1000 * _distance(ours, theirs).mean(1)
        result["n_mpjpe_mm"] = 1000 * _distance(scale[:, None, None] * ours, theirs).mean(1)
        result["pa_mpjpe_mm"] = 1000 * _distance(procrustes(ours, theirs), theirs).mean(1)
    return result


def procrustes(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Points [N, K, 3] after the similarity (rotation, scale, shift; no reflection) that brings them nearest `targets`.

    Orthogonal Procrustes by SVD with the determinant's sign on the smallest singular value (Umeyama 1991): a mirror
    image is not forgiven.
    """
    centre, target_centre = points.mean(1, keepdims=True), targets.mean(1, keepdims=True)
    p, g = points - centre, targets - target_centre
    u, s, vt = np.linalg.svd(np.swapaxes(p, 1, 2) @ g)
    sign = np.sign(np.linalg.det(u @ vt))
    signs = np.stack([np.ones_like(sign), np.ones_like(sign), sign], -1)
    rotation = (u * signs[:, None]) @ vt
    scale = (s * signs).sum(-1) / np.maximum((p**2).sum((1, 2)), 1e-12)
    return scale[:, None, None] * (p @ rotation) + target_centre


def oks(poses: Poses, skeleton: Skeleton) -> np.ndarray:
    """Object keypoint similarity [N]: mean over known joints of exp(-d^2 / (2 area (2 sigma)^2)), area the box's."""
    area = np.maximum(poses.box_px[:, 2] * poses.box_px[:, 3], 1.0)
    d2 = ((poses.joints_px - poses.true_joints_px) ** 2).sum(-1)
    variance = (2.0 * np.asarray(skeleton.sigmas)) ** 2
    return _weighted(np.exp(-d2 / (2.0 * area[:, None] * variance)), poses.weight)


def average_precision(similarity: np.ndarray, score: np.ndarray) -> float:
    """OKS-AP of one estimate for each of N subjects: precision at 101 recalls, mean over thresholds .50 to .95."""
    order = np.argsort(-score, kind="stable")
    hits = similarity[order][None, :] >= np.asarray(OKS_THRESHOLDS)[:, None]
    found = hits.cumsum(1)
    recall = found / len(score)
    precision = found / np.arange(1, len(score) + 1)
    # The best precision at this recall or any higher one.
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    total = 0.0
    for row in range(len(OKS_THRESHOLDS)):
        at = np.searchsorted(recall[row], np.linspace(0, 1, 101), side="left")
        total += np.where(at < len(score), envelope[row, np.minimum(at, len(score) - 1)], 0.0).mean()
    return float(total / len(OKS_THRESHOLDS))


def mean_pose(joints_px: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The baseline that every model must beat: each joint's mean place [K, 2], over subjects where it is known."""
    total = np.maximum(weight.sum(0), 1e-9)
    return (np.where(weight[..., None] > 0, joints_px, 0.0) * weight[..., None]).sum(0) / total[:, None]


def mean_pose_baseline(poses: Poses, pose_px: np.ndarray) -> Poses:
    """The same subjects, each estimated as `pose_px` [K, 2]; without 3D."""
    everywhere = np.broadcast_to(pose_px, poses.joints_px.shape)
    return replace(poses, joints_px=everywhere, confidence=np.ones_like(poses.confidence), joints_cam_m=None)


def _sides_are_apart(poses: Poses, skeleton: Skeleton) -> np.ndarray:
    """[N] bool: the mean distance of a left joint from its right one exceeds MIN_SIDE_SEPARATION of the box."""
    pairs = [(joint, mirror) for joint, mirror in enumerate(skeleton.swap) if joint < mirror]
    left, right = (list(side) for side in zip(*pairs, strict=True))
    both = poses.weight[:, left] * poses.weight[:, right]
    apart = _weighted(_distance(poses.true_joints_px[:, left], poses.true_joints_px[:, right]), both)
    return np.nan_to_num(apart, nan=0.0) > MIN_SIDE_SEPARATION * poses.box_px[:, 2:].max(1)


def _distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.linalg.norm(first - second, axis=-1)


def _weighted(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean over joints by weight [N, K]; NaN for a subject whose joints all weigh nothing."""
    total = weight.sum(1)
    summed = np.where(weight > 0, values * weight, 0.0).sum(1)
    return np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _select(poses: Poses, rows: np.ndarray) -> Poses:
    names = ("joints_px", "confidence", "true_joints_px", "weight", "visible", "box_px")
    taken = {name: getattr(poses, name)[rows] for name in names}
    for name in ("joints_cam_m", "true_joints_cam_m"):
        if (value := getattr(poses, name)) is not None:
            taken[name] = value[rows]
    if poses.groups is not None:
        taken["groups"] = tuple(poses.groups[row] for row in rows)
    return replace(poses, **taken)
