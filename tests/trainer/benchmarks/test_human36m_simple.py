"""Simplified Human3.6M: the release's folders, 32 joints, KeypointGAN's three numbers."""

import numpy as np
import pytest

from posecore.errors import UserError
from trainer.benchmarks.human36m_simple import BENCHMARK
from trainer.benchmarks.pictures import PictureReader

savemat = pytest.importorskip("scipy.io").savemat

FOLDERS = {"Waiting 1.54138969": (9, 10, 100), "Walking.55011271": (1,), "Eating.54138969": (1,)}


def landmarks(seed):
    """[32, 2] row, column, in shares of the picture."""
    return np.random.default_rng(seed).uniform(0.1, 0.9, (32, 2))


@pytest.fixture
def release(tmp_path, picture_at):
    subject = tmp_path / "human_images" / "S11"
    for folder, frames in FOLDERS.items():
        (subject / "Landmarks" / folder).mkdir(parents=True)
        for frame in frames:
            savemat(subject / "Landmarks" / folder / f"{frame}.mat", {"keypoints_2d": landmarks(frame)})
            picture_at(subject / "WithBackground" / folder / f"{frame}.jpg", 128, 128, 200)
            picture_at(subject / "BackgroudMask" / folder / f"{frame}.png", 128, 128, 0)
    return tmp_path


def test_the_six_activities_are_read_in_order_of_frames(release, read):
    opened, samples, _ = read(BENCHMARK, release)
    assert [sample.key for sample in samples] == [
        "Waiting 1.54138969#9", "Waiting 1.54138969#10", "Waiting 1.54138969#100", "Walking.55011271#1",
    ]  # fmt: skip
    assert len(opened.joints.names) == 32
    np.testing.assert_allclose(samples[0].joints_px, 128 * landmarks(9)[:, ::-1])
    assert samples[0].box_px is None
    assert [sample.key for sample in read(BENCHMARK, release, stride=2)[1]][1] == "Waiting 1.54138969#100"


def test_masks_blacken_the_background_unless_it_is_wanted(release, read):
    _, masked, _ = read(BENCHMARK, release)
    _, whole, _ = read(BENCHMARK, release, split="background")
    assert PictureReader().read(masked[0]).max() == 0
    assert PictureReader().read(whole[0]).min() > 190


def test_the_error_is_a_share_of_the_picture_averaged_over_activities(release, read, answers_of):
    opened, samples, _ = read(BENCHMARK, release)
    answers = answers_of(opened, samples, "human")
    assert answers.joints_px.shape[1] == 32
    answers.joints_px[3] += [0.03 * 128, 0.04 * 128]
    score = BENCHMARK.score(answers)
    # 5% in Walking, 0 in the three frames of Waiting.
    assert score["mean_distance_pct"]["value"] == pytest.approx(2.5)
    assert score["by_action"]["Walking"]["mean_distance_pct"]["value"] == pytest.approx(5)
    assert score["correct_flips"]["value"] == 1


def test_flips_are_forgiven_by_the_second_number_only(release, read, answers_of):
    opened, samples, _ = read(BENCHMARK, release)
    score = BENCHMARK.score(answers_of(opened, samples, "human", swap_sides=True))
    assert score["mean_distance_pct"]["value"] > 1
    # The collars coincide with the thorax and keep their places.
    assert score["mean_min_distance_pct"]["value"] == pytest.approx(0)
    assert score["correct_flips"]["value"] == 0


def test_a_model_of_seventeen_joints_answers_twenty_two(release, read, answers_of):
    opened, samples, _ = read(BENCHMARK, release)
    joints = answers_of(opened, samples, "h36m17").joints
    assert len(joints.names) == 22
    assert joints.unknown_to_model == (
        "right ball", "right toes", "left ball", "left toes",
        "left thumb", "left hand", "left hand twin", "right thumb", "right hand", "right hand twin",
    )  # fmt: skip


def test_another_folder_of_landmarks_is_refused(tmp_path, read):
    (tmp_path / "S11" / "Landmarks" / "Eating.54138969").mkdir(parents=True)
    for name in ("WithBackground", "BackgroudMask"):
        (tmp_path / "S11" / name).mkdir()
    with pytest.raises(UserError, match="holds none of Directions"):
        read(BENCHMARK, tmp_path)
