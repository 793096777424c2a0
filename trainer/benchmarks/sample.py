"""One labelled subject of a benchmark, as every reader yields it.

Conventions, whatever the dataset's own are: pixels are those of the picture as stored, (0, 0) the outer corner of its
top-left pixel, so labels that count pixels from 0 are moved by +0.5 and labels that count them from 1 by -0.5. 3D is
in metres and camera axes (x right, y down, z forward). What is not labelled is NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""

JOINTS_TO_SUBJECT = 0.07
"""How far a person reaches beyond the box of the joints, on each side, as a share of that box's longer side: on 300
rendered people in full view the box of the mask is 1.15 times as long as that of their Human3.6M joints (median
1.14)."""


@dataclass(frozen=True)
class VideoFrame:
    """A picture within a video; the first is 0."""

    video: Path
    frame: int


@dataclass(frozen=True, eq=False)
class BenchmarkSample:
    """A subject in a picture; J joints in the dataset's own order."""

    key: str
    picture: Path | VideoFrame
    joints_px: np.ndarray
    """[J, 2]; NaN where not labelled."""
    visible: np.ndarray
    """[J] bool: labelled and seen, not hidden."""
    box_px: Box | None
    """Round the subject; None where the dataset's protocol judges the whole picture."""
    cluster: str
    """Sequence or picture: what resembles each other and is drawn together by the bootstrap."""
    group: str = ""
    """What the dataset's own protocol averages over: action, sequence; "" where it does not."""
    species: str = ""
    scale_px: float = float("nan")
    """The length by which the dataset's own metric divides distances; NaN where it has none for this subject."""
    joints_cam_m: np.ndarray | None = None
    """[J, 3]."""
    camera_K: np.ndarray | None = None
    """[3, 3] intrinsics in pixels."""
    silhouette: Path | None = None
    """A picture that is 0 off the subject, where the protocol blackens the background."""
    annotation: Mapping[str, Any] | None = None
    """What the dataset's own evaluation needs besides."""


def box_of_joints(joints_px: np.ndarray, reach: float = JOINTS_TO_SUBJECT) -> Box | None:
    """The box of a subject of which only joints [J, 2] are known (NaN: not); None if fewer than two places are."""
    known = joints_px[np.isfinite(joints_px).all(1)]
    if len(known) < 2 or np.ptp(known, axis=0).max() <= 0:
        return None
    low, high = known.min(0), known.max(0)
    pad = reach * (high - low).max()
    x, y = (low - pad).tolist()
    width, height = (high - low + 2 * pad).tolist()
    return x, y, width, height


def fit_intrinsics(joints_px: np.ndarray, joints_cam_m: np.ndarray) -> np.ndarray:
    """The pinhole camera K [3, 3] that projects [..., 3] onto [..., 2] best, by least squares for each axis.

    Benchmarks whose cameras are published apart from the labels need no second file; lens distortion averages out.
    """
    points, pixels = joints_cam_m.reshape(-1, 3), joints_px.reshape(-1, 2)
    K = np.eye(3)
    for axis in (0, 1):
        design = points[:, [axis, 2]] / points[:, 2:]
        K[axis, axis], K[axis, 2] = np.linalg.lstsq(design, pixels[:, axis], rcond=None)[0]
    return K
