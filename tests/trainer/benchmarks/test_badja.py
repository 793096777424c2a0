"""BADJA: rows before columns, missing frames counted, PCK by the segment's area, averaged over sequences."""

import json

import cv2
import numpy as np
import pytest

from posecore.errors import UserError
from trainer.benchmarks.badja import BENCHMARK

NOSE, LEFT_KNEE, LEFT_ELBOW = 33, 22, 12


def frame(sequence, number, joints):
    """Annotation of a frame: {place: (row, column)}."""
    places = [joints.get(place, (0, 0)) for place in range(37)]
    folder = "Full-Resolution"
    return {
        "image_path": f"DAVIS/JPEGImages/{folder}/{sequence}/{number:05d}.jpg",
        "segmentation_path": f"DAVIS/Annotations/{folder}/{sequence}/{number:05d}.png",
        "visibility": [place in joints for place in range(37)],
        "joints": [list(place) for place in places],
    }


@pytest.fixture
def folder(tmp_path, picture_at):
    labelled = {
        "bear": [
            frame("bear", 2, {NOSE: (10, 30), LEFT_KNEE: (20, 50)}),
            frame("bear", 7, {NOSE: (12, 31), LEFT_ELBOW: (13, 32)}),
        ],
        "camel": [frame("camel", 0, {NOSE: (5, 6), LEFT_ELBOW: (7, 8)})],
        "tiger": [frame("tiger", 0, {NOSE: (5, 6)})],
    }
    (tmp_path / "joint_annotations").mkdir()
    for name, frames in labelled.items():
        (tmp_path / "joint_annotations" / f"{name}.json").write_text(json.dumps(frames))
        for one in frames if name != "tiger" else []:
            picture_at(tmp_path / one["image_path"])
            segment = np.zeros((48, 64, 3), np.uint8)
            segment[10:30, 20:40] = (0, 0, 128)
            path = tmp_path / one["segmentation_path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), segment)
    return tmp_path


def test_rows_come_first_and_missing_frames_are_counted(folder, read):
    opened, samples, left_out = read(BENCHMARK, folder, "quadruped")
    assert [sample.key for sample in samples] == ["bear/00002", "bear/00007", "camel/00000"]
    assert left_out == {"frames of tiger that are not there": 1}
    nose, knee = opened.joints.index(["nose", "lower_left_1"])
    np.testing.assert_allclose(samples[0].joints_px[[nose, knee]], [[30.5, 10.5], [50.5, 20.5]])
    assert np.isfinite(samples[0].joints_px).all(1).sum() == 2
    assert samples[0].box_px == (20, 10, 20, 20)
    assert samples[0].scale_px == pytest.approx(20)
    assert opened.joints.partners[knee] == ("left_stifle",)


def test_sequences_count_alike_however_long(folder, read, answers_of):
    opened, samples, _ = read(BENCHMARK, folder, "quadruped")
    answers = answers_of(opened, samples, "ap10k17")
    nose = answers.joints.names.index("nose")
    # Within 0.2 of 20 px in the camel, beyond it in one of the bear's four joints.
    answers.joints_px[2, nose] += [3.9, 0]
    answers.joints_px[1, nose] += [0, 4.1]
    score = BENCHMARK.score(answers)
    assert score["by_sequence"]["bear"]["pck_area_020"]["value"] == pytest.approx(3 / 4)
    assert score["pck_area_020"]["value"] == pytest.approx((3 / 4 + 1) / 2)


def test_annotations_without_any_frame_say_what_to_unpack(tmp_path, read):
    (tmp_path / "joint_annotations").mkdir()
    (tmp_path / "joint_annotations" / "bear.json").write_text(json.dumps([frame("bear", 2, {NOSE: (1, 1)})]))
    with pytest.raises(UserError, match="none of the frames; unpack DAVIS 2017"):
        read(BENCHMARK, tmp_path, "quadruped")
