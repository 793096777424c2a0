"""What a run tells: a progress line, metrics.jsonl, TensorBoard, and strips of pictures as PNG.

metrics.jsonl holds one object a line: {"step", "kind": "train" | "gauge", "seconds", name: number, ...}; samples.jsonl,
where asked for, the keys of each step: {"step", "keys"}. A resumed run drops the lines after its checkpoint, so that
each step stands there once. pictures/step_000123.png shows, a row a picture: input, the encoder's skeleton image, the
drawing that was rendered, the reconstruction, the partner, the 3D pose seen from its side.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch.utils.tensorboard import SummaryWriter

from posecore.overlay import draw_skeleton
from posecore.sample import HIDDEN_BY_OTHER, VISIBLE
from posecore.skeleton import Skeleton
from trainer.data.batch import Batch
from trainer.models.pose_model import PoseOutput
from trainer.models.views import seen_from

METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
PICTURES = "pictures"
TENSORBOARD = "tensorboard"
SIDE_HUES = {"left": (255, 140, 30), "right": (40, 150, 255), "centre": (200, 200, 200)}
"""Colours of a skeleton image's channels, those of posecore.overlay: left warm, right cool."""
MIXED_HUES = ((120, 210, 90), (190, 120, 230), (230, 210, 80), (90, 210, 200), (230, 130, 170))
"""Of channels that hold limbs of both sides, as random groupings have them."""
LINE_EVERY_S = 20.0
"""Where there is no terminal (logs, CI), a line of progress this often in place of the bar."""


class RunLog:
    """Writes one run's record; `enabled=False` (other ranks) writes nothing."""

    def __init__(self, run: Path, resume_step: int | None, enabled: bool = True) -> None:
        self.run = run
        self.enabled = enabled
        self.console = Console(quiet=not enabled)
        if not enabled:
            return
        (run / PICTURES).mkdir(parents=True, exist_ok=True)
        self._open(resume_step or 0)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(), TextColumn("{task.fields[note]}"), console=self.console,
            disable=not self.console.is_terminal,
        )  # fmt: skip
        self._last_line_s = time.monotonic()
        self._task = self._progress.add_task("", total=1.0, note="")
        self._progress.start()

    def _open(self, step: int) -> None:
        """Open the files behind what they hold of the steps up to this one; of none after it."""
        for name in (METRICS, SAMPLES):
            path = self.run / name
            lines = path.read_text().splitlines() if path.is_file() else []
            kept = [line for line in lines if 0 < _step_of(line) <= step]
            if lines:
                path.write_text("".join(f"{line}\n" for line in kept))
        self._file = open(self.run / METRICS, "a", buffering=1)  # noqa: SIM115 - closed by close() and rewind()
        self._board = SummaryWriter(self.run / TENSORBOARD, purge_step=step + 1 if step else None)

    def numbers(self, kind: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """Record numbers; those that are not finite are recorded as null."""
        if not self.enabled:
            return
        plain = {name: float(value) if np.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, "kind": kind, "seconds": round(seconds, 2), **plain}) + "\n")
        for name, value in plain.items():
            if value is not None:
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def samples(self, step: int, keys: tuple[str, ...]) -> None:
        """Record which samples a step was made of."""
        if self.enabled:
            with open(self.run / SAMPLES, "a") as file:
                file.write(json.dumps({"step": step, "keys": keys}) + "\n")

    def rewind(self, step: int) -> None:
        """Forget what came after this step."""
        if self.enabled:
            self._file.close()
            self._board.close()
            self._open(step)

    def progress(self, description: str, fraction: float, note: str) -> None:
        if self.enabled:
            self._progress.update(self._task, description=description, completed=min(fraction, 1.0), note=note)
            if not self.console.is_terminal and time.monotonic() - self._last_line_s > LINE_EVERY_S:
                self._last_line_s = time.monotonic()
                self.say(f"{description}: {100 * min(fraction, 1.0):.0f}%  {note}")

    def say(self, line: str) -> None:
        """One line above the progress bar."""
        self.console.print(line, highlight=False, soft_wrap=True)

    def picture(self, step: int, image: np.ndarray) -> None:
        """Keep a picture [H, W, 3] uint8 RGB of this step."""
        if self.enabled:
            path = self.run / PICTURES / f"step_{step:06d}.png"
            cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            self._board.add_image("pictures", image, step, dataformats="HWC")

    def close(self) -> None:
        if self.enabled:
            self._progress.stop()
            self._file.close()
            self._board.close()


