"""Whether a run that is killed and resumed goes on as if nothing had happened, tried with real processes.

A run is trained without interruption. A second one is killed once it has taken some steps behind a checkpoint, then
resumed, with one loader process more than before. Losses and keys of samples must be the same, step by step.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posecore.errors import UserError
from trainer.config import load_config
from trainer.data.line_figures import write_line_clips, write_line_figures
from trainer.training.checkpoint import open_checkpoint
from trainer.training.logs import METRICS, SAMPLES

SMALL_NETWORKS = (
    "data.input_size_px=32", "data.synthetic_batch_size=4", "data.prior_batch_size=4",
    "model.encoder={name: unet, width: 8}", "model.skeleton_image={channels: 3, size: 16, sharpness: 8}",
    "model.pose_head.width=8", "model.uplift={width: 32, blocks: 1, dropout: 0.1}",
    "model.image_renderer={size: 16, width: 8, halvings: 1}", "losses.features.levels=2",
)  # fmt: skip
"""For the made dataset of line figures: steps of milliseconds."""

_TIMES = ("seconds", "images_per_s", "data_wait_pct")
_START_S = 600.0  # within this time a run must have taken its first steps


@dataclass(frozen=True)
class Verdict:
    """What came out: `problem` is None if all was equal."""

    checkpoint_step: int
    killed_after_step: int
    steps_compared: int
    keys_compared: int
    problem: str | None


def resume_test(
    folder: Path,
    data: str | None,
    real: str | None,
    init: Path | None,
    config: str,
    overrides: tuple[str, ...],
    steps: int,
    every: int,
    device: str,
) -> Verdict:
    """Train, kill, resume, compare.

    Args:
        folder: for the runs; must be empty.
        data: labelled dataset, or None for line figures and small networks. real: unlabelled one for finetuning, or
            None for line figures. init: run that it starts from, or None for ImageNet's weights.
        steps: of each run, the last two fifths after the kill. every: steps between checkpoints.

    Raises:
        UserError: a run failed by itself; its last words are told. Or the configuration is one of a refinement.
    """
    command = load_config(config, overrides).command
    if command == "refine":
        raise UserError(f"{config}: the self-test is of pretraining and finetuning, not of refinement")
    if data is None:
        data = str(write_line_figures(folder / "line_figures", scenes=12, shards=3))
        overrides = (*SMALL_NETWORKS, *overrides)
    pose_head_steps = steps // 5 if init is None else 0
    overrides = (
        *overrides, f"schedule.pose_head_steps={pose_head_steps}", f"schedule.steps={steps - pose_head_steps}",
        "schedule.max_minutes=null", f"schedule.checkpoint_every={every}", "schedule.log_every=1",
        "schedule.log_samples=true", "schedule.gauge_samples=16", f"schedule.gauge_every={every}",
    )  # fmt: skip
    settings = [word for override in overrides for word in ("--set", override)]
    common = [command, "--config", config, "--data", data, "--device", device, *settings]
    if command == "finetune":
        common += ["--real", real or str(write_line_clips(folder / "line_clips"))]
    if command == "finetune" or init is not None:
        common += ["--init", str(init or "none")]
    whole, broken = folder / "whole", folder / "killed"
    _finish(_start([*common, "--out", str(whole)]), whole)
    killed_after = _kill_after(_start([*common, "--out", str(broken)]), broken, max(every + 1, 3 * steps // 5))
    checkpoint = open_checkpoint(broken)
    workers = checkpoint.config.data.num_workers + 1
    again = [command, "--out", str(broken), "--resume", "--device", device, "--set", f"data.num_workers={workers}"]
    _finish(_start(again), broken)
    return _compare(whole, broken, checkpoint.step, killed_after)


def _start(arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trainer.cli", "run", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str], run: Path) -> None:
    _, words = process.communicate()
    if process.returncode != 0:
        raise UserError(f"{run}: the run failed by itself: {words.strip().splitlines()[-1] if words else 'no words'}")


def _kill_after(process: subprocess.Popen[str], run: Path, step: int) -> int:
    """Kill -9 once so many steps are logged; the last step that was."""
    deadline = time.monotonic() + _START_S
    while process.poll() is None:
        lines = _lines(run / METRICS)
        if lines and lines[-1]["step"] >= step:
            process.kill()
            process.communicate()
            return _lines(run / METRICS)[-1]["step"]
        if time.monotonic() > deadline:
            process.kill()
            process.communicate()
            raise UserError(f"{run}: fewer than {step} steps in {_START_S / 60:.0f} min; ask for fewer --steps")
        time.sleep(0.02)
    _finish(process, run)
    raise UserError(f"{run}: was done before it could be killed; ask for more --steps")


def _compare(whole: Path, broken: Path, checkpoint_step: int, killed_after: int) -> Verdict:
    expected, found = ([line for line in _lines(run / METRICS) if line["kind"] == "train"] for run in (whole, broken))
    expected_keys, found_keys = (_lines(run / SAMPLES) for run in (whole, broken))
    problem = _first_difference(expected, found) or _first_difference(expected_keys, found_keys)
    num_keys = sum(len(line["keys"]) for line in found_keys if line["step"] > checkpoint_step)
    num_steps = sum(line["step"] > checkpoint_step for line in found)
    return Verdict(checkpoint_step, killed_after, num_steps, num_keys, problem)


def _first_difference(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> str | None:
    for theirs, ours in zip(expected, found, strict=False):
        names = [name for name in {**theirs, **ours} if name not in _TIMES and theirs.get(name) != ours.get(name)]
        if names:
            name = names[0]
            return f"step {theirs['step']}: {name} is {ours.get(name)}, without interruption {theirs.get(name)}"
    if len(expected) != len(found):
        return f"{len(found)} steps are recorded, without interruption {len(expected)}"
    return None


def _lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file that may be being written: a last line without its end is left out."""
    text = path.read_text() if path.is_file() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
