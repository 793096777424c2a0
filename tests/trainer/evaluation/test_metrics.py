"""Metrics against cases worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from posecore.transforms import matrix_from_rotvec
from trainer.evaluation.bootstrap import draw_clusters
from trainer.evaluation.metrics import (
    Poses,
    average_precision,
    average_precisions,
    evaluate_poses,
    mean_pose,
    mean_pose_baseline,
    oks,
    per_subject_metrics,
    procrustes,
)

H36M = load_skeleton("h36m17")
SIZE = 100


def make_poses(num=6, error_px=(0.0, 0.0), seed=0):
    rng = np.random.default_rng(seed)
    rest = H36M.rest_m[:, [0, 2]] * [1, -1]
    true = 50 + 40 * (rest - rest.mean(0)) + rng.normal(size=(num, 1, 2))
    joints_3d = rng.normal(size=(num, 17, 3))
    return Poses(
        joints_px=true + np.array(error_px),
        confidence=np.ones((num, 17)),
        true_joints_px=true,
        weight=np.ones((num, 17)),
        visible=np.ones((num, 17), bool),
        box_px=np.tile([10.0, 10.0, 40.0, 80.0], (num, 1)),
        image_size_px=SIZE,
        joints_cam_m=joints_3d,
        true_joints_cam_m=joints_3d.copy(),
    )


def test_the_truth_has_no_error():
    result = evaluate_poses(make_poses(), H36M)
    for name in ("error_pct", "error_pct_min", "flip_rate", "mpjpe_mm", "n_mpjpe_mm", "pa_mpjpe_mm"):
        assert result[name]["value"] == pytest.approx(0, abs=1e-6), name
    for name in ("pck_005", "pck_010", "pck_020", "oks_ap"):
        assert result[name]["value"] == pytest.approx(1), name
    assert result["num_samples"] == 6 and result["skeleton"] == "h36m17"


def test_a_shift_of_3_and_4_pixels_is_5_percent_of_100():
    values = per_subject_metrics(make_poses(error_px=(3.0, 4.0)), H36M)
    np.testing.assert_allclose(values["error_pct"], 5.0)


def test_pck_threshold_is_a_fraction_of_the_longer_box_side():
    within = per_subject_metrics(make_poses(error_px=(3.99, 0.0)), H36M)
    beyond = per_subject_metrics(make_poses(error_px=(4.01, 0.0)), H36M)
    assert within["pck_005"].mean() == 1 and beyond["pck_005"].mean() == 0 and beyond["pck_010"].mean() == 1


def test_swapped_sides_are_a_flip_that_only_the_forgiving_error_forgives():
    poses = make_poses()
    flipped = Poses(**{**poses.__dict__, "joints_px": poses.true_joints_px[:, list(H36M.swap)]})
    values = per_subject_metrics(flipped, H36M)
    assert (values["flip_rate"] == 1).all()
    assert (values["error_pct"] > 1).all()
    np.testing.assert_allclose(values["error_pct_min"], 0, atol=1e-9)


def test_sides_that_coincide_are_not_judged_for_flips():
    poses = make_poses()
    profile = poses.true_joints_px.copy()
    profile[..., 0] = 50
    seen_from_the_side = Poses(**{**poses.__dict__, "joints_px": profile, "true_joints_px": profile})
    assert np.isnan(per_subject_metrics(seen_from_the_side, H36M)["flip_rate"]).all()
    assert evaluate_poses(seen_from_the_side, H36M)["flip_rate"] is None


def test_taking_the_front_for_the_back_is_a_flip_of_the_subject_s_sides_but_not_of_the_viewer_s():
    poses = make_poses()
    values = per_subject_metrics(replace(poses, joints_px=poses.true_joints_px[:, list(H36M.swap)]), H36M)
    assert (values["flip_rate"] == 1).all()
    assert (values["flip_rate_viewer"] == 0).all()


def test_limbs_that_cross_unlike_the_truth_are_flips_of_both_kinds():
    """Hips and shoulders say which half is on the viewer's left, arms and legs are crossed."""
    poses = make_poses()
    swap, joints = list(H36M.swap), poses.true_joints_px.copy()
    crossed = [j for j, name in enumerate(H36M.joints) if name.split("_")[-1] in ("knee", "ankle", "elbow", "wrist")]
    trunk = [j for j, name in enumerate(H36M.joints) if name.split("_")[-1] in ("hip", "shoulder")]
    joints[:, trunk, 0] = 50 + 9 * (joints[:, trunk, 0] - 50)
    joints[:, crossed] = poses.true_joints_px[:, swap][:, crossed]
    values = per_subject_metrics(replace(poses, joints_px=joints), H36M)
    assert (values["flip_rate"] == 1).all()
    assert (values["flip_rate_viewer"] == 1).all()


