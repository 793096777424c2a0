"""Means with bootstrap intervals, for many groups of values at once. numpy only.

Drawn are clusters (scenes, clips) with replacement, not single subjects: frames of one scene resemble each other, and
intervals that ignored it would be too narrow. Every draw is a row of weights, so that a mean over thousands of subjects
under all draws is one product of matrices. What never happened happens in no draw either: a rate of 0 among N has the
interval 0..0, though 3 / N may well be true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Interval = dict[str, float]
"""{"value", "low", "high"}: an estimate and its 95% interval."""


@dataclass(frozen=True)
class Bootstrap:
    """N subjects in G clusters, redrawn R times."""

    cluster: np.ndarray
    """[N] int, 0..G-1."""
    times_drawn: np.ndarray
    """[R, G] how often each draw holds each cluster; rows sum to G."""

    @property
    def num_clusters(self) -> int:
        return self.times_drawn.shape[1]

    @cached_property
    def subject_weights(self) -> np.ndarray:
        """[R, N] how often each draw holds each subject."""
        return self.times_drawn[:, self.cluster]

    def means(self, values: np.ndarray, bins: np.ndarray, num_bins: int) -> list[Interval | None]:
        """The mean of each bin's values.

        Args:
            values: [N] or [N, K]; what is not finite does not count.
            bins: of the same shape, 0..num_bins-1; what lies outside counts nowhere.

        Returns:
            One for each bin; None where no value counts.
        """
        cluster = np.broadcast_to(self.cluster.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
        counts = np.isfinite(values) & (bins >= 0) & (bins < num_bins)
        place = (cluster * num_bins + bins)[counts]
        size, shape = self.num_clusters * num_bins, (self.num_clusters, num_bins)
        sums = np.bincount(place, values[counts].astype(np.float64), size).reshape(shape)
        numbers = np.bincount(place, minlength=size).reshape(shape).astype(np.float64)
        drawn = self.times_drawn.astype(np.float64)
        with np.errstate(invalid="ignore"):
            value = sums.sum(0) / numbers.sum(0)
            spread = (drawn @ sums) / (drawn @ numbers)
        return [interval(value[b], spread[:, b]) for b in range(num_bins)]


def draw_clusters(names: Sequence[str] | None, num_subjects: int, resamples: int, seed: int) -> Bootstrap:
    """The draws.

    Args:
        names: the cluster of each subject; None: each by itself.
    """
    cluster = np.arange(num_subjects) if names is None else np.unique(np.asarray(names), return_inverse=True)[1]
    num = int(cluster.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(num, size=num), minlength=num) for _ in range(resamples)]
    return Bootstrap(cluster, np.stack(drawn))


def interval(value: float, spread: np.ndarray) -> Interval | None:
    """An estimate with the middle 95% of its redrawn values [R]; None if it is not finite.

    Draws in which nothing could be judged are left out; if all are, the interval is the value.
    """
    if not np.isfinite(value):
        return None
    known = spread[np.isfinite(spread)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (value, value)
    return {"value": float(value), "low": float(low), "high": float(high)}
