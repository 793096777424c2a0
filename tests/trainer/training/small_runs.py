"""Runs of milliseconds a step on a few painted people, for tests of the stages."""

import json

from trainer.config import TrainConfig, override_config
from trainer.training.checkpoint import open_checkpoint
from trainer.training.logs import read_metrics
from trainer.training.stages import run_stage

SMALL = {
    "stage": "pretrain",
    "data": {"input_size_px": 32, "synthetic_batch_size": 4, "real_batch_size": 4, "prior_batch_size": 4},
    "model": {
        "skeleton_image": {"channels": 3, "size": 16, "sharpness": 8.0},
        "encoder": {"name": "unet", "width": 8},
        "pose_head": {"width": 8},
        "uplift": {"width": 32, "blocks": 1, "dropout": 0.1},
        "image_renderer": {"size": 16, "width": 8, "halvings": 1},
        "discriminator": {"width": 8, "scales": 1, "r1_every": 2, "replay": 6},
    },
    "losses": {"features": {"levels": 2}},
    "schedule": {
        "pose_head_steps": 2, "steps": 6, "gauge_every": 3, "gauge_samples": 8, "log_every": 1,
        "checkpoint_every": 100, "picture_every": 100, "leakage_margin": None, "keep_checkpoints": 3,
    },
}  # fmt: skip


def config(stage="pretrain", *overrides, **schedule):
    """The small configuration of a stage, "a.b=value" overrides and fields of `schedule` changed."""
    content = json.loads(json.dumps(SMALL))
    content["stage"] = stage
    content["schedule"] |= schedule
    return override_config(TrainConfig.model_validate(content), overrides)


def train(run, folders, settings, resume=False, init=None):
    last = open_checkpoint(run) if resume else None
    return run_stage(last.config if last else settings, folders, run, "cpu", init, last)


def losses_by_step(run):
    skipped = ("seconds", "images_per_s", "data_wait_pct")
    return [{k: v for k, v in entry.items() if k not in skipped} for entry in read_metrics(run, "train")]