def test_crossed_legs_below_right_arms_are_a_flip_of_the_legs_alone():
    poses = make_poses()
    legs, joints = list(H36M.limbs["legs"]), poses.true_joints_px.copy()
    joints[:, legs] = poses.true_joints_px[:, list(H36M.swap)][:, legs]
    values = per_subject_metrics(replace(poses, joints_px=joints), H36M)
    assert (values["flip_rate_legs"] == 1).all() and (values["flip_rate_arms"] == 0).all()
    together = poses.true_joints_px.copy()
    together[:, legs, 0] = 50
    undecidable = per_subject_metrics(replace(poses, true_joints_px=together), H36M)
    assert np.isnan(undecidable["flip_rate_legs"]).all() and (undecidable["flip_rate_arms"] == 0).all()


def test_the_viewer_s_sides_follow_from_renaming_estimate_and_truth_each_by_its_own_layout():
    """The definition, step by step, against the short form that the code uses."""
    rng = np.random.default_rng(5)
    true, estimate = rng.uniform(0, 100, (2, 300, 17, 2))
    weight = (rng.random((300, 17)) < 0.8).astype(float)
    poses = replace(make_poses(300), joints_px=estimate, true_joints_px=true, weight=weight)
    swap = list(H36M.swap)
    left = [j for j in range(17) if H36M.side(j) == "left"]
    values = per_subject_metrics(poses, H36M)["flip_rate_viewer"]
    assert 0 < np.isnan(values).sum() < 100
    for row in range(300):
        both = weight[row, left] * weight[row, swap][left]
        leans = [both @ (pose[row, left, 0] - pose[row, swap][left, 0]) for pose in (estimate, true)]
        ours, theirs = (p[row, swap] if lean > 0 else p[row] for p, lean in zip((estimate, true), leans, strict=True))
        own_weight = weight[row, swap] if leans[1] > 0 else weight[row]
        error, swapped = (own_weight @ np.linalg.norm(o - theirs, axis=-1) for o in (ours, ours[swap]))
        if not np.isnan(values[row]):
            assert bool(values[row]) == (error > swapped)


def test_joints_outside_the_frame_count_nowhere_in_2d():
    poses = make_poses()
    joints, weight = poses.joints_px.copy(), poses.weight.copy()
    joints[:, 3], weight[:, 3] = 1e6, 0
    values = per_subject_metrics(Poses(**{**poses.__dict__, "joints_px": joints, "weight": weight}), H36M)
    np.testing.assert_allclose(values["error_pct"], 0)
    np.testing.assert_allclose(values["pck_005"], 1)


def test_procrustes_undoes_rotation_scale_and_shift_exactly():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(3, 17, 3))
    turned = 1.7 * points @ matrix_from_rotvec(np.array([0.3, -2.0, 1.0])).T + [1.0, 2.0, 3.0]
    np.testing.assert_allclose(procrustes(turned, points), points, atol=1e-12)


def test_procrustes_does_not_forgive_a_mirror_image():
    points = np.random.default_rng(2).normal(size=(3, 17, 3))
    assert np.linalg.norm(procrustes(points * [-1, 1, 1], points) - points, axis=-1).mean() > 0.1