def read_metrics(run: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl of one kind, in order."""
    lines = (Path(run) / METRICS).read_text().splitlines()
    return [entry for line in lines if (entry := json.loads(line))["kind"] == kind]


def _step_of(line: str) -> float:
    """Infinite for a line that was cut short when its process was killed."""
    try:
        return json.loads(line)["step"]
    except ValueError:
        return float("inf")


def picture_strip(
    batch: Batch,
    output: PoseOutput,
    skeleton: Skeleton,
    groups: Sequence[int],
    beyond: torch.Tensor | None = None,
    rows: int = 6,
    side: int = 128,
) -> np.ndarray:
    """Rows of input with estimated joints, skeleton image, rendered drawing, reconstruction, partner, side view in 3D.

    Args:
        groups: channel of each edge.
        beyond: [B, K] bool, joints turned farther than they can be: rings in the side view.

    Returns:
        [rows * side, 6 * side, 3] uint8 RGB.
    """
    count = min(rows, len(output.reconstruction))
    colours = channel_colours(skeleton, groups)
    columns = [
        [_to_uint8(image) for image in batch.images[:count]],
        [colour_skeleton_image(image, colours) for image in output.skeleton_image[:count]],
        [colour_skeleton_image(image, colours) for image in output.drawing[:count]],
        [_to_uint8(image) for image in output.reconstruction[:count]],
        [_to_uint8(image) for image in batch.partners[:count]],
        _side_views(output.pose_3d.joints[:count], skeleton, beyond, side),
    ]
    joints_px = joints_to_px(output.joints[:count], side)
    lines = []
    for row in range(count):
        cells = [cv2.resize(column[row], (side, side), interpolation=cv2.INTER_LINEAR) for column in columns]
        cells[0] = draw_skeleton(cells[0], joints_px[row], skeleton)
        lines.append(np.concatenate(cells, axis=1))
    return np.concatenate(lines, axis=0)


def _side_views(joints: torch.Tensor, skeleton: Skeleton, beyond: torch.Tensor | None, side: int) -> list[np.ndarray]:
    """Poses [B, K, 3] as one sees them who stands at the right of the camera, each as large as fits, on black."""
    quarter = joints.new_full((len(joints),), math.pi / 2)
    views = seen_from(joints, skeleton.parents.index(-1), quarter, torch.zeros_like(quarter)).cpu()
    views = views - 0.5 * (views.amin(1, keepdim=True) + views.amax(1, keepdim=True))
    views_px = joints_to_px(0.9 * views / views.abs().amax((1, 2), keepdim=True).clamp(min=1e-6), side)
    pictures = []
    for row, view_px in enumerate(views_px):
        marks = None
        if beyond is not None:
            marks = np.where(beyond[row].cpu().numpy(), HIDDEN_BY_OTHER, VISIBLE)
        pictures.append(draw_skeleton(np.zeros((side, side, 3), np.uint8), view_px, skeleton, marks))
    return pictures


def channel_colours(skeleton: Skeleton, groups: Sequence[int]) -> np.ndarray:
    """[C, 3] RGB in 0..255: warm for channels of left limbs, cool for right ones, grey for the rest; shades differ.

    Where limbs of both sides share a channel, and it is not the only one, it has a hue of its own that says no side.

    Args:
        groups: channel of each edge.
    """
    num_channels = max(groups) + 1
    colours = []
    for channel in range(num_channels):
        edges = [edge for edge, group in zip(skeleton.edges, groups, strict=True) if group == channel]
        sides = {skeleton.side(joint) for edge in edges for joint in edge} - {"centre"}
        if len(sides) == 2 and num_channels > 1:
            colours.append(MIXED_HUES[channel % len(MIXED_HUES)])
        else:
            colours.append(SIDE_HUES[sides.pop() if len(sides) == 1 else "centre"])
    shades = 1.0 - 0.35 * (np.arange(num_channels) % 2 if num_channels > 3 else np.zeros(num_channels))
    return np.asarray(colours) * shades[:, None]


def colour_skeleton_image(skeleton_image: torch.Tensor, colours: np.ndarray) -> np.ndarray:
    """[C, s, s] centred skeleton image -> [s, s, 3] uint8 RGB, the brightest channel's colour at each pixel."""
    lines = (0.5 * (skeleton_image.detach().float().cpu().numpy() + 1.0)).clip(0.0, 1.0)
    return (lines[..., None] * colours[:, None, None, :]).max(0).round().astype(np.uint8)


def joints_to_px(joints: torch.Tensor, size: int) -> np.ndarray:
    """Normalised joints [..., 2] -> pixels of a square image, (0, 0) its outer corner."""
    return (joints.detach().float().cpu().numpy() + 1.0) * size / 2


def _to_uint8(image: torch.Tensor) -> np.ndarray:
    array = image.detach().float().cpu().permute(1, 2, 0).numpy()
    return (array.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)
