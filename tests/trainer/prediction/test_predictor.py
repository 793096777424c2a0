"""PosePredictor: poses in the pixels of the picture they came from, whatever the crop; one or many, paths or arrays."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from posecore.errors import UserError
from posecore.pictures import Picture, Subject
from posecore.skeleton import load_skeleton
from posecore.transforms import matrix_from_rotation_6d
from trainer.prediction.networks import NetworkOutput
from trainer.prediction.predictor import PosePredictor, mean_of, mirror
from trainer.prediction.torch_network import PoseFunction, TorchNetwork
from trainer.training.checkpoint import load_model


def test_the_traced_network_answers_any_number_of_crops_as_the_plain_one_does(untrained_run):
    function = PoseFunction(load_model(untrained_run)).eval()
    network = TorchNetwork(untrained_run, "cpu")
    for count in (1, 2, 5):
        crops = np.random.default_rng(count).integers(0, 256, (count, 48, 48, 3), np.uint8)
        with torch.inference_mode():
            expected = function(torch.from_numpy(crops))
        for ours, theirs in zip(network(crops), expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_keypoints_move_with_the_box_through_a_larger_picture(predictor, photo):
    (inside,) = predictor(photo[:, 30:210], boxes=(40, 40, 100, 90))
    (whole,) = predictor(photo, boxes=(70, 40, 100, 90))
    np.testing.assert_allclose(whole.keypoints[:, :2] - inside.keypoints[:, :2], [[30, 0]] * 17, atol=0.3)


def test_keypoints_scale_with_the_picture(predictor, photo):
    large = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    (once,), (twice,) = predictor(photo), predictor(large)
    assert np.abs(twice.keypoints[:, :2] / 2 - once.keypoints[:, :2]).max() < 3
    assert once.box == (0, 0, 240, 180)


def test_a_box_beyond_the_picture_crops_as_if_the_border_went_on(predictor, photo):
    (cut,) = predictor(photo, boxes=(-40, 20, 100, 120))
    (padded,) = predictor(cv2.copyMakeBorder(photo, 0, 0, 100, 0, cv2.BORDER_REPLICATE), boxes=(60, 20, 100, 120))
    np.testing.assert_allclose(cut.keypoints[:, :2] + [100, 0], padded.keypoints[:, :2], atol=0.3)


def test_each_box_is_answered_in_order_and_numbered(predictor, photo):
    boxes = [(10, 10, 80, 100), (120, 30, 60, 60)]
    both = predictor(photo, boxes=boxes)
    assert [one.id for one in both] == [1, 2]
    assert [one.box for one in both] == boxes
    for box, one in zip(boxes, both, strict=True):
        np.testing.assert_allclose(one.keypoints, predictor(photo, boxes=box)[0].keypoints, atol=1e-3)
    assert predictor(photo, boxes=[]) == []


def test_many_pictures_are_answered_as_each_by_itself_in_any_batch(untrained_run, predictor, photo, tmp_path):
    images = [np.roll(photo, 10 * i, axis=1) for i in range(5)]
    cv2.imwrite(str(tmp_path / "a.png"), photo[..., ::-1])
    boxes = [None, (0, 0, 90, 90), [(0, 0, 90, 90), (50, 50, 90, 90)], [], None, None]
    small = PosePredictor.load(untrained_run, device="cpu", batch_size=2)
    for answering in (predictor, small):
        many = answering([*images, tmp_path / "a.png"], boxes)
        assert [len(one) for one in many] == [1, 1, 2, 0, 1, 1]
        np.testing.assert_allclose(many[2][1].keypoints, predictor(images[2], (50, 50, 90, 90))[0].keypoints, atol=0.01)
        np.testing.assert_allclose(many[5][0].keypoints, predictor(photo)[0].keypoints, atol=0.01)
        assert many[5][0].image == "a.png"
    stacked = predictor(np.stack(images))
    np.testing.assert_allclose(stacked[3][0].keypoints, predictor(images[3])[0].keypoints, atol=0.01)


def test_a_stream_does_not_keep_pictures(predictor, photo):
    alive = 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def pictures():
        nonlocal alive
        for index in range(10):
            alive += 1
            assert alive <= 2
            yield Picture(str(index), photo.copy().view(Counted)), [Subject(None)]

    assert [found[0].image for found in predictor.predict(pictures())] == [str(i) for i in range(10)]


def test_3d_has_the_root_at_zero_and_local_rotations(predictor, photo):
    (prediction,) = predictor(photo)
    root = load_skeleton("h36m17").parents.index(-1)
    np.testing.assert_allclose(prediction.joints_cam_m[root], 0, atol=1e-6)
    assert prediction.rotations.shape == (17, 6)
    np.testing.assert_allclose(np.linalg.norm(prediction.rotations[:, :3], axis=1), 1, atol=1e-4)


def test_local_rotations_place_the_joints(predictor, photo):
    """Forward kinematics from the template's directions and the predicted lengths give the predicted joints."""
    (prediction,) = predictor(photo)
    skeleton, local = load_skeleton("h36m17"), matrix_from_rotation_6d(prediction.rotations)
    turns, places = {}, {}
    for joint in skeleton.walk_order:
        parent = skeleton.parents[joint]
        if parent < 0:
            turns[joint], places[joint] = local[joint], np.zeros(3)
            continue
        rest = skeleton.rest_m[joint] - skeleton.rest_m[parent]
        length = np.linalg.norm(prediction.joints_cam_m[joint] - prediction.joints_cam_m[parent])
        turns[joint] = turns[parent] @ local[joint]
        places[joint] = places[parent] + turns[parent] @ (rest * length / np.linalg.norm(rest))
    found = np.array([places[joint] for joint in range(17)])
    np.testing.assert_allclose(found, prediction.joints_cam_m, atol=1e-4)


