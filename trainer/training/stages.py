"""The stages of training: pretrain on synthetic data, finetune with real data mixed in, refine on one clip."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import cv2

from posecore.dataset import write_atomically
from posecore.skeleton import load_skeleton
from trainer.config import TrainConfig
from trainer.training.checkpoint import Checkpoint
from trainer.training.finetune import Finetune
from trainer.training.folders import FOLDERS, Folders
from trainer.training.loop import fit
from trainer.training.mean_teacher import MeanTeacher
from trainer.training.pretrain import Pretrain
from trainer.training.refine import REFINED_NETWORKS, Refine
from trainer.training.stage import Stage
from trainer.training.trainee import NETWORKS, Trainee, make_fabric, set_up


def make_stage(trainee: Trainee, folders: Folders) -> Stage:
    """The stage that the configuration names."""
    match trainee.config.stage:
        case "pretrain":
            return Pretrain(trainee, folders)
        case "finetune":
            return Finetune(trainee, folders)
        case "mean_teacher":
            return MeanTeacher(trainee, folders)
        case "refine":
            return Refine(trainee, folders)


def begin(config: TrainConfig, folders: Folders, device: str, init: Checkpoint | None) -> tuple[Trainee, Stage]:
    """Everything that a run needs before its first step; arguments as in `run_stage`."""
    # cv2's threads take the cores from torch's, and pictures are too small to gain by them.
    cv2.setNumThreads(0)
    fabric = make_fabric(device, config.optimiser.precision)
    skeleton, is_refining = load_skeleton(config.skeleton), config.stage == "refine"
    trained = REFINED_NETWORKS if is_refining else NETWORKS
    if config.model.uplift.in_loop == "none":
        trained = tuple(name for name in trained if name != "uplift")
    trainee = set_up(config, skeleton, fabric, init, trained, is_refining)
    return trainee, make_stage(trainee, folders)


def run_stage(
    config: TrainConfig, folders: Folders, run: Path, device: str, init: Checkpoint | None, resume: Checkpoint | None
) -> bool:
    """A whole run: build, train, leave a checkpoint.

    Args:
        init: checkpoint to start from, or None.
        resume: checkpoint of this very run to continue, or None.

    Returns:
        Whether it came to its end; False if a signal stopped it (a checkpoint is there).
    """
    trainee, stage = begin(config, folders, device, init)
    if trainee.fabric.is_global_zero:
        run.mkdir(parents=True, exist_ok=True)
        write_atomically(run / FOLDERS, (json.dumps(asdict(folders), indent=1) + "\n").encode())
    return fit(trainee, stage, run, resume)
