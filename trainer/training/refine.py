"""Refinement on one subject's clips: a few hundred steps, encoder and renderer only."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from posecore.errors import UserError
from trainer.data.streams import real_stream
from trainer.models.layers import resized
from trainer.models.pose_model import PoseModel
from trainer.training import gauges
from trainer.training.folders import Folders
from trainer.training.loop import StepLosses, Trainee
from trainer.training.losses import (
    consistency_loss,
    huber,
    near_drawing,
    subject_weight,
)
from trainer.training.pretrain import held_out_set, make_perceptual_loss

REFINED_NETWORKS = ("encoder", "image_renderer")


class Refine:
    """Instance refinement: one person's clips, without labels.

    Pose head and uplift stay; the encoder learns to see this person, the renderer to paint them, and an anchor keeps
    the pose near the answer of the run that it starts from.
    """

    best_gauge = "real_right"

    def __init__(self, trainee: Trainee, folders: Folders) -> None:
        self.trainee, self.config, self.skeleton = trainee, trainee.config, trainee.skeleton
        fabric, data = trainee.fabric, trainee.config.data
        place = (fabric.global_rank, fabric.world_size)
        self.streams = {"real": real_stream(folders.real, data, self.config.seed, *place)}
        self.held_out_real = held_out_set(trainee, folders.held_out_real or folders.real, data.real_crop)
        self.perceptual = make_perceptual_loss(trainee)
        self.start = copy.deepcopy(trainee.ema.module).eval()

    def pose_head_losses(self) -> StepLosses:
        raise UserError("refinement does not train the pose head: set schedule.pose_head_steps=0")

    def losses(self, step: int, progress: float) -> StepLosses:
        batch = next(self.streams["real"]).to(self.trainee.device)
        weights, blend = self.config.losses, self.config.model.answer_blend
        output = self.trainee.model(batch.images, blend=blend, partners=batch.partners)
        with torch.no_grad():
            anchor = self.start(batch.images, blend).joints
        size = output.reconstruction.shape[-1]
        subject = subject_weight(resized(near_drawing(output.drawing), size), weights.subject_weight)
        terms = {
            "perceptual": weights.perceptual * self.perceptual(output.reconstruction, batch.images, subject),
            "consistency": weights.consistency * consistency_loss(output.drawing, output.skeleton_image),
            "anchor": weights.anchor * huber(output.joints, anchor),
        }
        return StepLosses(terms, batch.keys, batch.size)

    def discriminator_losses(self, step: int) -> StepLosses | None:
        return None

    def end_step(self) -> None:
        self.perceptual.settle()

    def gauge(self, ema: PoseModel, progress: float) -> dict[str, float]:
        blend, device = self.config.model.answer_blend, self.trainee.device
        errors = gauges.leakage(ema, self.perceptual.features, self.held_out_real, blend, device)
        moved, swapped = [], []
        for batch in self.held_out_real:
            images = batch.images.to(device)
            now, before = ema(images, blend).joints, self.start(images, blend).joints
            moved.append((now - before).norm(dim=-1).mean(1))
            swapped.append((now[:, list(self.skeleton.swap)] - before).norm(dim=-1).mean(1))
        moved, swapped = torch.cat(moved), torch.cat(swapped)
        # Half the normalised distance is a fraction of the image's side.
        drift = {"moved_pct": 50.0 * float(moved.mean()), "swapped_sides": float((swapped < moved).float().mean())}
        return {f"real_{name}": value for name, value in errors.items()} | drift

    def picture(self, ema: PoseModel, progress: float) -> np.ndarray:
        return gauges.strip(ema, self.held_out_real, self.skeleton, self.config, self.trainee.device)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"perceptual": {"norms": self.perceptual.norms}, "start": self.start.state_dict()}

    def values(self) -> dict[str, Any]:
        return {}

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        self.perceptual.restore(tensors("perceptual")["norms"].to(self.trainee.device))
        self.start.load_state_dict(tensors("start"))
