"""ONNX: what was exported is what was trained, held to pixels, and stands on its own."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.prediction import export
from trainer.prediction.export import export_onnx, largest_difference_px
from trainer.prediction.networks import OnnxNetwork
from trainer.prediction.predictor import PosePredictor
from trainer.prediction.torch_network import PoseFunction
from trainer.training.checkpoint import load_model

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def exported(untrained_run, tmp_path_factory):
    return export_onnx(untrained_run, tmp_path_factory.mktemp("onnx") / "model.onnx")


def test_the_exported_model_answers_as_torch_does_in_any_batch(exported, untrained_run, predictor, photo):
    assert exported.difference_px < 0.05
    assert min(exported.onnx_ms, exported.torch_ms, exported.megabytes) > 0
    alone = PosePredictor.load(exported.path, skeleton="coco17")
    images = [np.roll(photo, 20 * i, axis=1) for i in range(5)]
    boxes = [[(10, 10, 90, 120)], [(10, 10, 90, 120), (100, 20, 80, 80)], [], None, None]
    expected = PosePredictor.load(untrained_run, skeleton="coco17", device="cpu")(images, boxes)
    for several, others in zip(alone(images, boxes), expected, strict=True):
        assert len(several) == len(others)
        for one, other in zip(several, others, strict=True):
            np.testing.assert_allclose(one.keypoints, other.keypoints, atol=0.05)
            np.testing.assert_allclose(one.joints_cam_m, other.joints_cam_m, atol=1e-3)
    own, torch_s = PosePredictor.load(exported.path)(photo)[0], predictor(photo)[0]
    np.testing.assert_allclose(own.rotations, torch_s.rotations, atol=1e-3)


def test_the_metadata_says_all_that_a_program_needs(exported):
    import onnxruntime

    session = onnxruntime.InferenceSession(exported.path)
    about = session.get_modelmeta().custom_metadata_map
    h36m = load_skeleton("h36m17")
    assert json.loads(about["joints"]) == list(h36m.joints)
    assert json.loads(about["parents"]) == list(h36m.parents)
    assert (about["skeleton"], about["input_size_px"], about["crop_margin"]) == ("h36m17", "48", "1.25")
    assert (about["opset"], about["step"], about["checkpoint"]) == ("18", "1", "step_000001")
    assert float(about["difference_px"]) == pytest.approx(exported.difference_px, abs=1e-6)
    (crops,) = session.get_inputs()
    assert (crops.name, crops.type, crops.shape) == ("crops", "tensor(uint8)", ["batch", 48, 48, 3])
    assert [output.name for output in session.get_outputs()] == ["keypoints", "joints_cam_m", "rotations"]


def test_the_use_that_is_documented_gives_the_predictor_s_joints(exported, predictor, photo):
    """The lines of the module's own text, run as they stand."""
    import onnxruntime

    x, y, box_width, box_height = box = (30, 20, 60, 40)  # small: nothing is to be shrunk by area
    lines = [line[4:] for line in export.__doc__.split("\n") if line.startswith("    ")]
    names = {
        "onnxruntime": onnxruntime, "np": np, "cv2": cv2, "rgb": photo,
        "x": x, "y": y, "box_width": box_width, "box_height": box_height,
    }  # fmt: skip
    exec("\n".join(lines).replace('"model.onnx"', repr(str(exported.path))), names)
    np.testing.assert_allclose(names["joints_px"], predictor(photo, box)[0].keypoints[:, :2], atol=0.05)


def test_a_model_that_differs_from_torch_is_refused_and_not_written(untrained_run, exported, tmp_path, monkeypatch):
    loaded = load_model(untrained_run)
    with torch.no_grad():
        loaded.model.pose_head.heat.weight.mul_(1.05)
    difference = largest_difference_px(OnnxNetwork(exported.path), PoseFunction(loaded).eval())
    assert difference > 0.05

    monkeypatch.setattr(export, "MAX_DIFFERENCE_PX", -1.0)
    monkeypatch.setattr(export, "_write", lambda function, path, opset: path.write_bytes(exported.path.read_bytes()))
    with pytest.raises(UserError, match=r"model\.onnx: not written, the exported model lies .* px from torch"):
        export_onnx(untrained_run, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_exported_model_needs_no_torch(exported, photo, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), photo)
    code = (
        "import sys\n"
        "from trainer import PosePredictor\n"
        f"(pose,) = PosePredictor.load({str(exported.path)!r})({str(tmp_path / 'a.png')!r})\n"
        "assert pose.keypoints.shape == (17, 3)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_files_are_refused_in_one_line(exported, tmp_path):
    import onnx

    with pytest.raises(UserError, match=r"none\.onnx: no such file; make one with `trainer export"):
        PosePredictor.load(tmp_path / "none.onnx")
    with pytest.raises(UserError, match=r"an exported model runs on the CPU, got device cuda"):
        PosePredictor.load(exported.path, device="cuda")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"bad\.onnx: cannot be opened as an ONNX model"):
        PosePredictor.load(tmp_path / "bad.onnx")
    model = onnx.load(exported.path)
    onnx.helper.set_model_props(model, {"producer": "someone"})
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(UserError, match=r"foreign\.onnx: not a model of `trainer export`"):
        PosePredictor.load(tmp_path / "foreign.onnx")
