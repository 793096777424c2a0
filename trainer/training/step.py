"""One step of training: batches, backward passes, clipping, optimisers, running mean.

Each network has its own optimiser and its own gradient clip. Before each batch torch's generators are seeded with
(seed, step, number of the batch in the step), so no state of them need be kept, and a step of two ranks is one of a
single rank that accumulates two batches: same samples, same draws.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric

from posecore.errors import UserError
from trainer.config import TrainConfig
from trainer.training.stage import Stage, StepLosses
from trainer.training.trainee import NETWORKS, Trainee


@dataclass
class Course:
    """How far a run has come: what a checkpoint remembers besides weights, streams and the stage's own state."""

    step: int = 0
    best: float | None = None
    """Lowest value of the stage's best gauge so far."""
    gauges_since_best: int = 0
    joint_start_s: float | None = None
    """When the pose head alone was done, on the run's clock."""
    rollbacks: int = 0


@dataclass(frozen=True)
class StepRecord:
    """What one step gave: means of its terms over its batches, norms of gradients, samples."""

    terms: dict[str, float]
    norms: dict[str, float]
    keys: tuple[str, ...]
    num_images: int


class NotFiniteError(UserError):
    """A loss or gradient is not finite."""


def take_step(trainee: Trainee, stage: Stage, course: Course, progress: float) -> StepRecord:
    """One step of all optimisers and of the EMA; `course` says which one.

    Args:
        progress: of the joint phase, 0..1.

    Raises:
        NotFiniteError: on all ranks, if on any of them a loss or gradient is not finite; of all that is trained nothing
        was changed then.
    """
    config, fabric = trainee.config, trainee.fabric
    joint_step = course.step - config.schedule.pose_head_steps
    is_joint = joint_step >= 0
    factor = rate_factor(config, course.step, joint_step, progress)
    for optimiser in trainee.optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = factor * group["peak_lr"]
        optimiser.zero_grad(set_to_none=True)

    terms: dict[str, float] = {}
    norms: dict[str, float] = {}
    keys: tuple[str, ...] = ()
    num_images, trouble, judged = 0, None, set()
    parts, every = config.optimiser.accumulate, config.schedule.gradient_norms_every
    for part in range(parts):
        _seed(config, course, part * fabric.world_size + fabric.global_rank)
        is_last = part == parts - 1
        with _syncing(trainee, is_last):
            losses = stage.losses(joint_step, progress) if is_joint else stage.pose_head_losses()
            if part == 0 and every and course.step % every == 0:
                norms |= _gradient_norms(trainee, losses)
            fabric.backward(_sum(losses) / parts)
            judgements = stage.discriminator_losses(joint_step) if is_joint else {}
            for judgement in judgements.values():
                fabric.backward(_sum(judgement) / parts)
        keys += losses.keys
        num_images += losses.num_images
        judged |= set(judgements)
        for some in (losses, *judgements.values()):
            trouble = trouble or _not_finite(some)
            for name, term in some.terms.items():
                terms[name] = terms.get(name, 0.0) + float(term.detach()) / parts
    stepping = [name for name in trainee.optimisers if name not in trainee.discriminators or name in judged]
    for name in stepping:
        norms[f"gradient/{name}"], trouble = _clip(trainee, name, keys, trouble)
    if any_rank(fabric, trouble is not None):
        told = trouble or "a loss or gradient of another process is not finite"
        raise NotFiniteError(f"step {course.step + 1}: {told}; the run stops, its last checkpoint stays")
    for name in stepping:
        trainee.optimisers[name].step()
    trainee.ema.update_parameters(trainee.plain)
    stage.end_step()
    return StepRecord(terms, norms, keys, num_images)


@contextmanager
def _syncing(trainee: Trainee, is_last: bool) -> Iterator[None]:
    """Gradients are averaged over processes in the last batch of a step only."""
    with ExitStack() as stack:
        for module in (trainee.model, *trainee.discriminators.values()):
            stack.enter_context(trainee.fabric.no_backward_sync(module, enabled=not is_last))
        yield


def rate_factor(config: TrainConfig, step: int, joint_step: int, progress: float) -> float:
    """Learning rate over its peak: warm-up, then a cosine to `final_factor`; once for the pose head, once for all."""
    if joint_step < 0:
        joint_step, progress = step, step / config.schedule.pose_head_steps
    warm_up = min(1.0, (joint_step + 1) / max(config.optimiser.warmup_steps, 1))
    final = config.optimiser.final_factor
    return warm_up * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0))))


def _seed(config: TrainConfig, course: Course, batch: int) -> None:
    """Seed torch's generators for one batch of one step; after a rollback the draws are others."""
    words = f"{config.seed} {course.rollbacks} {course.step} {batch}".encode()
    torch.manual_seed(int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little") >> 1)


def _sum(losses: StepLosses) -> torch.Tensor:
    return torch.stack([term.float() for term in losses.terms.values()]).sum()


def _not_finite(losses: StepLosses) -> str | None:
    """What is wrong with the losses, or None."""
    for name, term in losses.terms.items():
        if not torch.isfinite(term.detach()):
            return f"loss term {name} is {float(term.detach())}. Batch: {_some(losses.keys)}"
    return None


def _clip(trainee: Trainee, name: str, keys: tuple[str, ...], trouble: str | None) -> tuple[float, str | None]:
    """Clip one network's gradient; its norm before, and the first trouble known by now."""
    network = trainee.discriminators.get(name) or getattr(trainee.plain, name)
    norm = trainee.fabric.clip_gradients(
        network, trainee.optimisers[name], max_norm=trainee.config.optimiser.clip_norm, error_if_nonfinite=False
    )
    # A scaler of 16-bit floats skips such a step by itself, and lowers its scale.
    if not torch.isfinite(norm) and trainee.config.optimiser.precision != "16-mixed":
        trouble = trouble or f"the gradient of {name} is not finite. Batch: {_some(keys)}"
    return float(norm), trouble


def _gradient_norms(trainee: Trainee, losses: StepLosses) -> dict[str, float]:
    """Norm of every loss's gradient on every network that it reaches, "gradient/NETWORK/LOSS"."""
    owners = [
        (name, parameter)
        for name in NETWORKS
        for parameter in getattr(trainee.plain, name).parameters()
        if parameter.requires_grad
    ]
    norms = {}
    for loss, term in losses.terms.items():
        if not term.requires_grad:
            continue
        gradients = torch.autograd.grad(term, [own for _, own in owners], retain_graph=True, allow_unused=True)
        squares: dict[str, float] = {}
        for (name, _), gradient in zip(owners, gradients, strict=True):
            if gradient is not None:
                squares[name] = squares.get(name, 0.0) + float(gradient.float().square().sum())
        norms |= {f"gradient/{name}/{loss}": math.sqrt(square) for name, square in squares.items() if square > 0}
    return norms


def any_rank(fabric: Fabric, flag: bool) -> bool:
    """Whether any process asks for it: all must stop at the same step."""
    if fabric.world_size == 1:
        return flag
    return bool(fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum") > 0)


def _some(keys: tuple[str, ...]) -> str:
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
