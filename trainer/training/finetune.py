"""Finetuning: each step takes a real and a synthetic batch in one forward pass.

The real images teach by reconstruction, by agreement of drawing and encoder, by discriminators of drawings and of poses
seen from elsewhere, by what bodies can do, and by what another calibrated camera saw; the synthetic ones stay
supervised. The gradient of the discriminator of drawings is scaled to that of the pictures.

Until the renderer heeds the pose, real images teach the renderer alone. Agreement and plausibility hold a pose on the
picture, but do not find it there: without the picture's own gradient they pull every pose towards some plausible one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from trainer.data.batch import Batch
from trainer.models.discriminator import DRAWINGS, POSES
from trainer.models.layers import resized
from trainer.models.pose_model import PoseModel, PoseOutput
from trainer.training.adversaries import DrawingContest, PoseContest
from trainer.training.drawings import spoilt_drawings, vary_poses
from trainer.training.folders import Folders
from trainer.training.losses import (
    bone_loss,
    consistency_loss,
    near_drawing,
    reprojection_loss,
    subject_weight,
)
from trainer.training.mixed import Mixed
from trainer.training.pose_terms import joint_limit_loss, smoothness_loss, views_loss
from trainer.training.pretrain import blend_at, supervised_terms
from trainer.training.stage import StepLosses
from trainer.training.trainee import Trainee


class Finetune(Mixed):
    """Analysis-by-synthesis: what Pretrain does on half of each batch, reconstruction of real images on the rest."""

    def __init__(self, trainee: Trainee, folders: Folders) -> None:
        super().__init__(trainee, folders)
        self.drawing_contest = DrawingContest(trainee) if DRAWINGS in trainee.discriminators else None
        self.pose_contest = PoseContest(trainee) if POSES in trainee.discriminators else None

    def losses(self, step: int, progress: float) -> StepLosses:
        real = next(self.streams["real"]).to(self.trainee.device)
        synthetic = next(self.streams["synthetic"]).to(self.trainee.device)
        prior = next(self.streams["prior"]).to(self.trainee.device)
        prior_joints = vary_poses(prior, self.skeleton)
        draw = self.trainee.plain.draw
        renders_synthetic = synthetic.partners is not None
        nothing_true = real.images.new_full((real.size, *synthetic.joints.shape[1:]), torch.nan)
        true_joints = [nothing_true, self._true_joints(synthetic)] if renders_synthetic else [nothing_true]
        around = [real.neighbours.flatten(0, 1)] if self.is_smooth and self.pictures_teach else []
        beside = [real.views] if self.compares_views and self.pictures_teach else []
        images = torch.cat([real.images, synthetic.images, *around, *beside])
        known_joints = images.new_full((len(images), *synthetic.joints.shape[1:]), torch.nan)
        camera_K = images.new_full((len(images), 3, 3), torch.nan)
        is_real, is_synthetic = slice(None, real.size), slice(real.size, real.size + synthetic.size)
        known_joints[is_synthetic], camera_K[is_synthetic] = synthetic.joints, synthetic.camera_K
        contest = self.drawing_contest if self.pictures_teach else None
        probe = None
        if contest is not None and contest.is_measured(step):
            probe = images.new_zeros((len(images), draw.num_channels, draw.size, draw.size), requires_grad=True)
        output = self.trainee.model(
            images,
            blend=blend_at(progress, self.config),
            camera_K=camera_K,
            partners=torch.cat([real.partners, synthetic.partners]) if renders_synthetic else real.partners,
            true_joints=torch.cat(true_joints),
            image_teaches_pose=self.pictures_teach,
            drawings=spoilt_drawings(prior_joints, draw, self.skeleton),
            probe=probe,
            known_joints=known_joints,
        )

        on_synthetic, on_real = output.estimates(is_synthetic), output.estimates(is_real)
        terms = supervised_terms(on_synthetic, synthetic, self.trainee.plain, self.config)
        terms = {name: self._synthetic_share(progress) * term for name, term in terms.items()}
        terms |= self._pose_head_term(output, draw.named(prior_joints))

        weights = self.config.losses
        drawing = output.drawing[is_real]
        subjects = [resized(near_drawing(drawing), output.reconstruction.shape[-1])]
        targets = [real.images]
        if renders_synthetic:
            subjects.append(self._subject(synthetic, output))
            targets.append(synthetic.images)
        subject = subject_weight(torch.cat(subjects), weights.subject_weight)
        perceptual = weights.perceptual * self.perceptual(output.reconstruction, torch.cat(targets), subject)
        terms["perceptual"] = perceptual
        if not self.pictures_teach:
            return StepLosses(terms, real.keys + synthetic.keys, real.size + synthetic.size)
        terms["consistency"] = weights.consistency * consistency_loss(drawing, on_real.skeleton_image)
        if self.config.model.uplift.in_loop == "end_to_end":
            terms |= self._pose_terms(on_real, synthetic, real.keys)
        if self.is_smooth:
            is_around = slice(is_synthetic.stop, is_synthetic.stop + 2 * real.size)
            near = output.joints[is_around].unflatten(0, (real.size, 2))
            terms["smoothness"] = weights.smoothness * smoothness_loss(on_real.joints, near, real.neighbour_weight)
        if self.compares_views:
            terms["views"] = weights.views * self._disagreement(
                on_real, output.estimates(slice(-real.size, None)), real
            )
        if contest is not None:
            drawn = draw.centred(prior[: real.size])
            terms["adversarial"] = contest.term(on_real.skeleton_image, drawn, real.keys, perceptual, probe)
        return StepLosses(terms, real.keys + synthetic.keys, real.size + synthetic.size)

    def discriminator_losses(self, step: int) -> dict[str, StepLosses]:
        contests = {DRAWINGS: self.drawing_contest, POSES: self.pose_contest}
        judged = {name: c.discriminator_losses(step) for name, c in contests.items() if c is not None}
        return {name: losses for name, losses in judged.items() if losses is not None}

    def end_step(self) -> None:
        super().end_step()
        if self.drawing_contest is not None:
            self.drawing_contest.end_step()

    def gauge(self, ema: PoseModel, progress: float) -> dict[str, float]:
        values, answers = self._gauge_mixed(ema)
        if self.drawing_contest is not None:
            values |= self.drawing_contest.gauge(self.watch.drawn(), answers.skeleton_image)
        return values

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return super().tensors() | ({} if self.drawing_contest is None else self.drawing_contest.tensors())

    def values(self) -> dict[str, Any]:
        return super().values() | ({} if self.drawing_contest is None else self.drawing_contest.values())

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        super().restore(tensors, values)
        if self.drawing_contest is not None:
            self.drawing_contest.restore(tensors, values)

    def _disagreement(self, on_real: PoseOutput, on_views: PoseOutput, real: Batch) -> torch.Tensor:
        """Of real pictures with the other views of their moments."""
        joints = torch.stack([on_real.pose_3d.joints, on_views.pose_3d.joints], 1)
        confidence = torch.stack([on_real.pose_2d.confidence, on_views.pose_2d.confidence], 1)
        parents = self.trainee.plain.uplift.parents
        return views_loss(joints, confidence, real.world_from_crop, real.view_weight, parents)

    def _pose_terms(self, on_real: PoseOutput, synthetic: Batch, keys: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """What holds the 3D poses of real pictures."""
        weights, pose = self.config.losses, on_real.pose_3d
        terms = {
            "real_reprojection": weights.reprojection
            * reprojection_loss(pose.reprojected, on_real.pose_2d.joints, None),
            "real_bones": weights.bones * bone_loss(pose.lengths),
        }
        if self.limits is not None:
            terms["joint_limits"] = weights.joint_limits * joint_limit_loss(pose.rotations, self.limits)
        if self.pose_contest is not None:
            terms["pose_prior"] = weights.pose_prior * self.pose_contest.term(pose.joints, synthetic.joints_cam, keys)
        return terms
