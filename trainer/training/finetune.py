"""Finetuning: each step takes a real and a synthetic batch in one forward pass.

The real images teach by reconstruction, by agreement of drawing and encoder, and by a discriminator of poses; the
synthetic ones stay supervised. The discriminator's gradient is scaled to that of the pictures, so it starts with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from trainer.data.streams import real_stream
from trainer.models.discriminator import ReplayPool
from trainer.models.layers import resized
from trainer.models.pose_head import Pose2D
from trainer.models.pose_model import PoseModel, PoseOutput
from trainer.models.uplift import Pose3D
from trainer.training import gauges
from trainer.training.drawings import spoilt_drawings, vary_poses
from trainer.training.folders import Folders
from trainer.training.loop import StepLosses, Trainee
from trainer.training.losses import (
    consistency_loss,
    discriminator_loss,
    generator_loss,
    near_drawing,
    r1_penalty,
    reprojection_loss,
    subject_weight,
)
from trainer.training.pretrain import Pretrain, blend_at, held_out_set, supervised_terms, weights_size

BALANCE_EVERY = 10
"""Steps between measurements of the adversarial gradient against the perceptual one."""


class Finetune(Pretrain):
    """Analysis-by-synthesis: what Pretrain does on half of each batch, reconstruction of real images on the rest."""

    best_gauge = "real_right"

    def __init__(self, trainee: Trainee, folders: Folders) -> None:
        super().__init__(trainee, folders)
        fabric, data = trainee.fabric, self.config.data
        place = (fabric.global_rank, fabric.world_size)
        self.streams["real"] = real_stream(folders.real, data, self.config.seed + 2, *place)
        self.held_out_real = held_out_set(trainee, folders.held_out_real or folders.real, data.real_crop)
        self.pool = ReplayPool(self.config.model.discriminator.replay)
        self.adversarial_weight = 0.0
        self.error_before: float | None = None
        self._contest: tuple[torch.Tensor, torch.Tensor, tuple[str, ...]] | None = None

    def losses(self, step: int, progress: float) -> StepLosses:
        real = next(self.streams["real"]).to(self.trainee.device)
        synthetic = next(self.streams["synthetic"]).to(self.trainee.device)
        prior = next(self.streams["prior"]).to(self.trainee.device)
        prior_joints = vary_poses(prior, self.skeleton)
        draw = self.trainee.plain.draw
        renders_synthetic = step % self.config.schedule.render_every == 0
        nothing_true = real.images.new_full((real.size, *synthetic.joints.shape[1:]), torch.nan)
        true_joints = [nothing_true, self._true_joints(synthetic)] if renders_synthetic else [nothing_true]
        is_adversarial = self.pictures_teach and self.config.losses.adversarial_ratio > 0
        probe = None
        if is_adversarial and (step % BALANCE_EVERY == 0 or self.adversarial_weight == 0.0):
            shape = (real.size + synthetic.size, draw.num_channels, draw.size, draw.size)
            probe = real.images.new_zeros(shape, requires_grad=True)
        output = self.trainee.model(
            torch.cat([real.images, synthetic.images]),
            blend=blend_at(progress, self.config),
            camera_K=torch.cat([torch.full_like(synthetic.camera_K[:1], torch.nan).expand(real.size, 3, 3),
                                synthetic.camera_K]),
            partners=torch.cat([real.partners, synthetic.partners]) if renders_synthetic else real.partners,
            true_joints=torch.cat(true_joints),
            image_teaches_pose=self.pictures_teach,
            drawings=spoilt_drawings(prior_joints, draw, self.skeleton),
            probe=probe,
            known_joints=torch.cat([nothing_true, synthetic.joints]),
        )  # fmt: skip
        is_real, is_synthetic = slice(None, real.size), slice(real.size, None)

        first, last = self.config.losses.synthetic
        share = first + (last - first) * progress
        terms = supervised_terms(_rows(output, is_synthetic), synthetic, self.trainee.plain, self.config)
        terms = {name: share * term for name, term in terms.items()}
        terms |= self._pose_head_term(output, draw.named(prior_joints))

        weights, size = self.config.losses, weights_size(output)
        subjects = [resized(near_drawing(output.drawing[is_real]), size)]
        targets = [real.images]
        if renders_synthetic:
            subjects.append(resized(synthetic.subject_mask, size))
            targets.append(synthetic.images)
        subject = subject_weight(torch.cat(subjects), weights.subject_weight)
        perceptual = weights.perceptual * self.perceptual(output.reconstruction, torch.cat(targets), subject)
        seen = output.skeleton_image[is_real]
        terms["perceptual"] = perceptual
        terms["consistency"] = weights.consistency * consistency_loss(output.drawing[is_real], seen)
        terms["real_reprojection"] = weights.reprojection * reprojection_loss(
            output.pose_3d.reprojected[is_real], output.pose_2d.joints[is_real], None
        )
        self._contest = None
        if is_adversarial:
            adversarial = self._adversarial_loss(seen)
            if probe is not None:
                self._balance(adversarial, perceptual, probe, real.size)
            terms["adversarial"] = self.adversarial_weight * adversarial
            self._contest = (draw.centred(prior[: real.size]), seen.detach(), real.keys)
        return StepLosses(terms, real.keys + synthetic.keys, real.size + synthetic.size)

    def discriminator_losses(self, step: int) -> StepLosses | None:
        if self._contest is None:
            return None
        settings = self.config.model.discriminator
        drawn, fakes, keys = self._contest
        fakes = self.pool.query(fakes, torch.default_generator)
        penalised = step % settings.r1_every == 0 and settings.r1_gamma > 0
        drawn = self._noisy(drawn).requires_grad_(penalised)
        scores = self.trainee.discriminator(torch.cat([drawn, self._noisy(fakes)]))
        real_scores, fake_scores = zip(*(score.split([len(drawn), len(fakes)]) for score in scores), strict=True)
        terms = {"discriminator": discriminator_loss(real_scores, fake_scores)}
        if penalised:
            # Lazily applied, so as many times stronger (Karras et al. 2020).
            terms["r1"] = 0.5 * settings.r1_gamma * settings.r1_every * r1_penalty(real_scores, drawn)
        return StepLosses(terms, keys, 0)

    def gauge(self, ema: PoseModel, progress: float) -> dict[str, float]:
        blend, device = self.config.model.answer_blend, self.trainee.device
        values = gauges.pose_gauges(ema, self.held_out, self.skeleton, blend, device)
        if self.error_before is None:
            self.error_before = values["error_pct"]
        values["forgetting_pct"] = values["error_pct"] - self.error_before
        on_real = gauges.leakage(ema, self.perceptual.features, self.held_out_real, blend, device)
        self._consider_pictures(on_real)
        values["adversarial_weight"] = self.adversarial_weight
        return values | {f"real_{name}": value for name, value in on_real.items()}

    def picture(self, ema: PoseModel, progress: float) -> np.ndarray:
        return gauges.strip(ema, self.held_out_real, self.skeleton, self.config, self.trainee.device)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        kept = {f"{place:04d}": image for place, image in enumerate(self.pool.images)}
        return super().tensors() | {"replay": kept}

    def values(self) -> dict[str, Any]:
        own = {"adversarial_weight": self.adversarial_weight, "error_before": self.error_before}
        return super().values() | own

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        super().restore(tensors, values)
        self.pool.images = [image.to(self.trainee.device) for _, image in sorted(tensors("replay").items())]
        self.adversarial_weight, self.error_before = values["adversarial_weight"], values["error_before"]

    def _adversarial_loss(self, seen: torch.Tensor) -> torch.Tensor:
        """The generator's side; the discriminator itself takes no gradient here."""
        # Behind the wrapper: no gradients of the discriminator are wanted, so none may be awaited from other processes.
        discriminator = self.trainee.discriminator.module
        discriminator.requires_grad_(False)
        loss = generator_loss(discriminator(self._noisy(seen)))
        discriminator.requires_grad_(True)
        return loss

    def _balance(self, adversarial: torch.Tensor, perceptual: torch.Tensor, probe: torch.Tensor, num_real: int) -> None:
        """Set the adversarial weight so that its gradient on real skeleton images has the wanted norm; smoothed."""
        norms = [
            torch.autograd.grad(loss, probe, retain_graph=True)[0][:num_real].norm().item()
            for loss in (perceptual, adversarial)
        ]
        wanted = self.config.losses.adversarial_ratio * norms[0] / max(norms[1], 1e-12)
        old = self.adversarial_weight
        self.adversarial_weight = wanted if old == 0.0 else 0.7 * old + 0.3 * wanted

    def _noisy(self, drawings: torch.Tensor) -> torch.Tensor:
        return drawings + self.config.model.discriminator.instance_noise * torch.randn_like(drawings)


def _rows(output: PoseOutput, rows: slice) -> PoseOutput:
    """The estimates (not the pictures) of some of the images."""
    pose_2d = Pose2D(*(value[rows] for value in output.pose_2d))
    pose_3d = Pose3D(*(value[rows] for value in output.pose_3d))
    turned_logit = None if output.turned_logit is None else output.turned_logit[rows]
    return PoseOutput(
        output.skeleton_image[rows],
        output.facing_6d[rows],
        pose_2d,
        pose_3d,
        output.joints[rows],
        turned_logit=turned_logit,
    )
