"""What a run would do, told before it does it: sizes of the networks, memory, and the speed of a few real steps."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.config import TrainConfig
from trainer.models.pose_model import build_pose_model
from trainer.training.checkpoint import Checkpoint
from trainer.training.folders import Folders
from trainer.training.stage import Stage
from trainer.training.stages import begin
from trainer.training.step import Course, take_step
from trainer.training.trainee import NETWORKS, Trainee

BYTES_PER_PARAMETER = 20
"""Weight, gradient, AdamW's two means and the EMA, 32 bits each."""


@dataclass(frozen=True)
class Speed:
    """What a few real steps took.

    Attributes:
        step_s: of the joint phase. pose_head_step_s: of the pose head's alone, None where there are none.
        images_per_s: of the joint phase, over all processes. data_wait_pct: part of it spent waiting for batches.
        peak_mb: most memory of this process (with a GPU: of its tensors there).
    """

    step_s: float
    pose_head_step_s: float | None
    images_per_s: float
    data_wait_pct: float
    peak_mb: float


def plan_lines(
    config: TrainConfig, folders: Folders, out: Path, init: Checkpoint | None, device: str, steps: int
) -> Iterator[str]:
    """The plan, a line at a time: first what is known, then, once it is measured, the speed.

    Args:
        steps: real steps to time; nothing of them is kept.
    """
    schedule = config.schedule
    model = build_pose_model(config.model, load_skeleton(config.skeleton), config.data.input_size_px, False)
    sizes = {name: sum(p.numel() for p in getattr(model, name).parameters()) for name in NETWORKS}
    for name, size in sizes.items():
        yield f"{name:15s} {size / 1e6:6.2f} M parameters"
    total = sum(sizes.values())
    yield f"{'all':15s} {total / 1e6:6.2f} M, {BYTES_PER_PARAMETER * total / 1e6:.0f} MB with gradients, AdamW and EMA"
    yield f"pose head alone: {schedule.pose_head_steps} steps of {config.data.prior_batch_size} drawings"
    images = config.images_per_step
    limit = f", at most {schedule.max_minutes:g} min" if schedule.max_minutes else ""
    yield f"then {schedule.steps} steps of {images} images ({schedule.steps * images}){limit}"
    yield f"data: {', '.join(_names(folders))}"
    kept_mb = 6 * 4 * total * (schedule.keep_checkpoints + 1) / 1e6
    yield f"from: {init.folder if init else 'ImageNet weights'}; to: {out}, about {kept_mb:.0f} MB of checkpoints"
    try:
        speed = measure(*begin(config, folders, device, init), steps)
    except UserError as error:
        yield f"speed: not measured ({error})"
        return
    minutes = (schedule.pose_head_steps * (speed.pose_head_step_s or 0.0) + schedule.steps * speed.step_s) / 60
    if schedule.max_minutes is not None:
        minutes = min(minutes, schedule.max_minutes)
    yield f"memory: {speed.peak_mb:.0f} MB at most in {steps} steps"
    yield (
        f"speed: {speed.images_per_s:.1f} images/s, {1e3 * speed.step_s:.0f} ms a step, "
        f"{speed.data_wait_pct:.1f}% of it waiting for data"
    )
    yield f"time: about {minutes:.1f} min, gauges and checkpoints not counted"


def measure(trainee: Trainee, stage: Stage, steps: int) -> Speed:
    """Time real steps of both phases, after two of each that are not counted."""
    schedule = trainee.config.schedule
    trainee.model.train()
    pose_head_s = None
    if schedule.pose_head_steps > 0:
        pose_head_s, _, _ = _timed(trainee, stage, 0, steps)
    step_s, images, wait_s = _timed(trainee, stage, schedule.pose_head_steps, steps)
    if trainee.device.type == "cuda":
        peak_mb = torch.cuda.max_memory_allocated(trainee.device) / 1e6
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return Speed(step_s, pose_head_s, trainee.fabric.world_size * images / step_s, 100.0 * wait_s / step_s, peak_mb)


def _timed(trainee: Trainee, stage: Stage, first_step: int, steps: int) -> tuple[float, float, float]:
    """Seconds, images and seconds of waiting for data of one step."""
    images, begin_s, waited_s = 0, 0.0, 0.0
    for number in range(steps + 2):
        if number == 2:
            _wait_for(trainee.device)
            begin_s, waited_s = time.perf_counter(), _wait_s(stage)
        record = take_step(trainee, stage, Course(step=first_step + number), progress=0.0)
        images += record.num_images if number >= 2 else 0
    _wait_for(trainee.device)
    return (time.perf_counter() - begin_s) / steps, images / steps, (_wait_s(stage) - waited_s) / steps


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _wait_s(stage: Stage) -> float:
    return sum(stream.waited_s for stream in stage.streams.values())


def _names(folders: Folders) -> list[str]:
    given = [folders.synthetic or (), folders.real or ()]
    return [name for said in given for name in ([said] if isinstance(said, str) else said)]
