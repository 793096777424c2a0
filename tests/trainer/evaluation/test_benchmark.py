"""Benchmarks end to end: crops and back to the picture's pixels, 3D, options, what is refused, the command line."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.benchmarks.registry import find_benchmark
from trainer.cli import app
from trainer.config import TrainConfig
from trainer.evaluation import benchmark as module
from trainer.evaluation.benchmark import BenchmarkOptions, evaluate_benchmark, make_request, print_benchmark
from trainer.training.checkpoint import LoadedModel

pytest.importorskip("pycocotools")

WIDTH, HEIGHT = 160, 120
COCO17 = list(find_benchmark("coco").joints.names)


@pytest.fixture
def coco_folder(tmp_path):
    """Three people, each a white dot where all of its joints are, in the middle of a box."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations").mkdir()
    for number in range(3):
        column, row = (int(value) for value in rng.integers(40, 80, 2))
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        # A dot whose centre is that of pixel (row, column).
        cv2.circle(picture, (column, row), 4, (255, 255, 255), -1)
        cv2.imwrite(str(tmp_path / "val2017" / f"{number:012d}.png"), picture)
        images.append({"id": number, "file_name": f"{number:012d}.png", "width": WIDTH, "height": HEIGHT})
        keypoints = [column, row, 2] * 16 + [0, 0, 0]
        annotations.append(
            {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "num_keypoints": 16, "area": 900.0,
             "bbox": [column - 20 - 3 * number, row - 17, 41, 31], "keypoints": keypoints}
        )  # fmt: skip
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": COCO17, "skeleton": []}],
    }
    (tmp_path / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    return tmp_path


class DotFinder:
    """Stands for a model: every joint lies at the bright dot's centre of mass, and 3D is what it is told."""

    def __init__(self, num_joints: int) -> None:
        self.num_joints = num_joints
        self.cameras: list[np.ndarray] = []

    def __call__(self, images, blend, camera_K):
        self.cameras += list(camera_K.numpy())
        bright = images.mean(1)
        side = bright.shape[-1]
        centres = (torch.arange(side) + 0.5) * 2 / side - 1
        total = bright.sum((1, 2))
        x, y = (bright.sum(1) * centres).sum(1) / total, (bright.sum(2) * centres).sum(1) / total
        joints = torch.stack([x, y], 1)[:, None].expand(-1, self.num_joints, 2)
        return SimpleNamespace(
            joints=joints,
            pose_2d=SimpleNamespace(confidence=torch.ones(joints.shape[:2])),
            pose_3d=SimpleNamespace(joints=torch.zeros(*joints.shape[:2], 3)),
        )


@pytest.fixture
def dot_finder(monkeypatch, tmp_path):
    """`evaluate_benchmark` loads this in place of a checkpoint: `dot_finder(skeleton)`."""

    def install(skeleton: str = "h36m17") -> DotFinder:
        finder = DotFinder(load_skeleton(skeleton).num_joints)
        config = TrainConfig.model_validate(
            {"stage": "pretrain", "data": {"input_size_px": 96}, "skeleton": skeleton, "schedule": {"steps": 1}}
        )
        loaded = LoadedModel(finder, config, load_skeleton(skeleton), 7, tmp_path)
        monkeypatch.setattr(module, "load_model", lambda run, device, weights: loaded)
        return finder

    return install


def test_answers_come_back_to_the_pixels_of_the_picture(coco_folder, dot_finder):
    finder = dot_finder()
    result = evaluate_benchmark("run", "coco", coco_folder)
    # Found to a fraction of a pixel in a crop of 96 from a box of 41 px with its margin of 1.25.
    assert result["error_pct"]["value"] < 0.15
    assert result["benchmark_metrics"]["ap"]["value"] == pytest.approx(1)
    assert result["num_samples"] == 3 and result["step"] == 7 and result["split"] == "val2017"
    assert result["joints_unknown_to_model"] == ["left_eye", "right_eye", "left_ear", "right_ear"]
    assert len(result["joints_judged"]) == 13
    assert np.isnan(finder.cameras).all(), "COCO tells no camera"
    json.dumps(result, allow_nan=False)


def test_so_many_samples_are_spread_evenly(coco_folder, dot_finder):
    dot_finder()
    assert evaluate_benchmark("run", "coco", coco_folder, max_samples=2)["num_samples"] == 2


def test_people_are_not_judged_on_animals(coco_folder, dot_finder):
    dot_finder()
    with pytest.raises(UserError, match=r"--benchmark ap10k: its subjects are animals, the model of run knows people"):
        evaluate_benchmark("run", "ap10k", coco_folder)
    dot_finder("ap10k17")
    with pytest.raises(UserError, match="its subjects are people"):
        evaluate_benchmark("run", "coco", coco_folder)


def test_3d_is_relative_to_the_root_and_cameras_are_those_of_the_crop(tmp_path, dot_finder):
    # Human3.6M in MMPose's layout: two frames of one sequence.
    K = np.array([[1000.0, 0, WIDTH / 2], [0, 1000, HEIGHT / 2], [0, 0, 1]])
    rng = np.random.default_rng(1)
    spatial = rng.normal(0, 0.1, (2, 17, 3)) + np.array([0, 0, 5])
    flat = spatial @ K.T
    flat = flat[..., :2] / flat[..., 2:]
    names = [f"S9/S9_Waiting.54138969/S9_Waiting.54138969_{number:06d}.jpg" for number in (1, 65)]
    (tmp_path / "annotation_body3d" / "fps50").mkdir(parents=True)
    ones = np.ones((2, 17, 1))
    np.savez(
        tmp_path / "annotation_body3d" / "fps50" / "h36m_test.npz",
        imgname=np.array(names), part=np.concatenate([flat, ones], 2), S=np.concatenate([spatial, ones], 2),
    )  # fmt: skip
    for name in names:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / name), np.full((HEIGHT, WIDTH, 3), 99, np.uint8))
    finder = dot_finder()
    result = evaluate_benchmark("run", "h36m", tmp_path)
    # The stand-in answers with every joint at the root.
    expected = 1000 * np.linalg.norm(spatial - spatial[:, :1], axis=-1).mean()
    assert result["benchmark_metrics"]["mpjpe_p1_mm"]["value"] == pytest.approx(expected)
    assert result["mpjpe_mm"]["value"] == pytest.approx(expected)
    assert result["stride"] == 64 and result["num_samples"] == 2
    # A crop's camera projects onto the crop's pixels: its centre is that of the widened box of the joints.
    middle = (flat[0].min(0) + flat[0].max(0)) / 2
    ray = np.append((middle - K[:2, 2]) / 1000, 1)
    projected = finder.cameras[0] @ ray
    np.testing.assert_allclose(projected[:2], [48, 48], atol=1e-3)


