"""The papers' means, by hand."""

import numpy as np
import pytest

from trainer.benchmarks.sample import box_of_joints, fit_intrinsics
from trainer.benchmarks.scores import by_group, over_groups, pck, per_subject, pooled
from trainer.evaluation.bootstrap import draw_clusters

VALUES = np.array([[1.0, np.nan], [0.0, 1.0], [0.0, 0.0]])


@pytest.fixture
def draws():
    return draw_clusters(["a", "b", "c"], 3, 100, 0)


def test_pooled_counts_joints_alike_and_per_subject_subjects(draws):
    assert pooled(draws, VALUES)["value"] == pytest.approx(2 / 5)
    assert per_subject(draws, VALUES)["value"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_over_groups_counts_groups_alike(draws):
    assert over_groups(draws, VALUES, ["x", "y", "y"])["value"] == pytest.approx((1 + 1 / 4) / 2)
    rows = by_group(draws, VALUES, ["x", "y", "y"])
    assert rows["x"]["value"] == 1 and rows["y"]["value"] == pytest.approx(1 / 4)


def test_groups_of_joints_cut_across_subjects(draws):
    parts = np.array([["p", "q"]] * 3)
    rows = by_group(draws, VALUES, parts)
    assert rows["p"]["value"] == pytest.approx(1 / 3) and rows["q"]["value"] == pytest.approx(1 / 2)


def test_intervals_hold_the_value(draws):
    for interval in (pooled(draws, VALUES), over_groups(draws, VALUES, ["x", "y", "y"])):
        assert interval["low"] <= interval["value"] <= interval["high"]


def test_pck_knows_the_limit_itself_and_what_is_not_known():
    hits = pck(np.array([[1.0, 2.0, np.nan]]), np.array([[1.0]]))
    np.testing.assert_array_equal(hits, [[1, 0, np.nan]])
    assert np.isnan(pck(np.array([[1.0]]), np.array([[np.nan]]))).all()


def test_a_box_needs_two_places():
    joints = np.array([[10.0, 20.0], [30.0, 60.0], [np.nan, np.nan]])
    assert box_of_joints(joints, reach=0.1) == pytest.approx((6, 16, 28, 48))
    assert box_of_joints(joints[:1]) is None and box_of_joints(joints[[0, 0]]) is None


def test_the_camera_is_found_from_points_and_their_pixels():
    K = np.array([[900.0, 0, 310], [0, 905, 250], [0, 0, 1]])
    points = np.random.default_rng(0).normal(0, 1, (5, 7, 3)) + np.array([0, 0, 6])
    pixels = points @ K.T
    np.testing.assert_allclose(fit_intrinsics(pixels[..., :2] / pixels[..., 2:], points), K, atol=1e-8)
