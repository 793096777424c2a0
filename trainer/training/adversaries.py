"""The two contests of finetuning: encoder against discriminator of drawings, uplift against discriminator of poses.

Each gives the term of the generator side, then, on what that side just showed, the discriminator's own. What follows
from all batches of a step together (pool, balance) is settled after it, alike on all processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from trainer.config import DiscriminatorConfig
from trainer.models.discriminator import DRAWINGS, POSES, ReplayPool
from trainer.training.losses import discriminator_loss, generator_loss, r1_penalty
from trainer.training.pose_terms import seen_from_anywhere
from trainer.training.stage import StepLosses
from trainer.training.trainee import Trainee

BALANCE_EVERY = 10
"""Steps between measurements of the adversarial gradient against the perceptual one."""


class DrawingContest:
    """The encoder's skeleton images of real pictures against drawings of unpaired prior poses."""

    def __init__(self, trainee: Trainee) -> None:
        self.trainee, self.settings = trainee, trainee.config.model.discriminator
        self.pool = ReplayPool(self.settings.replay)
        self.weight = 0.0
        """Of the adversarial term, such that its gradient has the wanted share of the pictures'."""
        self.gradient_ratio = 0.0
        """The weighted adversarial gradient's norm over the pictures', as last measured."""
        self._shown: tuple[torch.Tensor, torch.Tensor, tuple[str, ...]] | None = None
        self._fakes: list[torch.Tensor] = []
        self._norms: list[list[float]] = []

    def is_measured(self, step: int) -> bool:
        """Whether a probe is wanted in this step; see `term`."""
        return step % BALANCE_EVERY == 0 or self.weight == 0.0

    def term(
        self,
        seen: torch.Tensor,
        drawn: torch.Tensor,
        keys: tuple[str, ...],
        perceptual: torch.Tensor,
        probe: torch.Tensor | None,
    ) -> torch.Tensor:
        """The encoder's side, weighted.

        Args:
            seen: [B, C, s, s] its skeleton images of the real pictures of these keys.
            drawn: [B, C, s, s] centred drawings of prior poses, for the discriminator's side.
            perceptual: the pictures' loss. probe: PoseModel.forward's, whose first B rows are the real pictures'; None
                where nothing is to be measured.
        """
        network = self.trainee.discriminators[DRAWINGS].module
        loss = _generator_side(network, _noisy(seen, self.settings))
        if probe is not None:
            norms = [
                torch.autograd.grad(term, probe, retain_graph=True)[0][: len(seen)].norm().item()
                for term in (perceptual, loss)
            ]
            self._norms.append(norms)
        self._shown = (drawn, seen.detach(), keys)
        return self.weight * loss

    def discriminator_losses(self, step: int) -> StepLosses | None:
        """None where `term` was not asked for since the last time."""
        if self._shown is None:
            return None
        drawn, fakes, keys = self._shown
        self._shown = None
        self._fakes.append(fakes)
        terms = _discriminator_side(
            self.trainee.discriminators[DRAWINGS], drawn, self.pool.mixed(fakes), self.settings, step
        )
        return StepLosses(terms, keys, 0)

    def end_step(self) -> None:
        fabric = self.trainee.fabric
        for fakes in self._fakes:
            together = fabric.all_gather(fakes).flatten(0, 1) if fabric.world_size > 1 else fakes
            self.pool.add(together)
        self._fakes.clear()
        if not self._norms:
            return
        norms = torch.tensor(self._norms, dtype=torch.float64).mean(0).to(fabric.device)
        if fabric.world_size > 1:
            norms = fabric.all_reduce(norms, reduce_op="mean")
        self._norms.clear()
        of_pictures, of_contest = norms.tolist()
        self.gradient_ratio = self.weight * of_contest / max(of_pictures, 1e-12)
        wanted = self.trainee.config.losses.adversarial_ratio * of_pictures / max(of_contest, 1e-12)
        self.weight = wanted if self.weight == 0.0 else 0.7 * self.weight + 0.3 * wanted

    @torch.no_grad()
    def gauge(self, drawn: torch.Tensor, seen: torch.Tensor) -> dict[str, float]:
        """The balance: mean scores of drawings and of skeleton images [N, C, s, s], and of the gradients.

        0.5 for both is a draw; 1 and 0 mean that the discriminator has won.
        """
        network = self.trainee.discriminators[DRAWINGS].module
        scores = {"discriminator_on_drawings": drawn, "discriminator_on_real": seen}
        means = {
            name: float(torch.stack([score.mean() for part in images.split(64) for score in network(part)]).mean())
            for name, images in scores.items()
        }
        return means | {"adversarial_weight": self.weight, "adversarial_gradient_ratio": self.gradient_ratio}

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"replay": {f"{place:04d}": image for place, image in enumerate(self.pool.images)}}

    def values(self) -> dict[str, Any]:
        own = {"weight": self.weight, "gradient_ratio": self.gradient_ratio, "num_seen": self.pool.num_seen}
        return {"drawing_contest": own}

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        own = values["drawing_contest"]
        self.pool.images = [image.to(self.trainee.device) for _, image in sorted(tensors("replay").items())]
        self.weight, self.gradient_ratio, self.pool.num_seen = own["weight"], own["gradient_ratio"], own["num_seen"]
        self._shown = None
        self._fakes.clear()
        self._norms.clear()


