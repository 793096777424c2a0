"""Bootstrap means against the plain loop over drawn rows."""

import numpy as np
import pytest

from trainer.evaluation.bootstrap import draw_clusters, interval


def test_means_and_intervals_equal_those_of_a_loop_over_drawn_subjects():
    rng = np.random.default_rng(0)
    names = [f"scene {number}" for number in rng.integers(0, 7, 40)]
    values = np.where(rng.random(40) < 0.2, np.nan, rng.normal(size=40))
    bins = rng.integers(0, 3, 40)
    draws = draw_clusters(names, 40, resamples=50, seed=1)
    means = draws.means(values, bins, 3)
    for bin_ in range(3):
        spread = []
        for times in draws.times_drawn:
            rows = [
                row for cluster, n in enumerate(times) for row in np.flatnonzero(draws.cluster == cluster).repeat(n)
            ]
            spread.append(np.nanmean([values[row] for row in rows if bins[row] == bin_]))
        assert means[bin_]["value"] == pytest.approx(np.nanmean(values[bins == bin_]))
        low, high = np.percentile(spread, [2.5, 97.5])
        assert (means[bin_]["low"], means[bin_]["high"]) == pytest.approx((low, high))


def test_joints_are_binned_one_by_one_and_drawn_with_their_subject():
    values = np.array([[1.0, 2.0, np.nan], [3.0, 4.0, 5.0]])
    bins = np.array([[0, 1, 0], [0, 1, -1]])
    first, second, empty = draw_clusters(None, 2, resamples=200, seed=0).means(values, bins, 3)
    assert (first["value"], first["low"], first["high"]) == (2.0, 1.0, 3.0)
    assert second["value"] == 3.0
    assert empty is None


def test_a_draw_holds_as_many_clusters_as_there_are_and_each_subject_as_often_as_its_cluster():
    draws = draw_clusters(("a", "b", "a", "c"), 4, resamples=20, seed=3)
    assert (draws.times_drawn.sum(1) == 3).all()
    np.testing.assert_array_equal(draws.subject_weights[:, 0], draws.subject_weights[:, 2])


def test_draws_that_hold_nothing_do_not_widen_an_interval():
    assert interval(2.0, np.array([np.nan, 1.0, np.nan, 3.0])) == {
        "value": 2.0, "low": pytest.approx(1.05), "high": pytest.approx(2.95)
    }  # fmt: skip
    assert interval(2.0, np.array([np.nan])) == {"value": 2.0, "low": 2.0, "high": 2.0}
    assert interval(np.nan, np.array([1.0])) is None
