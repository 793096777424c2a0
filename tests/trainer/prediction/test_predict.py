"""Predictions: pixels of the picture they came from, whatever the crop; JSON and overlays that can be used."""

import json

import av
import cv2
import numpy as np
import pytest

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.prediction.predict import (
    Picture,
    PosePredictor,
    frame_rate,
    predict_files,
    read_boxes,
    read_pictures,
    write_overlay,
    write_predictions,
)


@pytest.fixture(scope="module")
def predictor(untrained_run):
    return PosePredictor.load(untrained_run)


@pytest.fixture(scope="module")
def photo():
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (240, 180), interpolation=cv2.INTER_CUBIC)


def test_keypoints_move_with_the_box_through_a_larger_picture(predictor, photo):
    inside = predictor(photo[:, 30:210], box=(40, 40, 100, 90))
    whole = predictor(photo, box=(70, 40, 100, 90))
    np.testing.assert_allclose(whole.keypoints[:, :2] - inside.keypoints[:, :2], [[30, 0]] * 17, atol=0.3)


def test_keypoints_scale_with_the_picture(predictor, photo):
    large = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    once, twice = predictor(photo), predictor(large)
    assert np.abs(twice.keypoints[:, :2] / 2 - once.keypoints[:, :2]).max() < 3
    assert once.box == (0, 0, 240, 180)


def test_a_batch_gives_the_same_as_single_pictures(predictor, photo):
    pictures = [Picture(str(i), np.roll(photo, 10 * i, axis=1)) for i in range(18)]
    together = list(predictor.predict(pictures))
    assert [p.image for p in together] == [str(i) for i in range(18)]
    np.testing.assert_allclose(together[17].keypoints, predictor(pictures[17].image).keypoints, atol=1e-2)


def test_3d_has_the_root_at_zero_and_local_rotations(predictor, photo):
    prediction = predictor(photo)
    skeleton = load_skeleton("h36m17")
    root = skeleton.parents.index(-1)
    np.testing.assert_allclose(prediction.joints_cam_m[root], 0, atol=1e-6)
    assert prediction.rotations.shape == (17, 6)
    np.testing.assert_allclose(np.linalg.norm(prediction.rotations[:, :3], axis=1), 1, atol=1e-4)


def test_another_skeleton_is_answered_as_far_as_it_can_be_expressed(untrained_run, photo):
    own, coco = PosePredictor.load(untrained_run)(photo), PosePredictor.load(untrained_run, "coco17")(photo)
    ours, theirs = load_skeleton("h36m17"), load_skeleton("coco17")
    np.testing.assert_allclose(
        coco.keypoints[theirs.index("left_knee")], own.keypoints[ours.index("left_knee")], atol=1e-4
    )
    answer = coco.to_dict()
    assert answer["keypoints"][theirs.index("left_ear")] == [None, None, 0.0]
    assert answer["rotations"] is None
    with pytest.raises(UserError, match="not of the human"):
        PosePredictor.load(untrained_run, "ap10k17")


def test_predictions_are_written_as_plain_json(predictor, photo, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), photo)
    cv2.imwrite(str(tmp_path / "b.png"), photo[:, :150])
    pictures = list(read_pictures([tmp_path]))
    write_predictions(tmp_path / "out" / "p.json", predictor.predict(pictures))
    content = json.loads((tmp_path / "out" / "p.json").read_text())
    assert [entry["image"] for entry in content] == ["a.png", "b.png"]
    assert set(content[0]) == {"image", "box", "skeleton", "keypoints", "joints_cam_m", "rotations"}
    assert np.array(content[1]["keypoints"]).shape == (17, 3)
    assert read_boxes(tmp_path / "out" / "p.json") == {"a.png": {0: [0, 0, 240, 180]}, "b.png": {0: [0, 0, 150, 180]}}


def test_a_video_is_read_frame_by_frame_and_drawn_into_a_video(predictor, photo, tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 240, 180, "yuv420p"
        for shift in range(5):
            image = np.ascontiguousarray(np.roll(photo, shift, axis=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    (tmp_path / "boxes.json").write_text(json.dumps({"clip.mp4": {"0": [0, 0, 100, 100], "4": [40, 0, 100, 100]}}))
    pictures = list(read_pictures([path], read_boxes(tmp_path / "boxes.json")))
    assert [picture.name for picture in pictures] == [f"clip.mp4#{i:06d}" for i in range(5)]
    assert [picture.box[0] for picture in pictures] == [0, 10, 20, 30, 40]
    write_overlay(tmp_path / "drawn.mp4", pictures, predictor.predict(pictures))
    assert frame_rate([tmp_path, path]) == 10
    with av.open(str(tmp_path / "drawn.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5


def test_files_are_predicted_in_one_go_with_json_and_overlay(untrained_run, photo, tmp_path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), photo)
    predictions = predict_files(untrained_run, [tmp_path], tmp_path / "p.json", overlay=tmp_path / "sheet.png")
    assert len(predictions) == len(json.loads((tmp_path / "p.json").read_text())) == 2
    assert (tmp_path / "sheet.png").is_file()
    (tmp_path / "sheet.png").unlink()
    assert len(predict_files(untrained_run, [tmp_path], tmp_path / "p.json")) == 2


def test_a_packed_dataset_is_read_picture_by_picture(painted_clips):
    pictures = list(read_pictures([painted_clips(clips=2, frames=3)]))
    assert [picture.name for picture in pictures] == [f"{c:06d}-{f:05d}" for c in range(2) for f in range(3)]
    assert pictures[0].image.shape == (64, 64, 3)


def test_overlays_of_one_and_of_many_pictures_are_pictures(predictor, photo, tmp_path):
    one = [Picture("a", photo)]
    write_overlay(tmp_path / "one.png", one, predictor.predict(one))
    assert cv2.imread(str(tmp_path / "one.png")).shape == photo.shape
    many = [Picture(str(i), photo) for i in range(10)]
    write_overlay(tmp_path / "many.png", many, predictor.predict(many))
    assert cv2.imread(str(tmp_path / "many.png")).shape[0] > 2 * 256
    write_overlay(tmp_path / "folder", many[:2], predictor.predict(many[:2]))
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["0.png", "1.png"]
    with pytest.raises(UserError, match="overlay"):
        write_overlay(tmp_path / "x.txt", one, predictor.predict(one))


@pytest.mark.parametrize("content", ["{", '{"a.png": [1, 2, 3]}', '{"a.png": [1, 2, 0, 4]}', '[{"image": "a.png"}]'])
def test_boxes_that_make_no_sense_are_one_line(tmp_path, content):
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(UserError, match=r"boxes\.json: cannot be read as boxes"):
        read_boxes(tmp_path / "boxes.json")


def test_what_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        list(read_pictures([tmp_path / "none.png"]))
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"bad\.mp4: does not decode"):
        list(read_pictures([tmp_path / "bad.mp4"]))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"bad\.png: does not decode"):
        list(read_pictures([tmp_path / "bad.png"]))
