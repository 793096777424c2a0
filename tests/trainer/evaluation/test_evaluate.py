"""Evaluation: every metric with its interval beside the mean pose; real data by what its reconstructions say."""

import json

import pytest

from posecore.errors import UserError
from trainer.evaluation.evaluate import evaluate, print_metrics

FLIP_RATES = {"flip_rate", "flip_rate_viewer", "flip_rate_arms", "flip_rate_legs"}
METRICS = FLIP_RATES | {"error_pct", "error_pct_min", "pck_005", "pck_010", "pck_020", "oks_ap"}
METRICS_3D = {"mpjpe_mm", "n_mpjpe_mm", "pa_mpjpe_mm"}


@pytest.fixture(scope="module")
def judged(untrained_run, painted_dataset):
    return evaluate(untrained_run, painted_dataset(scenes=6, frames=2))


def test_labelled_data_give_every_metric_with_an_interval(judged):
    assert judged.keys() >= METRICS | METRICS_3D | {"num_samples", "skeleton", "checkpoint", "step", "data"}
    for name in METRICS - FLIP_RATES:
        assert judged[name]["low"] <= judged[name]["value"] <= judged[name]["high"]
    assert judged["num_samples"] == 12
    json.dumps(judged, allow_nan=False)


def test_a_model_with_random_weights_does_not_beat_the_mean_pose(judged):
    assert judged["mean_pose"]["error_pct"]["value"] < judged["error_pct"]["value"]
    assert not METRICS_3D & judged["mean_pose"].keys()
    assert judged["pose_head"].keys() == judged["reprojected"].keys() == judged["mean_pose"].keys()


def test_the_same_numbers_are_broken_down(judged):
    assert list(judged["by_species"]) == ["line figure"]
    assert judged["by_species"]["line figure"]["error_pct"] == judged["error_pct"]
    assert sum(row["num_samples"] for row in judged["by_azimuth"].values()) == 12
    assert len(judged["by_joint"]) == 17


def test_fewer_samples_are_judged_when_asked(untrained_run, painted_dataset):
    assert evaluate(untrained_run, painted_dataset(scenes=6, frames=2), max_samples=5)["num_samples"] == 5


def test_real_data_are_judged_by_right_shuffled_and_blank_poses(untrained_run, painted_clips):
    judged = evaluate(untrained_run, painted_clips())
    assert judged.keys() >= {"right", "shuffled", "blank", "num_samples"}
    assert judged["right"] > 0


def test_data_of_another_body_plan_are_refused(untrained_run, painted_dataset):
    with pytest.raises(UserError, match="quadruped"):
        evaluate(untrained_run, painted_dataset(skeleton="quadruped"))


def test_results_of_both_kinds_are_shown_as_a_table(judged, untrained_run, painted_clips, capsys):
    print_metrics(judged, ["joint", "species"])
    print_metrics(evaluate(untrained_run, painted_clips()))
    shown = capsys.readouterr().out
    assert "OKS-AP" in shown
    assert "left ankle" in shown and "line figure" not in shown
    assert "shuffled" in shown
