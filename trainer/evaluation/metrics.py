"""Metrics of pose estimates, defined once: numbers with bootstrap intervals. numpy only.

2D is in pixels of the image judged ((0, 0) its outer corner), 3D in metres. A joint of weight 0 (outside the frame or
unknown) counts nowhere in 2D. Left and right are the subject's own, but where a name says viewer. Formulas: the
project's specification of the method, 4.8; OKS as COCO defines it, with the box's area in place of the segment's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from posecore.errors import UserError
from posecore.skeleton import Skeleton
from trainer.evaluation.bootstrap import Bootstrap, Interval, draw_clusters, interval

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
    visibility: np.ndarray | None = None
    """[N, K] 0..3 as posecore.sample counts; None where the data do not tell so finely. At 0 the truth is known."""
    keys: tuple[str, ...] | None = None
    """Of the samples."""
    species: tuple[str, ...] | None = None
    azimuth_deg: np.ndarray | None = None
    """[N] of the camera, as posecore.viewpoint has it; NaN where the subject has no heading."""
    elevation_deg: np.ndarray | None = None
    """[N] of the camera."""

    def __len__(self) -> int:
        return len(self.joints_px)

    def take(self, rows: np.ndarray) -> Poses:
        """Some of the subjects, by number."""
        taken: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                taken[field.name] = value[rows]
            elif isinstance(value, tuple):
                taken[field.name] = tuple(value[row] for row in rows)
        return replace(self, **taken)


def evaluate_poses(poses: Poses, skeleton: Skeleton, resamples: int = 200, seed: int = 0) -> dict[str, Any]:
    """Every metric that the data allow.

    Returns:
        name -> {"value", "low", "high"} (95% interval, bootstrapped over groups), or None where it cannot be told
        (no 3D, no subject whose sides are apart); "num_samples" and "skeleton".

    Raises:
        UserError: no subjects, or none with a known joint.
    """
    poses = with_known_joints(poses)
    draws = draw_clusters(poses.groups, len(poses), resamples, seed)
    everyone = np.zeros(len(poses), int)
    values = per_subject_metrics(poses, skeleton)
    result: dict[str, Any] = {name: draws.means(value, everyone, 1)[0] for name, value in values.items()}
    result["oks_ap"] = average_precisions(poses, skeleton, draws, everyone, 1)[0]
    return result | {"num_samples": len(poses), "skeleton": skeleton.name}


def with_known_joints(poses: Poses) -> Poses:
    """Those subjects that have a joint to be judged by.

    Raises:
        UserError: none has.
    """
    rows = np.flatnonzero(poses.weight.sum(1) > 0)
    if len(rows) == 0:
        raise UserError(f"cannot evaluate: none of {len(poses)} subjects has a joint inside the frame")
    return poses.take(rows)


def per_subject_metrics(poses: Poses, skeleton: Skeleton) -> dict[str, np.ndarray]:
    """[N] values of each metric that is a mean over subjects; NaN where a subject cannot be judged by it.

    `flip_rate`: whether the pose as a whole is nearer to the truth once its left and right joints change names, on
    subjects whose left and right joints are apart. Sides are the subject's own (anatomical).

    `flip_rate_viewer`: the same with sides as the viewer sees them. In estimate and truth alike, each by its own
    layout, the half of the body that lies further left in the picture (by the mean of x_left - x_right over the pairs
    of joints) is called left; then the two are compared as above. Judged where the two halves of the truth are apart
    across the picture. Who is drawn right but taken for facing the other way counts in `flip_rate` alone; where both
    rates are high, the two sides were not even told apart.

    `flip_rate_arms`, `flip_rate_legs` (fore and hind legs of animals): `flip_rate` of these joints alone. A body whose
    arms are right and whose legs are crossed counts in the latter only.
    """
    joints = per_joint_metrics(poses, skeleton)
    result = {name: _known_mean(values) for name, values in joints.items() if name != "flip_rate"}
    left, right = _pairs(skeleton)
    both = poses.weight[:, left] * poses.weight[:, right]
    lean, true_lean = (
        _weighted(joints_px[:, left, 0] - joints_px[:, right, 0], both)
        for joints_px in (poses.joints_px, poses.true_joints_px)
    )
    # Renaming one of the two by its own layout, but not the other, exchanges the distances that are compared.
    is_turned = (lean > 0) != (true_lean > 0)
    least_px = MIN_SIDE_SEPARATION * poses.box_px[:, 2:].max(1)
    is_flipped, is_apart = _flips(poses, skeleton, range(skeleton.num_joints))
    result["flip_rate"] = np.where(is_apart, is_flipped, np.nan)
    result["flip_rate_viewer"] = np.where(np.abs(true_lean) > least_px, is_flipped != is_turned, np.nan)
    for limb, its_joints in skeleton.limbs.items():
        is_flipped, is_apart = _flips(poses, skeleton, its_joints)
        result[f"flip_rate_{limb}"] = np.where(is_apart, is_flipped, np.nan)
    return result


def per_joint_metrics(poses: Poses, skeleton: Skeleton) -> dict[str, np.ndarray]:
    """[N, K] values whose means over a subject's joints are its metrics; NaN where a joint cannot be judged.

    `error_pct_min` is a joint's error under that naming of left and right which suits its subject better as a whole.
    A joint's own `flip_rate`: whether it is nearer to the true place of its mirror joint than to its own, where the
    two are apart; NaN on the midline.
    """
    swap = list(skeleton.swap)
    side = poses.box_px[:, 2:].max(1)[:, None]
    is_known = poses.weight > 0
    distance, swapped = _both_labellings(poses, skeleton)
    is_better = _weighted(distance, poses.weight) <= _weighted(swapped, poses.weight)
    to_pct = 100.0 / poses.image_size_px
    mirror = poses.true_joints_px[:, swap]
    is_judged = is_known & is_known[:, swap]
    is_judged &= _distance(mirror, poses.true_joints_px) > MIN_SIDE_SEPARATION * side
    result = {
        "error_pct": np.where(is_known, distance * to_pct, np.nan),
        "error_pct_min": np.where(is_known, np.where(is_better[:, None], distance, swapped) * to_pct, np.nan),
        "flip_rate": np.where(is_judged, distance > _distance(poses.joints_px, mirror), np.nan),
    }
    for name, threshold in PCK_THRESHOLDS.items():
        result[name] = np.where(is_known & poses.visible, distance <= threshold * side, np.nan)
    if poses.joints_cam_m is not None and poses.true_joints_cam_m is not None:
        root = skeleton.parents.index(-1)
        ours = poses.joints_cam_m - poses.joints_cam_m[:, root : root + 1]
        theirs = poses.true_joints_cam_m - poses.true_joints_cam_m[:, root : root + 1]
        scale = (ours * theirs).sum((1, 2)) / np.maximum((ours**2).sum((1, 2)), 1e-12)
        result["mpjpe_mm"] = 1000 * _distance(ours, theirs)
        result["n_mpjpe_mm"] = 1000 * _distance(scale[:, None, None] * ours, theirs)
        result["pa_mpjpe_mm"] = 1000 * _distance(procrustes(ours, theirs), theirs)
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


def average_precisions(
    poses: Poses, skeleton: Skeleton, draws: Bootstrap, bins: np.ndarray, num_bins: int
) -> list[Interval | None]:
    """OKS-AP of each bin's subjects, ranked by their mean confidence.

    Args:
        bins: [N], 0..num_bins-1; who lies outside counts nowhere.
    """
    similarity = oks(poses, skeleton)
    score = np.average(poses.confidence, axis=1, weights=poses.weight + 1e-9)
    result = []
    for number in range(num_bins):
        rows = np.flatnonzero(bins == number)
        spread = _redrawn_precision(similarity[rows], score[rows], draws.subject_weights[:, rows])
        result.append(interval(average_precision(similarity[rows], score[rows]), spread))
    return result


def average_precision(similarity: np.ndarray, score: np.ndarray) -> float:
    """OKS-AP of one estimate for each of N subjects: precision at 101 recalls, mean over thresholds .50 to .95."""
    (value,) = _redrawn_precision(similarity, score, np.ones((1, len(score)), int))
    return float(value)


def mean_pose(joints_px: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The baseline that every model must beat: each joint's mean place [K, 2], over subjects where it is known."""
    total = np.maximum(weight.sum(0), 1e-9)
    return (np.where(weight[..., None] > 0, joints_px, 0.0) * weight[..., None]).sum(0) / total[:, None]


