"""Smoothing over time, after the fact: what one frame says is corrected by the frames before and after it.

The filter is a local polynomial fitted by weighted least squares (Cleveland 1979; for even rates and equal weights a
Savitzky-Golay filter): it needs no even rate, does not lag, keeps the height of a fast movement, and lets a joint
count by its confidence. Frames without a prediction stay without one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from posecore.errors import UserError
from posecore.transforms import matrix_from_rotation_6d, rotation_6d_from_matrix
from trainer.prediction.predictor import Prediction

_LEAST_CONFIDENCE = 1e-3  # so that a stretch of hopeless joints is still fitted by something


def smooth(predictions: Sequence[Prediction], window_s: float) -> list[Prediction]:
    """Each subject's keypoints, 3D joints and rotations smoothed along its clip; order and confidences stay.

    Args:
        window_s: full width of the window; 0.2 to 0.5 s suits people. Where it holds fewer than four predictions, at
            the edge of a gap say, they stay as they are.

    Raises:
        UserError: the window is not above 0.
    """
    if not window_s > 0:
        raise UserError(f"--smooth: a window of {window_s:g} s does nothing; give seconds above 0, such as 0.3")
    tracks: dict[tuple[str, int], list[int]] = defaultdict(list)
    for place, prediction in enumerate(predictions):
        tracks[prediction.clip, prediction.id].append(place)
    result = list(predictions)
    for places in tracks.values():
        places.sort(key=lambda place: predictions[place].time_s)
        for place, smoothed in zip(places, _smooth_track([predictions[p] for p in places], window_s), strict=True):
            result[place] = smoothed
    return result


def fit_locally(
    times_s: np.ndarray, values: np.ndarray, weights: np.ndarray, window_s: float, degree: int = 2
) -> np.ndarray:
    """The value at each time of the polynomial that fits its neighbours best.

    Args:
        times_s: [T], rising. values: [T, S, D]; S series of their own. weights: [T, S], not negative; NaN values have
            none. Within the window neighbours also count by the tricube of their distance in time.
        degree: of the polynomial. Where fewer than degree + 2 neighbours count, the value stays.

    Returns:
        [T, S, D]; NaN where the value is.
    """
    known = np.isfinite(values).all(axis=2) & (weights > 0)
    weights, filled = np.where(known, weights, 0.0), np.where(known[..., None], values, 0.0)
    half = window_s / 2
    first = np.searchsorted(times_s, times_s - half, side="left")
    last = np.searchsorted(times_s, times_s + half, side="right")
    result = values.astype(np.float64).copy()
    for moment, (start, stop) in enumerate(zip(first, last, strict=True)):
        # Slightly wider than the window, so that its outermost frames count as well.
        distance = (times_s[start:stop] - times_s[moment]) / (half * 1.01)
        weight = weights[start:stop] * ((1 - np.abs(distance) ** 3) ** 3)[:, None]
        powers = distance[:, None] ** np.arange(degree + 1)
        normal = np.einsum("tp,ts,tq->spq", powers, weight, powers)
        right = np.einsum("tp,ts,tsd->spd", powers, weight, filled[start:stop])
        fitted = (known[start:stop].sum(axis=0) >= degree + 2) & known[moment]
        if fitted.any():
            result[moment, fitted] = np.linalg.solve(normal[fitted], right[fitted])[:, 0]
    return result


def _smooth_track(track: list[Prediction], window_s: float) -> list[Prediction]:
    times_s = np.array([prediction.time_s for prediction in track])
    if len(np.unique(times_s)) < len(times_s):
        raise UserError(f"{track[0].clip}: subject {track[0].id} has two predictions at one time; is its id its own?")
    keypoints = np.stack([prediction.keypoints for prediction in track])
    weights = np.maximum(keypoints[..., 2], _LEAST_CONFIDENCE)
    places = fit_locally(times_s, keypoints[..., :2], weights, window_s)
    joints = fit_locally(times_s, np.stack([prediction.joints_cam_m for prediction in track]), weights, window_s)
    rotations: Sequence[np.ndarray | None] = [None] * len(track)
    if all(prediction.rotations is not None for prediction in track):
        fitted = fit_locally(times_s, np.stack([prediction.rotations for prediction in track]), weights, window_s)
        rotations = rotation_6d_from_matrix(matrix_from_rotation_6d(fitted))
    return [
        replace(
            prediction,
            keypoints=np.concatenate([places[i], prediction.keypoints[:, 2:]], axis=1),
            joints_cam_m=joints[i],
            rotations=rotations[i],
        )
        for i, prediction in enumerate(track)
    ]
