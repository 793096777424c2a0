"""Where a model is good and where it is not: its metrics by species, joint, visibility, viewpoint and confidence.

A breakdown is a mapping from a row's key to that row's numbers: {"by_azimuth": {"0..30": {"num_samples": 41,
"error_pct": {"value", "low", "high"}, ...}, ...}}. Keys are stable, rows without anything to judge are left out, and so
are breakdowns that the data do not tell (no species, say). A metric is None where the row cannot tell it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from posecore.errors import UserError
from posecore.overlay import VISIBILITY_WORDS
from posecore.skeleton import Skeleton
from trainer.evaluation.bootstrap import Bootstrap, draw_clusters
from trainer.evaluation.metrics import (
    PCK_THRESHOLDS,
    Poses,
    average_precisions,
    per_joint_metrics,
    per_subject_metrics,
    with_known_joints,
)

BREAKDOWNS = {
    "species": "species",
    "azimuth": "camera's azimuth, degrees from the subject's front",
    "elevation": "camera's elevation, degrees above the horizon",
    "visibility": "visibility of the joint",
    "joint": "joint",
    "confidence": "confidence of the joint",
}
"""What numbers are broken down by, in words."""
AZIMUTH_EDGES_DEG = (0, 30, 60, 90, 120, 150, 180)
"""Of the camera's angle from the subject's front, to either side: below 30 it sees the face, above 150 the back."""
ELEVATION_EDGES_DEG = (-90, -30, -15, 0, 15, 30, 45, 60, 90)
CONFIDENCE_EDGES = tuple(np.linspace(0, 1, 11).round(1).tolist())
UNKNOWN = "unknown"


def break_down(poses: Poses, skeleton: Skeleton, resamples: int = 200, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Every breakdown that the data tell.

    By species, azimuth and elevation each subject counts once, and a row holds "num_samples" and all the metrics of
    `evaluate_poses`. By joint, visibility and confidence each joint counts once, and a row holds "num_joints" and the
    metrics that a joint has (`per_joint_metrics`). By visibility, PCK counts the row's joints whether seen or not, and
    those outside the frame are held against where they truly are.

    Returns:
        "by_species" and so on; see the module's text.

    Raises:
        UserError: no subject has a known joint.
    """
    poses = with_known_joints(poses)
    draws = draw_clusters(poses.groups, len(poses), resamples, seed)
    subjects, joints = per_subject_metrics(poses, skeleton), per_joint_metrics(poses, skeleton)
    result = {}

    def by_subject(name: str, keys: Sequence[str], bins: np.ndarray) -> None:
        rows = _rows("num_samples", keys, bins, draws, subjects)
        precisions = average_precisions(poses, skeleton, draws, bins, len(keys))
        for key, precision in zip(keys, precisions, strict=True):
            if key in rows:
                rows[key]["oks_ap"] = precision
        result[f"by_{name}"] = rows

    if poses.species is not None:
        names, bins = np.unique(np.asarray(poses.species), return_inverse=True)
        by_subject("species", names.tolist(), bins)
    if poses.azimuth_deg is not None:
        by_subject("azimuth", *_binned(np.abs(poses.azimuth_deg), AZIMUTH_EDGES_DEG))
    if poses.elevation_deg is not None:
        by_subject("elevation", *_binned(poses.elevation_deg, ELEVATION_EDGES_DEG))
    if poses.visibility is not None:
        everywhere = replace(poses, weight=np.ones_like(poses.weight), visible=np.ones_like(poses.visible))
        told = {"error_pct", *PCK_THRESHOLDS, "mpjpe_mm", "n_mpjpe_mm", "pa_mpjpe_mm"}
        values = {name: v for name, v in per_joint_metrics(everywhere, skeleton).items() if name in told}
        keys = [str(level) for level in sorted(VISIBILITY_WORDS)]
        result["by_visibility"] = _rows("num_joints", keys, poses.visibility.astype(int), draws, values)
    own = np.broadcast_to(np.arange(skeleton.num_joints), poses.weight.shape)
    result["by_joint"] = _rows("num_joints", skeleton.joints, np.where(poses.weight > 0, own, -1), draws, joints)
    keys, bins = _binned(poses.confidence, CONFIDENCE_EDGES)
    result["by_confidence"] = _rows("num_joints", keys, np.where(poses.weight > 0, bins, -1), draws, joints)
    return result


def breakdown_names(text: str) -> list[str]:
    """The breakdowns of a comma-separated list, as the command line has it; "all" and "none" are names of lists.

    Raises:
        UserError: there is no such breakdown.
    """
    if text in ("all", "none"):
        return list(BREAKDOWNS) if text == "all" else []
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in BREAKDOWNS:
            raise UserError(f"--by {name}: no such table; choose some of {', '.join(BREAKDOWNS)}, or all, or none")
    return names


COLUMN_TITLES = {
    "error_pct": "error %",
    "flip_rate": "flips",
    "flip_rate_viewer": "viewer's",
    "pck_005": "PCK.05",
    "pck_010": "PCK.10",
    "oks_ap": "OKS-AP",
    "mpjpe_mm": "MPJPE",
    "pa_mpjpe_mm": "PA-MPJPE",
}
"""The metrics that a table shows, in the order of its columns; the others are in the result."""


def breakdown_table(result: dict[str, Any], name: str) -> Table | None:
    """A breakdown as a table of its values; None where there are not two rows to compare.

    Args:
        result: what `break_down` or `evaluate` returned.
        name: of BREAKDOWNS.
    """
    rows = result.get(f"by_{name}", {})
    if len(rows) < 2:
        return None
    columns = [metric for metric in COLUMN_TITLES if any(row.get(metric) is not None for row in rows.values())]
    count = "num_samples" if "num_samples" in next(iter(rows.values())) else "num_joints"
    table = Table(title=f"By {BREAKDOWNS[name]}", box=SIMPLE, title_justify="left")
    table.add_column(name)
    for title in (count.removeprefix("num_"), *(COLUMN_TITLES[metric] for metric in columns)):
        table.add_column(title, justify="right")
    for key, row in rows.items():
        shown = ["-" if row.get(metric) is None else format_metric(metric, row[metric]["value"]) for metric in columns]
        table.add_row(row_title(name, key), str(row[count]), *shown)
    return table


def row_title(name: str, key: str) -> str:
    """A row's key in words."""
    return VISIBILITY_WORDS[int(key)] if name == "visibility" else key.replace("_", " ")


def format_metric(name: str, value: float) -> str:
    """A metric's value with as many digits as it bears: percent and millimetres few, rates more."""
    return f"{value:.{0 if name.endswith('_mm') else 1 if name.startswith('error') else 3}f}"


def _rows(
    count: str, keys: Sequence[str], bins: np.ndarray, draws: Bootstrap, values: dict[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """One row for each key whose bin holds something."""
    numbers = np.bincount(bins[bins >= 0].ravel(), minlength=len(keys)).tolist()
    columns = {name: draws.means(value, bins, len(keys)) for name, value in values.items()}
    return {
        key: {count: number} | {name: column[bin_] for name, column in columns.items()}
        for bin_, (key, number) in enumerate(zip(keys, numbers, strict=True))
        if number
    }


def _binned(values: np.ndarray, edges: Sequence[float]) -> tuple[list[str], np.ndarray]:
    """Keys "low..high" and "unknown", and which of them each value belongs to; the last bin holds its upper edge."""
    keys = [f"{low:g}..{high:g}" for low, high in pairwise(edges)]
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(keys) - 1)
    return [*keys, UNKNOWN], np.where(np.isfinite(values), bins, len(keys))
