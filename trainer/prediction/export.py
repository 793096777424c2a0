"""A run as one ONNX file that needs neither torch nor this package, checked against torch before it appears.

The graph takes `crops`, uint8 RGB [batch, S, S, 3], and gives `keypoints`, `joints_cam_m` and `rotations` as in
`networks.NetworkOutput`; the batch is free, and scaling and normalisation lie inside. What a program must know besides
is in the file's metadata: format, format_version, skeleton, joints, parents, edges, input_size_px, crop_margin,
normalisation, checkpoint, step, opset, difference_px. Use, in Python with numpy, cv2 and onnxruntime alone:

    session = onnxruntime.InferenceSession("model.onnx")
    about = session.get_modelmeta().custom_metadata_map
    size, side = int(about["input_size_px"]), float(about["crop_margin"]) * max(box_width, box_height)
    corner = x + box_width / 2 - side / 2, y + box_height / 2 - side / 2
    zoom = size / side                                  # (0, 0) is the outer corner of a picture's first pixel
    warp = np.array([[zoom, 0, (0.5 - corner[0]) * zoom - 0.5], [0, zoom, (0.5 - corner[1]) * zoom - 0.5]])
    crop = cv2.warpAffine(rgb, warp, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    keypoints, joints_cam_m, rotations = session.run(None, {"crops": crop[None]})
    joints_px = keypoints[0, :, :2] / zoom + corner     # named by json.loads(about["joints"])

A picture much larger than the crop is first to be shrunk by area, or it aliases; `PosePredictor.load("model.onnx")`
does all this by itself, without torch.
"""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch

from posecore.errors import UserError
from trainer.prediction.networks import ONNX_FORMAT, ONNX_FORMAT_VERSION, Network, NetworkOutput, OnnxNetwork
from trainer.prediction.torch_network import PoseFunction, traced
from trainer.training.checkpoint import LoadedModel, load_model

OPSET = 18
MAX_DIFFERENCE_PX = 0.05
"""Of any joint in the crop, between torch and the exported file; beyond it nothing is written."""

_CHECKED_BATCHES = (1, 3, 8)
_TIMED_RUNS = 30


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        difference_px: largest distance between a joint of torch and of the file, in pixels of the crop.
        onnx_ms, torch_ms: CPU time for one picture on one thread.
    """

    path: Path
    megabytes: float
    difference_px: float
    onnx_ms: float
    torch_ms: float


def export_onnx(run: str | Path, out: Path, opset: int = OPSET, weights: str = "ema") -> Exported:
    """Write a run, or one step_... folder, as ONNX; the file appears once it has passed the check.

    Raises:
        UserError: onnx is not installed, no such checkpoint, or torch and the file disagree.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name} is needed for the export: pip install 'posesynth[export]'") from None
    loaded = load_model(run, "cpu", weights)
    function = PoseFunction(loaded).eval()
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.stem}.{os.getpid()}.tmp.onnx")
    try:
        _write(function, temporary, opset)
        model = onnx.load(temporary)
        onnx.helper.set_model_props(model, about(loaded, opset))
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, temporary)
        network = OnnxNetwork(temporary, num_threads=1)
        difference_px = largest_difference_px(network, function)
        if not difference_px <= MAX_DIFFERENCE_PX:
            raise UserError(
                f"{out}: not written, the exported model lies {difference_px:.3g} px from torch, more than "
                f"{MAX_DIFFERENCE_PX}; try another --opset, or report this with your versions of torch and onnxruntime"
            )
        onnx.helper.set_model_props(model, about(loaded, opset) | {"difference_px": f"{difference_px:.6f}"})
        onnx.save(model, temporary)
        onnx_ms, torch_ms = _speed(network, function)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(out, out.stat().st_size / 1e6, difference_px, onnx_ms, torch_ms)


def about(loaded: LoadedModel, opset: int) -> dict[str, str]:
    """The metadata of an exported model; lists are JSON."""
    skeleton = loaded.skeleton
    return {
        "format": ONNX_FORMAT,
        "format_version": ONNX_FORMAT_VERSION,
        "skeleton": skeleton.name,
        "joints": json.dumps(skeleton.joints),
        "parents": json.dumps(skeleton.parents),
        "edges": json.dumps(skeleton.edges),
        "input_size_px": str(loaded.config.data.input_size_px),
        "crop_margin": str(loaded.config.data.crop.margin),
        "normalisation": "none outside: crops are uint8 RGB 0..255, the graph scales and normalises",
        "checkpoint": loaded.folder.name,
        "step": str(loaded.step),
        "opset": str(opset),
        "made_by": f"posesynth {version('posesynth')}, torch {torch.__version__}",
    }


def largest_difference_px(network: Network, function: PoseFunction) -> float:
    """Largest distance between the joints of both in pixels of the crop, over pictures of several kinds and batches."""
    largest = 0.0
    for number, batch in enumerate(_CHECKED_BATCHES):
        crops = _pictures(batch, function.size, seed=number)
        with torch.inference_mode():
            expected = NetworkOutput(*(part.numpy() for part in function(torch.from_numpy(crops))))
        found = network(crops)
        if any(one.shape != other.shape for one, other in zip(found, expected, strict=True)):
            raise UserError("the exported model answers in other shapes than torch")
        distance = np.linalg.norm(found.keypoints[..., :2] - expected.keypoints[..., :2], axis=-1)
        # Confidences, metres and rotations are of order 1; a difference there counts as much of the crop's side.
        others = [
            found.keypoints[..., 2] - expected.keypoints[..., 2],
            *(a - b for a, b in zip(found[1:], expected[1:], strict=True)),
        ]
        largest = max(largest, float(distance.max()), *(function.size * float(np.abs(other).max()) for other in others))
    return largest


def _write(function: PoseFunction, path: Path, opset: int) -> None:
    size = function.size
    # Two pictures, so that no dimension of the batch passes for a constant.
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of optional packages that are not needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own exporter uses what torch deprecates
        program = torch.onnx.export(
            function,
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=["crops"],
            output_names=list(NetworkOutput._fields),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
        program.save(path, external_data=False)
    log.setLevel(level)


def _pictures(count: int, size: int, seed: int) -> np.ndarray:
    """[count, S, S, 3] uint8: coarse and fine blotches, and one of plain noise."""
    rng = np.random.default_rng(seed)
    pictures = []
    for index in range(count):
        grain = (4, 9, 20, size)[index % 4]
        coarse = rng.integers(0, 256, (grain, grain, 3), dtype=np.uint8)
        pictures.append(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))
    return np.stack(pictures)


def _speed(network: Network, function: PoseFunction) -> tuple[float, float]:
    """CPU milliseconds for one picture on one thread: exported, torch as prediction runs it."""
    crops, in_torch = _pictures(1, function.size, seed=0), traced(function)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            return _ms(lambda: network(crops)), _ms(lambda: in_torch(torch.from_numpy(crops)))
    finally:
        torch.set_num_threads(threads)


def _ms(call: Callable[[], object]) -> float:
    for _ in range(3):
        call()
    start = time.process_time()
    for _ in range(_TIMED_RUNS):
        call()
    return 1000 * (time.process_time() - start) / _TIMED_RUNS