def test_another_skeleton_is_answered_as_far_as_it_can_be_expressed(untrained_run, predictor, photo):
    (own,), (coco,) = predictor(photo), PosePredictor.load(untrained_run, skeleton="coco17", device="cpu")(photo)
    ours, theirs = load_skeleton("h36m17"), load_skeleton("coco17")
    np.testing.assert_allclose(
        coco.keypoints[theirs.index("left_knee")], own.keypoints[ours.index("left_knee")], atol=1e-4
    )
    answer = coco.to_dict()
    assert answer["keypoints"][theirs.index("left_ear")] == [None, None, 0.0]
    assert answer["rotations"] is None
    expressible = coco.keypoints[np.isfinite(coco.keypoints[:, 0]), 2]
    assert 0 < len(expressible) < 17
    assert coco.score == pytest.approx(expressible.mean())
    with pytest.raises(UserError, match="not of the human"):
        PosePredictor.load(untrained_run, skeleton="ap10k17", device="cpu")


def test_flip_test_answers_a_mirrored_picture_with_the_mirrored_pose(untrained_run, predictor, photo):
    """Exactly, for a network that knows nothing of symmetry: the mean of both answers has no preferred side."""
    flipping = PosePredictor.load(untrained_run, device="cpu", flip_test=True)
    image = np.ascontiguousarray(photo[:, 30:210])  # square: the crop mirrors pixel for pixel
    (one,), (other,) = flipping(image), flipping(np.ascontiguousarray(image[:, ::-1]))
    swap = list(load_skeleton("h36m17").swap)
    np.testing.assert_allclose(180 - other.keypoints[swap, 0], one.keypoints[:, 0], atol=1e-3)
    np.testing.assert_allclose(other.keypoints[swap, 1:], one.keypoints[:, 1:], atol=1e-3)
    np.testing.assert_allclose(other.joints_cam_m[swap] * [-1, 1, 1], one.joints_cam_m, atol=1e-5)
    mirrored = np.diag([-1, 1, 1]) @ matrix_from_rotation_6d(other.rotations[swap]) @ np.diag([-1, 1, 1])
    np.testing.assert_allclose(mirrored, matrix_from_rotation_6d(one.rotations), atol=1e-5)
    assert np.abs(one.keypoints - predictor(image)[0].keypoints).max() > 1  # without it there is a preferred side