def mean_pose_baseline(poses: Poses, pose_px: np.ndarray) -> Poses:
    """The same subjects, each estimated as `pose_px` [K, 2]; without 3D."""
    everywhere = np.broadcast_to(pose_px, poses.joints_px.shape)
    return replace(poses, joints_px=everywhere, confidence=np.ones_like(poses.confidence), joints_cam_m=None)


def _redrawn_precision(similarity: np.ndarray, score: np.ndarray, times: np.ndarray) -> np.ndarray:
    """[R] `average_precision` of draws that hold each subject `times` [R, N] times; NaN for a draw without any.

    Somebody who is drawn twice stands in the ranking twice, one after the other; the precision after the last of them
    is the one that counts.
    """
    order = np.argsort(-score, kind="stable")
    times = times[:, order]
    ranked = times.cumsum(1)
    total = times.sum(1)
    wanted = np.linspace(0, 1, 101)
    result = np.zeros(len(times))
    for threshold in OKS_THRESHOLDS:
        found = (times * (similarity[order] >= threshold)).cumsum(1)
        # The best precision at this recall or any higher one.
        precision = np.divide(found, ranked, out=np.zeros(found.shape), where=ranked > 0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for row in np.flatnonzero(total):
            at = np.searchsorted(found[row] / total[row], wanted, side="left")
            within = at < len(score)
            result[row] += envelope[row, at[within]].sum() / (len(wanted) * len(OKS_THRESHOLDS))
    return np.where(total > 0, result, np.nan)


def _pairs(skeleton: Skeleton) -> tuple[list[int], list[int]]:
    """The left joints, and their right partners in the same order."""
    left = [joint for joint in range(skeleton.num_joints) if skeleton.side(joint) == "left"]
    return left, [skeleton.swap[joint] for joint in left]


def _flips(poses: Poses, skeleton: Skeleton, joints: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Of some joints, whole pairs of them: [N] whether they fit better with sides exchanged, and whether that is to be
    judged: left and right lie far enough apart."""
    weight = np.zeros_like(poses.weight)
    weight[:, list(joints)] = poses.weight[:, list(joints)]
    error, swapped = _both_labellings(poses, skeleton)
    left, right = _pairs(skeleton)
    true = poses.true_joints_px
    apart = _weighted(_distance(true[:, left], true[:, right]), weight[:, left] * weight[:, right])
    is_apart = apart > MIN_SIDE_SEPARATION * poses.box_px[:, 2:].max(1)
    return _weighted(error, weight) > _weighted(swapped, weight), is_apart


def _both_labellings(poses: Poses, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """[N, K] distances to the truth, in pixels: as estimated, and with left and right of the estimate exchanged."""
    swapped = poses.joints_px[:, list(skeleton.swap)]
    return _distance(poses.joints_px, poses.true_joints_px), _distance(swapped, poses.true_joints_px)


def _distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.linalg.norm(first - second, axis=-1)


def _weighted(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean over joints by weight [N, K]; NaN for a subject whose joints all weigh nothing."""
    total = weight.sum(1)
    summed = np.where(weight > 0, values * weight, 0.0).sum(1)
    return np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)


def _known_mean(values: np.ndarray) -> np.ndarray:
    """[N] means of the finite values of each row of [N, K]; NaN for a row without any."""
    return _weighted(values, np.isfinite(values).astype(float))
