"""Smoothing: quadratic movement stays, noise goes, the sure weigh more, gaps stay gaps."""

from dataclasses import replace

import numpy as np
import pytest

from posecore.errors import UserError
from posecore.transforms import matrix_from_rotation_6d, matrix_from_rotvec, rotation_6d_from_matrix
from trainer.prediction.smoothing import fit_locally, smooth


@pytest.fixture
def clip(posed):
    """`clip(times_s, seed)`: a pose that drifts, turns and speeds up, as one subject's predictions."""
    start = posed(0)

    def make(times_s, **fields):
        def at(frame, moment):
            turn = rotation_6d_from_matrix(matrix_from_rotvec(np.tile([0, 0, 0.2 * moment], (17, 1))))
            move = np.array([10 * moment + 3 * moment**2, -5 * moment, 0])
            moved = {"keypoints": start.keypoints + move, "joints_cam_m": start.joints_cam_m + 0.1 * move}
            return replace(start, frame=frame, time_s=moment, rotations=turn, **moved, **fields)

        return [at(frame, moment) for frame, moment in enumerate(times_s)]

    return make


def test_a_parabola_is_kept_whatever_the_rate():
    times = np.sort(np.random.default_rng(0).uniform(0, 2, 60))
    values = np.stack([3 - times + 2 * times**2, 5 * times], axis=1)[:, None]
    np.testing.assert_allclose(fit_locally(times, values, np.ones((60, 1)), 0.5), values, atol=1e-9)
    line = values[..., 1:]
    np.testing.assert_allclose(fit_locally(times, line, np.ones((60, 1)), 0.5, degree=1), line, atol=1e-9)


def test_noise_shrinks_and_the_unsure_are_corrected_by_the_sure():
    rng = np.random.default_rng(0)
    times = np.arange(200) / 25
    truth = np.sin(2 * times)[:, None, None]
    noisy = truth + rng.normal(0, 0.1, truth.shape)
    equal = fit_locally(times, noisy, np.ones((200, 1)), 0.6)
    assert np.abs(equal - truth).mean() < 0.55 * np.abs(noisy - truth).mean()

    wrong = truth.copy()
    wrong[50] += 5
    weights = np.ones((200, 1))
    weights[50] = 0.01
    assert abs(fit_locally(times, wrong, weights, 0.6)[50] - truth[50]).item() < 0.2
    assert abs(fit_locally(times, wrong, np.ones((200, 1)), 0.6)[50] - truth[50]).item() > 1


def test_missing_values_stay_missing_and_do_not_spread():
    times = np.arange(30) / 10
    values = (2 * times)[:, None, None].copy()
    values[12:15] = np.nan
    smoothed = fit_locally(times, values, np.ones((30, 1)), 1.0)
    assert np.isnan(smoothed[12:15]).all()
    np.testing.assert_allclose(np.delete(smoothed, [12, 13, 14]), np.delete(2 * times, [12, 13, 14]), atol=1e-9)


def test_tracks_are_smoothed_each_by_itself_in_their_own_order(clip, posed):
    times = np.arange(25) / 25
    one, other = clip(times, id=1), clip(times, id=2, clip="b.mp4")
    rng = np.random.default_rng(0)
    noisy = [replace(p, keypoints=p.keypoints + np.concatenate([rng.normal(0, 2, (17, 2)), np.zeros((17, 1))], axis=1))
             for p in one]  # fmt: skip
    mixed = [prediction for pair in zip(other, reversed(noisy), strict=True) for prediction in pair]
    smoothed = smooth(mixed, 0.4)
    assert [(p.clip, p.id, p.frame) for p in smoothed] == [(p.clip, p.id, p.frame) for p in mixed]
    for found, before in zip(smoothed[::2], other, strict=True):
        np.testing.assert_allclose(found.keypoints, before.keypoints, atol=1e-8)
        np.testing.assert_allclose(found.joints_cam_m, before.joints_cam_m, atol=1e-8)
        np.testing.assert_allclose(found.rotations, before.rotations, atol=1e-4)
    errors = [
        np.abs(np.stack([p.keypoints for p in track]) - np.stack([p.keypoints for p in one])).mean()
        for track in (noisy, smoothed[1::2][::-1])
    ]
    assert errors[1] < 0.7 * errors[0]
    np.testing.assert_array_equal(smoothed[1].keypoints[:, 2], mixed[1].keypoints[:, 2])


def test_rotations_stay_rotations(clip):
    rng = np.random.default_rng(0)
    shaken = [
        replace(p, rotations=rotation_6d_from_matrix(matrix_from_rotvec(rng.normal(0, 0.3, (17, 3)))))
        for p in clip(np.arange(20) / 25)
    ]
    for prediction in smooth(shaken, 0.4):
        matrix = matrix_from_rotation_6d(prediction.rotations)
        np.testing.assert_allclose(prediction.rotations, rotation_6d_from_matrix(matrix), atol=1e-12)
    calm = np.stack([p.rotations for p in smooth(shaken, 0.4)])
    assert np.abs(np.diff(calm, axis=0)).mean() < 0.6 * np.abs(np.diff([p.rotations for p in shaken], axis=0)).mean()


def test_gaps_stay_gaps_and_lone_frames_stay_as_they_are(clip):
    times = np.concatenate([np.arange(10) / 25, [5.0], 8 + np.arange(10) / 25])
    track = clip(times)
    lone = replace(track[10], keypoints=track[10].keypoints + 7)
    smoothed = smooth([*track[:10], lone, *track[11:]], 0.4)
    assert [p.time_s for p in smoothed] == list(times)
    np.testing.assert_array_equal(smoothed[10].keypoints, lone.keypoints)


def test_another_skeleton_is_smoothed_without_rotations(clip):
    for prediction in smooth([p.in_skeleton("coco17") for p in clip(np.arange(9) / 25)], 0.3):
        assert prediction.rotations is None
        assert np.isnan(prediction.keypoints[:, 0]).sum() == 4  # eyes and ears


def test_what_cannot_be_smoothed_is_one_line(clip):
    with pytest.raises(UserError, match="a window of 0 s does nothing"):
        smooth(clip([0.0, 0.1]), 0)
    with pytest.raises(UserError, match=r"a\.mp4: subject 1 has two predictions at one time"):
        smooth(clip([0.0, 0.1, 0.1]), 0.3)
