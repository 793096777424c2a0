"""Means as the benchmarks' papers take them, each with its bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.evaluation.bootstrap import Bootstrap, Interval, interval


def pooled(draws: Bootstrap, values: np.ndarray) -> Interval | None:
    """The mean over all joints of all subjects alike; values [N] or [N, J], NaN counts nowhere."""
    return draws.means(values, np.zeros(values.shape, int), 1)[0]


def per_subject(draws: Bootstrap, values: np.ndarray) -> Interval | None:
    """The mean over subjects of each one's mean over its known joints; values [N, J]."""
    return pooled(draws, subject_means(values))


def subject_means(values: np.ndarray) -> np.ndarray:
    """[N] means of the finite values of each row of [N, J]; NaN for a row without any."""
    is_known = np.isfinite(values)
    counts = is_known.sum(1)
    sums = np.where(is_known, values, 0.0).sum(1)
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)


def by_group(draws: Bootstrap, values: np.ndarray, groups: Sequence[str] | np.ndarray) -> dict[str, Interval | None]:
    """Each group's mean of values [N] or [N, J], joints pooled; groups of subjects [N] or of joints [N, J]."""
    groups = np.asarray(groups)
    names, place = np.unique(groups, return_inverse=True)
    place = place.reshape(*groups.shape, *[1] * (values.ndim - groups.ndim))
    means = draws.means(values, np.broadcast_to(place, values.shape), len(names))
    return dict(zip(names.tolist(), means, strict=True))


def groups_and_mean(
    draws: Bootstrap, values: dict[str, np.ndarray], groups: Sequence[str], title: str
) -> dict[str, Any]:
    """Metrics [N] or [N, J] as means of their groups' means, and under `title` each group's own."""
    each = {name: by_group(draws, value, groups) for name, value in values.items()}
    return {
        **{name: over_groups(draws, value, groups) for name, value in values.items()},
        title: {group: {name: rows[group] for name, rows in each.items()} for group in sorted(set(groups))},
    }


def over_groups(draws: Bootstrap, values: np.ndarray, groups: Sequence[str]) -> Interval | None:
    """The mean of the groups' means: every action, or sequence, counts alike however long it is."""
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.isfinite(values)
    own = counts.reshape(len(values), -1).sum(1)
    total = np.where(counts, values, 0.0).reshape(len(values), -1).sum(1)
    shape = (draws.num_clusters, len(names))
    cell = draws.cluster * len(names) + place
    sums = np.bincount(cell, total, np.prod(shape)).reshape(shape)
    numbers = np.bincount(cell, own, np.prod(shape)).reshape(shape)
    value = _mean_of_ratios(sums.sum(0, keepdims=True), numbers.sum(0, keepdims=True))[0]
    drawn = draws.times_drawn.astype(np.float64)
    return interval(value, _mean_of_ratios(drawn @ sums, drawn @ numbers))


def pck(distance: np.ndarray, limit: np.ndarray | float) -> np.ndarray:
    """1 where a joint lies within the limit, 0 where beyond; NaN where either is not known."""
    limit = np.broadcast_to(limit, distance.shape)
    is_known = np.isfinite(distance) & np.isfinite(limit)
    return np.where(is_known, (distance <= limit).astype(float), np.nan)


def _mean_of_ratios(sums: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """[R] mean over the columns of sums / numbers [R, M], columns without numbers left out."""
    ratios = np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)
    return subject_means(ratios)