def test_mirroring_twice_is_the_identity_and_the_mean_weighs_by_confidence():
    rng = np.random.default_rng(0)
    skeleton = load_skeleton("h36m17")
    turns = rng.normal(size=(2, 17, 6))
    output = NetworkOutput(rng.uniform(0, 1, (2, 17, 3)), rng.normal(size=(2, 17, 3)), turns)
    for one, again in zip(output, mirror(mirror(output, skeleton, 48), skeleton, 48), strict=True):
        np.testing.assert_allclose(again, one, atol=1e-12)
    sure, unsure = (
        NetworkOutput(np.array([[[x, 0, c]]]), np.zeros((1, 1, 3)), np.array([[[1.0, 0, 0, 0, 1, 0]]]))
        for x, c in ((0.0, 0.9), (10.0, 0.1))
    )
    np.testing.assert_allclose(mean_of(sure, unsure).keypoints, [[[1.0, 0, 0.5]]])
    nothing = NetworkOutput(sure.keypoints * [1, 1, 0], sure.joints_cam_m, sure.rotations)
    np.testing.assert_allclose(mean_of(nothing, nothing).keypoints, [[[0.0, 0, 0]]])


def test_grey_alpha_and_16_bit_arrays_mean_the_same(predictor, photo):
    grey = np.repeat(photo[..., :1], 3, axis=2)
    (expected,) = predictor(grey)
    opaque = np.full_like(photo[..., :1], 255)
    for image in (photo[..., 0], np.concatenate([grey, opaque], axis=2), grey.astype(np.uint16) * 257):
        np.testing.assert_allclose(predictor(image)[0].keypoints, expected.keypoints, atol=1e-3)


@pytest.mark.parametrize(
    ("image", "boxes", "message"),
    [
        (np.zeros((9, 9, 3)), None, "uint8 or uint16, got float64"),
        (np.zeros((9, 9, 5), np.uint8), None, r"\[H, W, 1..4\], got \[9, 9, 5\]"),
        (np.zeros((9, 9, 3), np.uint8), (1, 2, 3), "a box is x, y, width, height"),
        (np.zeros((9, 9, 3), np.uint8), (1, 2, 0, 5), "size above 0"),
        (17, None, "a path or a numpy array, got int"),
        ([np.zeros((9, 9, 3), np.uint8)], [None, None], "1 pictures need as many"),
    ],
)
def test_what_has_no_meaning_is_refused(predictor, image, boxes, message):
    with pytest.raises(ValueError, match=message):
        predictor(image, boxes)


def test_what_cannot_be_loaded_is_one_line(untrained_run, tmp_path):
    with pytest.raises(UserError, match="device 'tpu9' is not known; choose auto, cpu or cuda"):
        PosePredictor.load(untrained_run, device="tpu9")
    with pytest.raises(UserError, match="batch size must be 1 or more, got 0"):
        PosePredictor.load(untrained_run, device="cpu", batch_size=0)
    with pytest.raises(UserError, match="holds no checkpoint"):
        PosePredictor.load(tmp_path, device="cpu")


def test_the_api_is_there_by_name_and_brings_torch_only_when_a_run_is_loaded(untrained_run):
    code = (
        "import sys, trainer\n"
        "assert 'numpy' not in sys.modules\n"
        "from trainer import PosePredictor, Prediction\n"
        "assert 'torch' not in sys.modules\n"
        f"PosePredictor.load({str(untrained_run)!r}, device='cpu')\n"
        "assert 'torch' in sys.modules\n"
        "assert not hasattr(trainer, 'Nothing')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
