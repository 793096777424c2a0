"""Where a trained network comes from: a run's checkpoint through torch, or an exported file through onnxruntime.

Both answer alike, so everything round them is numpy and neither library is imported before it is needed. A crop is
uint8 RGB, [S, S, 3]; what the network wants of it (0..1, normalisation) happens inside.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from posecore.errors import UserError
from posecore.skeleton import Skeleton, load_skeleton

ONNX_FORMAT = "posesynth pose model"
ONNX_FORMAT_VERSION = "1"


class NetworkOutput(NamedTuple):
    """What a network says of B crops."""

    keypoints: np.ndarray
    """[B, K, 3] x, y in pixels of the crop from its outer corner, confidence in 0..1."""
    joints_cam_m: np.ndarray
    """[B, K, 3] camera axes, metres, the root at 0."""
    rotations: np.ndarray
    """[B, K, 6] local rotations from the rest pose; the root's in camera axes."""


class Network(Protocol):
    """A trained network, ready to answer."""

    skeleton: Skeleton
    input_size_px: int
    """S."""
    crop_margin: float
    """Side of a crop over its box's longer side, as trained."""

    def __call__(self, crops: np.ndarray) -> NetworkOutput:
        """[B, S, S, 3] uint8 RGB -> poses."""
        ...


def open_network(checkpoint: str | Path, device: Any = "auto", weights: str = "ema") -> Network:
    """The network of a run, of one step_... folder, or of an exported .onnx file.

    Args:
        device: "auto", "cpu", "cuda" or a torch device; an exported model runs on the CPU.
        weights: "ema" or "model", of a run.

    Raises:
        UserError: nothing there, damaged, or the library that it needs is not installed.
    """
    if Path(checkpoint).suffix == ".onnx":
        if str(device) not in ("auto", "cpu"):
            raise UserError(
                f"{checkpoint}: an exported model runs on the CPU, got device {device}; give the run itself"
            )
        return OnnxNetwork(Path(checkpoint))
    from trainer.prediction.torch_network import TorchNetwork

    return TorchNetwork(checkpoint, device, weights)


class OnnxNetwork:
    """A file that `trainer export` wrote.

    Args:
        num_threads: of the runtime; 0 leaves it the choice.
    """

    def __init__(self, path: Path, num_threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError(f"{path}: onnxruntime is needed to run it: pip install 'posesynth[export]'") from None
        if not path.is_file():
            raise UserError(f"{path}: no such file; make one with `trainer export --checkpoint RUN --out {path}`")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime has no public base class of its errors
            raise UserError(f"{path}: cannot be opened as an ONNX model ({error})") from None
        about = self._session.get_modelmeta().custom_metadata_map
        if about.get("format") != ONNX_FORMAT or about.get("format_version") != ONNX_FORMAT_VERSION:
            raise UserError(f"{path}: not a model of `trainer export`, format version {ONNX_FORMAT_VERSION}")
        self.skeleton = load_skeleton(about["skeleton"])
        if list(self.skeleton.joints) != json.loads(about["joints"]):
            raise UserError(f"{path}: its {about['skeleton']} has other joints than this version's; export it again")
        self.input_size_px = int(about["input_size_px"])
        self.crop_margin = float(about["crop_margin"])

    def __call__(self, crops: np.ndarray) -> NetworkOutput:
        return NetworkOutput(*self._session.run(list(NetworkOutput._fields), {"crops": crops}))