def test_scale_is_forgiven_by_n_mpjpe_and_not_by_mpjpe():
    poses = make_poses()
    values = per_subject_metrics(Poses(**{**poses.__dict__, "joints_cam_m": 1.25 * poses.joints_cam_m}), H36M)
    root_relative = poses.true_joints_cam_m - poses.true_joints_cam_m[:, :1]
    expected = 250 * np.linalg.norm(root_relative, axis=-1).mean(1)
    np.testing.assert_allclose(values["mpjpe_mm"], expected)
    np.testing.assert_allclose(values["n_mpjpe_mm"], 0, atol=1e-9)


def test_oks_is_e_to_minus_one_half_at_the_joint_s_own_scale():
    poses = make_poses(num=1)
    reach = 2 * np.array(H36M.sigmas) * np.sqrt(40 * 80)
    off = poses.true_joints_px + np.stack([reach, np.zeros(17)], -1)
    similarity = oks(Poses(**{**poses.__dict__, "joints_px": off}), H36M)
    np.testing.assert_allclose(similarity, np.exp(-0.5))


def test_average_precision_ranks_by_score():
    similarity = np.array([1.0, 0.0])
    assert average_precision(similarity, np.array([0.9, 0.1])) == pytest.approx(51 / 101)
    assert average_precision(similarity, np.array([0.1, 0.9])) == pytest.approx(0.5 * 51 / 101)
    assert average_precision(np.ones(5), np.ones(5)) == pytest.approx(1)


def test_redrawn_precision_equals_that_of_the_subjects_written_out():
    rng = np.random.default_rng(6)
    base = make_poses(num=30)
    shift = rng.normal(size=(30, 17, 2)) * rng.uniform(0, 6, (30, 1, 1))
    poses = replace(base, joints_px=base.true_joints_px + shift, confidence=rng.random((30, 17)))
    draws = draw_clusters(None, 30, resamples=20, seed=0)
    (result,) = average_precisions(poses, H36M, draws, np.zeros(30, int), 1)
    spread = []
    for times in draws.subject_weights:
        drawn = poses.take(np.arange(30).repeat(times))
        spread.append(average_precision(oks(drawn, H36M), drawn.confidence.mean(1)))
    assert 0.1 < result["value"] < 0.9
    assert (result["low"], result["high"]) == pytest.approx(tuple(np.percentile(spread, [2.5, 97.5])))


def test_interval_holds_the_value_and_is_the_same_each_time():
    rng = np.random.default_rng(3)
    poses = make_poses(num=40)
    noisy = Poses(**{**poses.__dict__, "joints_px": poses.true_joints_px + rng.normal(size=(40, 17, 2))})
    first, second = evaluate_poses(noisy, H36M), evaluate_poses(noisy, H36M)
    assert first == second
    assert first["error_pct"]["low"] < first["error_pct"]["value"] < first["error_pct"]["high"]


def test_one_group_has_no_spread():
    poses = make_poses(num=4, error_px=(1.0, 0.0))
    grouped = Poses(**{**poses.__dict__, "groups": ("clip",) * 4})
    error = evaluate_poses(grouped, H36M)["error_pct"]
    assert error["low"] == error["high"] == error["value"]


def test_mean_pose_baseline_leaves_3d_untold():
    poses = make_poses()
    baseline = mean_pose_baseline(poses, mean_pose(poses.true_joints_px, poses.weight))
    result = evaluate_poses(baseline, H36M)
    assert "mpjpe_mm" not in result
    assert 0 < result["error_pct"]["value"] < 3


def test_no_joint_in_any_frame_is_refused():
    poses = make_poses()
    with pytest.raises(UserError, match="none of 6 subjects"):
        evaluate_poses(Poses(**{**poses.__dict__, "weight": np.zeros((6, 17))}), H36M)