class PoseContest:
    """3D poses of real pictures against true ones of synthetic pictures, both seen from random sides.

    Both sides are turned alike, so the discriminator judges bodies, not where the cameras of a dataset stand; and an
    error of depth, which the camera does not see, is seen from elsewhere.
    """

    def __init__(self, trainee: Trainee) -> None:
        self.trainee, self.settings = trainee, trainee.config.model.discriminator
        self.root = trainee.skeleton.parents.index(-1)
        self._shown: tuple[torch.Tensor, torch.Tensor, tuple[str, ...]] | None = None

    def term(self, joints: torch.Tensor, true_joints: torch.Tensor, keys: tuple[str, ...]) -> torch.Tensor:
        """The uplift's side, unweighted.

        Args:
            joints: [B, K, 3] root-relative, of the real pictures of these keys.
            true_joints: [N, K, 3] camera axes, of synthetic pictures; kept for the discriminator's side.
        """
        poses = seen_from_anywhere(joints, self.root)
        self._shown = (seen_from_anywhere(true_joints, self.root), poses.detach(), keys)
        return _generator_side(self.trainee.discriminators[POSES].module, _noisy(poses, self.settings))

    def discriminator_losses(self, step: int) -> StepLosses | None:
        """None where `term` was not asked for since the last time."""
        if self._shown is None:
            return None
        real, fakes, keys = self._shown
        self._shown = None
        terms = _discriminator_side(self.trainee.discriminators[POSES], real, fakes, self.settings, step)
        return StepLosses({f"pose_{name}": term for name, term in terms.items()}, keys, 0)


def _generator_side(discriminator: nn.Module, fakes: torch.Tensor) -> torch.Tensor:
    """Its loss; the discriminator itself, behind its wrapper, takes no gradient, so none is awaited from others."""
    discriminator.requires_grad_(False)
    loss = generator_loss(discriminator(fakes))
    discriminator.requires_grad_(True)
    return loss


def _discriminator_side(
    discriminator: nn.Module, real: torch.Tensor, fakes: torch.Tensor, settings: DiscriminatorConfig, step: int
) -> dict[str, torch.Tensor]:
    """Its loss and, in some steps, the penalty."""
    penalised = step % settings.r1_every == 0 and settings.r1_gamma > 0
    real = _noisy(real, settings).requires_grad_(penalised)
    scores = discriminator(torch.cat([real, _noisy(fakes, settings)]))
    real_scores, fake_scores = zip(*(score.split([len(real), len(fakes)]) for score in scores), strict=True)
    terms = {"discriminator": discriminator_loss(real_scores, fake_scores)}
    if penalised:
        # Lazily applied, so as many times stronger (Karras et al. 2020).
        terms["r1"] = 0.5 * settings.r1_gamma * settings.r1_every * r1_penalty(real_scores, real)
    return terms


def _noisy(values: torch.Tensor, settings: DiscriminatorConfig) -> torch.Tensor:
    return values + settings.instance_noise * torch.randn_like(values)
