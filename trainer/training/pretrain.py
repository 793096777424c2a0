"""Pretraining: the pose head alone on drawings; then everything, supervised, and the renderer on synthetic pairs.

Pictures teach the pose only once the renderer heeds it (a shuffled pose must reconstruct clearly worse on held-out
pairs): before, their gradient is noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from trainer.config import TrainConfig
from trainer.data.batch import Batch
from trainer.data.config import CropConfig
from trainer.data.streams import Datasets, load_gauge_set, pose_prior_stream, synthetic_stream
from trainer.models.features import Features
from trainer.models.layers import resized
from trainer.models.pose_model import PoseModel, PoseOutput
from trainer.training import gauges
from trainer.training.drawings import spoilt_drawings, vary_poses
from trainer.training.folders import Folders
from trainer.training.losses import (
    PerceptualLoss,
    bone_loss,
    facing_loss,
    huber,
    joints_3d_loss,
    rotation_loss,
    skeleton_image_loss,
    subject_weight,
    turned_loss,
)
from trainer.training.stage import StepLosses
from trainer.training.trainee import Trainee


class Pretrain:
    """Supervised on synthetic data; see trainer.training.stage.Stage for what each method is."""

    best_gauge = "error_pct"

    def __init__(self, trainee: Trainee, folders: Folders) -> None:
        self.trainee, self.config, self.skeleton = trainee, trainee.config, trainee.skeleton
        fabric, seed = trainee.fabric, trainee.config.seed
        place = (fabric.global_rank, fabric.world_size)
        data = self.config.data
        renders = (self.config.schedule.render_every, self.config.optimiser.accumulate)
        self.streams = {
            "synthetic": synthetic_stream(folders.synthetic, self.skeleton, data, seed, *place, *renders),
            "prior": pose_prior_stream(folders.synthetic, self.skeleton, data, seed + 1, *place),
        }
        self.held_out = held_out_set(trainee, folders.held_out or folders.synthetic, data.crop)
        self.perceptual = make_perceptual_loss(trainee)
        self.pictures_teach = self.config.schedule.leakage_margin is None

    def pose_head_losses(self) -> StepLosses:
        joints, drawings = self._prior_drawings()
        read = self.trainee.model.read_drawings(drawings)
        loss = self.config.losses.pose_head * huber(read.joints, joints, inside_frame(joints))
        return StepLosses({"pose_head": loss}, (), len(drawings))

    def losses(self, step: int, progress: float) -> StepLosses:
        batch = next(self.streams["synthetic"]).to(self.trainee.device)
        prior_joints, drawings = self._prior_drawings()
        renders = batch.partners is not None
        output = self.trainee.model(
            batch.images,
            blend=blend_at(progress, self.config),
            camera_K=batch.camera_K,
            partners=batch.partners,
            true_joints=self._true_joints(batch) if renders else None,
            image_teaches_pose=self.pictures_teach,
            drawings=drawings,
            known_joints=batch.joints,
        )
        terms = supervised_terms(output, batch, self.trainee.plain, self.config)
        terms |= self._pose_head_term(output, prior_joints)
        if renders:
            weights = self.config.losses
            subject = subject_weight(resized(batch.subject_mask, weights_size(output)), weights.subject_weight)
            terms["perceptual"] = weights.perceptual * self.perceptual(output.reconstruction, batch.images, subject)
        return StepLosses(terms, batch.keys, batch.size)

    def discriminator_losses(self, step: int) -> dict[str, StepLosses]:
        return {}

    def end_step(self) -> None:
        self.perceptual.settle()

    def gauge(self, ema: PoseModel, progress: float) -> dict[str, float]:
        blend = self.config.model.answer_blend
        values = gauges.pose_gauges(ema, self.held_out, self.skeleton, blend, self.trainee.device)
        values |= gauges.leakage(ema, self.perceptual.features, self.held_out, blend, self.trainee.device)
        self._consider_pictures(values)
        return values

    def collapse(self, values: dict[str, float]) -> str | None:
        return None

    def conclusion(self, best: float | None) -> str | None:
        return None

    def picture(self, ema: PoseModel, progress: float) -> np.ndarray:
        return gauges.strip(ema, self.held_out, self.skeleton, self.config, self.trainee.device)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"perceptual": {"norms": self.perceptual.norms}}

    def values(self) -> dict[str, Any]:
        return {"pictures_teach": self.pictures_teach}

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        self.perceptual.restore(tensors("perceptual")["norms"].to(self.trainee.device))
        self.pictures_teach = values["pictures_teach"]

    def _prior_drawings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Poses of the prior, varied, [D, K, 2] under the drawing's names, and their spoilt drawings [D, C, s, s]."""
        joints = vary_poses(next(self.streams["prior"]).to(self.trainee.device), self.skeleton)
        draw = self.trainee.plain.draw
        return draw.named(joints), spoilt_drawings(joints, draw, self.skeleton)

    def _pose_head_term(self, output: PoseOutput, joints: torch.Tensor) -> dict[str, torch.Tensor]:
        loss = huber(output.drawn_pose_2d.joints, joints, inside_frame(joints))
        return {"pose_head": self.config.losses.pose_head * loss}

    def _true_joints(self, batch: Batch) -> torch.Tensor:
        """[B, K, 2]: the truth for `true_drawing` of the rows, NaN for the others."""
        is_given = torch.rand(batch.size, device=batch.joints.device) < self.config.schedule.true_drawing
        return torch.where(is_given[:, None, None], batch.joints, torch.nan)

    def _consider_pictures(self, values: dict[str, float]) -> None:
        """Let pictures teach the pose from the first gauge on at which the renderer heeds it; there is no way back."""
        wanted = self.config.schedule.leakage_margin
        teaches = self.pictures_teach or values["shuffled"] / max(values["right"], 1e-9) - 1.0 >= wanted
        # Rounding may tell processes apart, and one that went its own way would hang the others.
        self.pictures_teach = self.trainee.fabric.broadcast(teaches)
        values["pictures_teach"] = float(self.pictures_teach)