def test_options_that_a_benchmark_does_not_take_are_refused():
    with pytest.raises(UserError, match="--stride 5: coco takes no --stride"):
        make_request(find_benchmark("coco"), BenchmarkOptions(stride=5), "human")
    with pytest.raises(UserError, match="--split test2017: coco has no such split; choose one of val2017, train2017"):
        make_request(find_benchmark("coco"), BenchmarkOptions(split="test2017"), "human")
    with pytest.raises(UserError, match="--likelihood-cutoff"):
        make_request(find_benchmark("mpii"), BenchmarkOptions(cutoff=0.5), "human")
    assert make_request(find_benchmark("h36m"), BenchmarkOptions(), "human").stride == 64


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean coco"):
        find_benchmark("COCOO")


def test_a_missing_picture_is_named(coco_folder, dot_finder):
    dot_finder()
    (coco_folder / "val2017" / "000000000001.png").unlink()
    with pytest.raises(UserError, match=r"000000000001\.png: missing, though the labels name it"):
        evaluate_benchmark("run", "coco", coco_folder)


def call(*arguments):
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as stopped:
        app([str(argument) for argument in arguments])
    return stopped.value.code


def test_a_checkpoint_is_judged_through_the_command_line(coco_folder, untrained_run, tmp_path, capsys):
    out = tmp_path / "metrics.json"
    common = ("evaluate", "--checkpoint", untrained_run, "--benchmark", "coco", "--root", coco_folder)
    assert call(*common, "--device", "cpu", "--json", out, "--max-samples", 2) == 0
    shown = capsys.readouterr().out
    assert "AP at OKS .50" in shown and "4 of 17 joints not judged, which the model was not trained on" in shown
    stored = json.loads(out.read_text())
    assert stored["benchmark"] == "coco" and stored["num_samples"] == 2


def test_own_breakdowns_are_shown(tmp_path, capsys, coco_folder, dot_finder):
    dot_finder()
    result = evaluate_benchmark("run", "coco", coco_folder)
    result["benchmark_metrics"]["by_part"] = {"wrist": {"ap": {"value": 0.123, "low": 0.1, "high": 0.2}}}
    result["left_out"] = {"frames that are not there": 4}
    print_benchmark(result, ("joint",))
    shown = capsys.readouterr().out
    assert "wrist" in shown and "0.123" in shown and "left out: 4 frames that are not there" in shown
    assert "left_hip" in shown or "left hip" in shown


@pytest.mark.parametrize(
    "arguments",
    [("--data", "x", "--benchmark", "coco"), (), ("--benchmark", "coco"), ("--data", "x", "--split", "val2017")],
)
def test_wrong_usage_is_told_before_anything_is_loaded(tmp_path, arguments, capsys):
    assert call("evaluate", "--checkpoint", tmp_path / "none", *arguments) == 2
    assert "Invalid value" in capsys.readouterr().err


def test_benchmarks_are_listed_and_shown_in_full(capsys):
    assert call("benchmarks") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("h36m-simple", "3dhp", "lspet", "stanfordextra", "badja", "deeplabcut"))
    assert call("benchmarks", "badja") == 0
    shown = capsys.readouterr().out
    assert "lower_left_1 = left_stifle" in shown and "jaw = none of ours, not judged" in shown
