"""Loss terms: functions of predictions and targets that return one number, unweighted.

Coordinates are normalised, 3D is in metres and camera axes. A target that is unknown has weight 0 or is NaN and counts
for nothing; if nothing is known a term is 0. `sg` below is stop-gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from trainer.models.features import Features
from trainer.models.layers import resized
from trainer.models.rotations import matrix_from_rotation_6d

HUBER_BETA = 0.05
"""Normalised distance at which the joint losses turn from square to linear: 2.5% of the image's side."""


def huber(predicted: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean Huber distance of joints [B, K, D], each coordinate by itself, over joints of weight [B, K]."""
    if weight is not None:
        # An unknown target may be NaN, and 0 * NaN in the backward pass would be NaN too.
        target = torch.where(weight[..., None] > 0, target, predicted.detach())
    distance = F.smooth_l1_loss(predicted, target, reduction="none", beta=HUBER_BETA).sum(-1)
    return weighted_mean(distance, weight)


def weighted_mean(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Mean of `values` by `weight` of the same shape; values of weight 0 may be anything; 0 if all weigh nothing."""
    if weight is None:
        return values.mean()
    return torch.where(weight > 0, values * weight, 0.0).sum() / weight.sum().clamp(min=1e-6)


def skeleton_image_loss(predicted: torch.Tensor, target: torch.Tensor, foreground: float) -> torch.Tensor:
    """Mean squared error of centred skeleton images, a pixel on the drawing counting 1 + foreground times."""
    weight = 1.0 + foreground * 0.5 * (target + 1.0)
    return (weight * (predicted - target).square()).mean() / (1.0 + foreground)


def joints_3d_loss(
    predicted: torch.Tensor, target: torch.Tensor, root: int, height_m: float, weight: torch.Tensor
) -> torch.Tensor:
    """L1 of root-relative joints [B, K, 3], over the template's height; weight [B, K]."""
    target = target - target[:, root : root + 1]
    known = weight * target.isfinite().all(-1)
    target = torch.where(known[..., None] > 0, target, predicted.detach())
    return weighted_mean((predicted - target).abs().sum(-1) / height_m, known)


def rotation_loss(predicted: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared Frobenius distance of rotations [..., 3, 3]; NaN targets are unknown. 4 (1 - cos angle)."""
    known = target.isfinite().all((-2, -1))
    known = known.to(predicted.dtype) if weight is None else known * weight
    distance = (predicted - torch.where(target.isfinite(), target, 0.0)).square().sum((-2, -1))
    return weighted_mean(distance, known)


def facing_loss(facing_6d: torch.Tensor, root_rotation: torch.Tensor) -> torch.Tensor:
    """The encoder's 6D reading [B, 6] against the root's true rotation [B, 3, 3]."""
    return rotation_loss(matrix_from_rotation_6d(facing_6d.float()), root_rotation)


def turned_loss(logit: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the encoder's guess [B] whether the back is seen; turned [B] bool."""
    return F.binary_cross_entropy_with_logits(logit.float(), turned.float())


def reprojection_loss(reprojected: torch.Tensor, joints: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Huber(q, sg[p]) + 0.2 Huber(sg[q], p): mostly the uplift follows the pose head, a little the other way."""
    forth = huber(reprojected, joints.detach(), weight)
    back = huber(joints, reprojected.detach(), weight)
    return forth + 0.2 * back


def bone_loss(lengths: torch.Tensor) -> torch.Tensor:
    """Squared deviation of bone lengths [B, K] (over the template's) from 1."""
    return (lengths - 1.0).square().mean()


def consistency_loss(drawing: torch.Tensor, skeleton_image: torch.Tensor) -> torch.Tensor:
    """|beta(q) - sg[y]|^2 + 0.1 |y - sg[beta(q)]|^2: drawing and encoder agree, the drawing moving most."""
    forth = (drawing - skeleton_image.detach()).square().mean()
    back = (skeleton_image - drawing.detach()).square().mean()
    return forth + 0.1 * back


def generator_loss(scores: Sequence[torch.Tensor]) -> torch.Tensor:
    """Least-squares GAN: fakes should score 1. Mean over scales."""
    return torch.stack([(score - 1.0).square().mean() for score in scores]).mean()


def discriminator_loss(real: Sequence[torch.Tensor], fake: Sequence[torch.Tensor]) -> torch.Tensor:
    """Least-squares GAN: real 1, fake 0; halved, mean over scales."""
    terms = [(r - 1.0).square().mean() + f.square().mean() for r, f in zip(real, fake, strict=True)]
    return 0.5 * torch.stack(terms).mean()


def r1_penalty(scores: Sequence[torch.Tensor], real: torch.Tensor) -> torch.Tensor:
    """Mean squared gradient norm of the scores at real inputs, which must require grad (Mescheder et al. 2018)."""
    total = torch.stack([score.flatten(1).mean(1) for score in scores]).mean(0).sum()
    (gradient,) = torch.autograd.grad(total, real, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


class PerceptualLoss(nn.Module):
    """Squared error of frozen features, each tap over its own running mean, then the mean of the taps.

    It stays about 1 throughout, so its weight means units (KeypointGAN). The running means are buffers: they are saved
    with the run, and change only in training, between steps, alike on all processes.
    """

    def __init__(self, features: Features, momentum: float = 0.99) -> None:
        super().__init__()
        self.features = features
        self.momentum = momentum
        self.register_buffer("norms", torch.zeros(0))
        self._seen: list[torch.Tensor] = []

    def forward(
        self, predicted: torch.Tensor, images: torch.Tensor, subject: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compare.

        Args:
            predicted: [B, 3, r, r] RGB in [0, 1].
            images: [B, 3, H, W], resized to r.
            subject: [B, 1, h, w] weights of the pixels, of mean 1 for each picture; None weighs all alike.
        """
        errors = torch.stack(self._errors(predicted, images, subject))
        if self.norms.numel() == 0:
            self.norms = errors.detach().float().clone()
            if torch.distributed.is_initialized():
                torch.distributed.broadcast(self.norms, 0)
        if self.training:
            self._seen.append(errors.detach().float())
        return (errors / self.norms.clamp(min=1e-8)).mean()

    def restore(self, norms: torch.Tensor) -> None:
        """Take up saved running means."""
        self.norms = norms
        self._seen.clear()

    def settle(self) -> None:
        """Let the step's errors, of all its batches and processes, into the running means."""
        if not self._seen:
            return
        errors = torch.stack(self._seen).mean(0)
        self._seen.clear()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(errors)
            errors /= torch.distributed.get_world_size()
        self.norms.lerp_(errors, 1.0 - self.momentum)

    def _errors(
        self, predicted: torch.Tensor, images: torch.Tensor, subject: torch.Tensor | None
    ) -> list[torch.Tensor]:
        with torch.no_grad():
            wanted = self.features(resized(images, predicted.shape[-1]))
        errors = []
        for ours, theirs in zip(self.features(predicted), wanted, strict=True):
            error = (ours - theirs).square().mean(1, keepdim=True)
            if subject is not None:
                error = error * resized(subject, error.shape[-1])
            errors.append(error.mean())
        return errors


@torch.no_grad()
def feature_error(
    features: Features, predicted: torch.Tensor, images: torch.Tensor, subject: torch.Tensor | None = None
) -> torch.Tensor:
    """How badly pictures [B, 3, r, r] match `images`, for gauges: [B], 1 is as bad as the batch's mean feature.

    Squared error of each tap over the variance of the images' own features, mean over taps. Needs no running norm, so
    numbers of different runs compare.

    Args:
        subject: [B, 1, h, w] weights of the pixels, of mean 1 for each picture; None weighs all alike.
    """
    wanted = features(resized(images, predicted.shape[-1]))
    terms = []
    for ours, theirs in zip(features(predicted), wanted, strict=True):
        variance = theirs.var((0, 2, 3), keepdim=True).mean().clamp(min=1e-8)
        error = (ours - theirs).square().mean(1, keepdim=True) / variance
        if subject is not None:
            error = error * resized(subject, error.shape[-1])
        terms.append(error.mean((1, 2, 3)))
    return torch.stack(terms).mean(0)


def subject_weight(subject: torch.Tensor, emphasis: float) -> torch.Tensor:
    """[B, 1, h, w] in 0..1, 1 on the subject -> weights 1 + emphasis * subject, each picture's mean 1."""
    weight = 1.0 + emphasis * subject
    return weight / weight.mean((1, 2, 3), keepdim=True)


def near_drawing(drawing: torch.Tensor) -> torch.Tensor:
    """[B, C, s, s] centred drawing -> [B, 1, s, s] in 0..1: the subject, where no mask is known."""
    figure = 0.5 * (drawing.detach().amax(1, keepdim=True) + 1.0)
    reach = drawing.shape[-1] // 8
    return F.max_pool2d(figure.clamp(0.0, 1.0), 2 * reach + 1, 1, reach)