def held_out_set(trainee: Trainee, datasets: Datasets, crop: CropConfig, with_neighbours: bool = False) -> list[Batch]:
    """The batches that a stage is gauged on: some of the datasets' frames, evenly spread, cropped without chance."""
    config = trainee.config
    return load_gauge_set(datasets, trainee.skeleton, config.data, crop, config.schedule.gauge_samples, with_neighbours)


def make_perceptual_loss(trainee: Trainee) -> PerceptualLoss:
    """The perceptual loss that a stage's configuration asks for, on its device."""
    features = trainee.config.losses.features
    return PerceptualLoss(Features(features.name, features.levels, features.weights)).to(trainee.device)


def supervised_terms(
    output: PoseOutput, batch: Batch, model: PoseModel, config: TrainConfig
) -> dict[str, torch.Tensor]:
    """The weighted terms of labelled images."""
    weights, uplift = config.losses, model.uplift
    with torch.no_grad():
        target = model.draw.centred(batch.joints)
    known = batch.joint_weight
    root = uplift.root_index
    terms = {
        "skeleton_image": weights.skeleton_image
        * skeleton_image_loss(output.skeleton_image, target, weights.foreground),
        "joints_2d": weights.joints_2d * huber(output.pose_2d.joints, batch.joints, known),
        "facing": weights.facing * facing_loss(output.facing_6d, batch.rotations_cam[:, root]),
    }
    if config.model.uplift.in_loop != "none":
        pose = output.pose_3d
        everywhere = torch.ones_like(known)
        terms |= {
            "reprojection": weights.reprojection * huber(pose.reprojected, batch.joints, known),
            "joints_3d": weights.joints_3d
            * joints_3d_loss(pose.joints, batch.joints_cam, root, uplift.height_m, everywhere),
            "rotations": weights.rotations * rotation_loss(pose.rotations, batch.rotations_cam),
            "bones": weights.bones * bone_loss(pose.lengths),
        }
    if output.turned_logit is not None:
        turned = model.draw.viewer_sides.turned(batch.joints)
        terms["turned"] = weights.turned * turned_loss(output.turned_logit, turned)
    return terms


def blend_at(progress: float, config: TrainConfig) -> float:
    """How much of the drawn joints is reprojected: 0 at first, 1 in the end, so that a raw uplift destroys nothing.

    0 throughout where the uplift is not in the loop.
    """
    if config.model.uplift.in_loop != "end_to_end":
        return 0.0
    start, end = config.schedule.blend_from, config.schedule.blend_until
    if progress >= end:
        return 1.0
    return max((progress - start) / (end - start), 0.0)


def weights_size(output: PoseOutput) -> int:
    """Side of the reconstruction, at which pixels are weighed."""
    return output.reconstruction.shape[-1]


def inside_frame(joints: torch.Tensor) -> torch.Tensor:
    """[B, K] 1 for joints inside the frame."""
    return (joints.abs() <= 1.0).all(-1).to(joints.dtype)
