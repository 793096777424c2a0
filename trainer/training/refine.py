"""Refinement on one subject's clips: a few hundred steps; encoder, renderer and the subject's bone lengths learn."""

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
from trainer.training.losses import (
    consistency_loss,
    huber,
    near_drawing,
    subject_weight,
)
from trainer.training.pose_terms import smoothness_loss
from trainer.training.pretrain import held_out_set, make_perceptual_loss
from trainer.training.stage import StepLosses
from trainer.training.trainee import Trainee
from trainer.training.watch import RealWatch

REFINED_NETWORKS = ("encoder", "image_renderer", "uplift")
"""Of the uplift the bone lengths alone."""
COMPARED = ("score", "score_reconstruction", "score_sides", "score_implausible", "real_jitter_pct", "flip_rate")
"""Gauges that are told before and after."""


class Refine:
    """Instance refinement: one subject's clips, without labels.

    Pose head and uplift stay, but for the lengths of the subject's bones, which are those of all its pictures; the
    encoder learns to see this subject, the renderer to paint it. An anchor keeps the pose near the answer of the run
    that it starts from, which is also what the outcome is compared with. Of labelled frames, if given, nothing is
    learned: they tell how the flip rate drifts.
    """

    best_gauge = "score"

    def __init__(self, trainee: Trainee, folders: Folders) -> None:
        self.trainee, self.config, self.skeleton = trainee, trainee.config, trainee.skeleton
        fabric, data = trainee.fabric, trainee.config.data
        self.is_smooth = self.config.losses.smoothness > 0
        place = (fabric.global_rank, fabric.world_size)
        self.streams = {"real": real_stream(folders.real, data, self.config.seed, *place, self.is_smooth)}
        self.held_out = held_out_set(trainee, folders.held_out, data.crop) if folders.held_out else []
        on_real = folders.held_out_real or folders.real
        self.held_out_real = held_out_set(trainee, on_real, data.real_crop, self.is_smooth)
        self.perceptual = make_perceptual_loss(trainee)
        self.watch = RealWatch(trainee, self.perceptual.features, self.held_out, self.held_out_real)
        self.start = copy.deepcopy(trainee.ema.module).eval()
        self.before: dict[str, float] | None = None
        self.after: dict[str, float] = {}

    def pose_head_losses(self) -> StepLosses:
        raise UserError("refinement does not train the pose head: set schedule.pose_head_steps=0")

    def losses(self, step: int, progress: float) -> StepLosses:
        batch = next(self.streams["real"]).to(self.trainee.device)
        weights, blend = self.config.losses, self.config.model.answer_blend
        around = [batch.neighbours.flatten(0, 1)] if self.is_smooth else []
        output = self.trainee.model(torch.cat([batch.images, *around]), blend=blend, partners=batch.partners)
        joints, seen = output.joints[: batch.size], output.skeleton_image[: batch.size]
        with torch.no_grad():
            anchor = self.start(batch.images, blend).joints
        size = output.reconstruction.shape[-1]
        subject = subject_weight(resized(near_drawing(output.drawing), size), weights.subject_weight)
        terms = {
            "perceptual": weights.perceptual * self.perceptual(output.reconstruction, batch.images, subject),
            "consistency": weights.consistency * consistency_loss(output.drawing, seen),
            "anchor": weights.anchor * huber(joints, anchor),
        }
        if self.is_smooth:
            beside = output.joints[batch.size :].unflatten(0, (batch.size, 2))
            terms["smoothness"] = weights.smoothness * smoothness_loss(joints, beside, batch.neighbour_weight)
        return StepLosses(terms, batch.keys, batch.size)

    def discriminator_losses(self, step: int) -> dict[str, StepLosses]:
        return {}

    def end_step(self) -> None:
        self.perceptual.settle()

    def gauge(self, ema: PoseModel, progress: float) -> dict[str, float]:
        if self.before is None:
            self.before = self._judge(self.start)
        values = self._judge(ema)
        self.after = values
        before = {f"before_{name}": self.before[name] for name in COMPARED if name in self.before}
        if "flip_rate" in values:
            before["flip_rate_drift"] = values["flip_rate"] - self.before["flip_rate"]
        return values | before | self._moved(ema)

    def collapse(self, values: dict[str, float]) -> str | None:
        return self.watch.collapse(values)

    def conclusion(self, best: float | None) -> str | None:
        changes = ", ".join(
            f"{name} {self.before[name]:.3g} -> {self.after[name]:.3g}" for name in COMPARED if name in self.before
        )
        if best is not None and best < self.before["score"]:
            return (
                f"refined: the label-free score fell from {self.before['score']:.4g} to {best:.4g} at best; {changes}"
            )
        return f"NOT improved by its own label-free score: keep the run that it started from; {changes}"

    def picture(self, ema: PoseModel, progress: float) -> np.ndarray:
        models = (self.start, ema)
        strips = [
            gauges.strip(model, self.held_out_real, self.skeleton, self.config, self.trainee.device) for model in models
        ]
        # Before on the left, after on the right.
        return np.concatenate(strips, axis=1)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"perceptual": {"norms": self.perceptual.norms}, "start": self.start.state_dict()}

    def values(self) -> dict[str, Any]:
        return {"before": self.before, "after": self.after} | self.watch.values()

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        self.perceptual.restore(tensors("perceptual")["norms"].to(self.trainee.device))
        self.start.load_state_dict(tensors("start"))
        self.before, self.after = values["before"], values["after"]
        self.watch.restore(values)

    def _judge(self, model: PoseModel) -> dict[str, float]:
        """Leakage, score and signs of collapse on the clips; flips on labelled frames, if there are any."""
        blend, device = self.config.model.answer_blend, self.trainee.device
        errors = gauges.leakage(model, self.perceptual.features, self.held_out_real, blend, device)
        watched, _ = self.watch.gauge(model)
        values = {f"real_{name}": value for name, value in errors.items()} | watched
        if self.held_out:
            labelled = gauges.pose_gauges(model, self.held_out, self.skeleton, blend, device)
            values |= {name: labelled[name] for name in ("flip_rate", "error_pct") if name in labelled}
        return values

    def _moved(self, ema: PoseModel) -> dict[str, float]:
        """How far joints moved since the start, and on how many pictures their sides were exchanged."""
        blend, device = self.config.model.answer_blend, self.trainee.device
        moved, swapped = [], []
        for batch in self.held_out_real:
            images = batch.images.to(device)
            now, before = ema(images, blend).joints, self.start(images, blend).joints
            moved.append((now - before).norm(dim=-1).mean(1))
            swapped.append((now[:, list(self.skeleton.swap)] - before).norm(dim=-1).mean(1))
        moved, swapped = torch.cat(moved), torch.cat(swapped)
        # Half the normalised distance is a fraction of the image's side.
        return {"moved_pct": 50.0 * float(moved.mean()), "swapped_sides": float((swapped < moved).float().mean())}
