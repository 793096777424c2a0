"""The one training loop, `fit`: draw, step, average, log, gauge, save, stop. Stages say what a step's losses are.

Steps, not epochs. Each network has its own optimiser and its own gradient clip. The running mean of the weights (EMA)
is a separate, plain module, used for every gauge. A stop (time, Ctrl-C, SIGTERM) happens between two steps, with a
checkpoint; resuming continues as if nothing had happened.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from posecore.errors import UserError
from posecore.skeleton import Skeleton
from trainer.config import OptimiserConfig, TrainConfig
from trainer.models.discriminator import SkeletonDiscriminator
from trainer.models.pose_model import PoseModel, build_pose_model
from trainer.training.checkpoint import (
    Checkpoint,
    load_strictly,
    mark_best,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from trainer.training.logs import RunLog

NETWORKS = ("encoder", "pose_head", "uplift", "image_renderer")


@dataclass(frozen=True)
class StepLosses:
    """One backward pass's terms, already weighted: their sum is what falls."""

    terms: dict[str, torch.Tensor]
    keys: tuple[str, ...]
    """Of the samples in it: the NaN guard names them."""
    num_images: int


class Stage(Protocol):
    """What tells pretraining, finetuning and refinement apart. Step and progress (0..1) are of the joint phase."""

    best_gauge: str
    """Name of the gauge that is lowest at the best checkpoint."""

    def pose_head_losses(self) -> StepLosses:
        """The pose head alone on drawings."""

    def losses(self, step: int, progress: float) -> StepLosses:
        """All networks of the generator side; draws its own batches."""

    def discriminator_losses(self, step: int) -> StepLosses | None:
        """After the generator's step, on what it saw; None while there is nothing to discriminate."""

    def gauge(self, ema: PoseModel, progress: float) -> dict[str, float]:
        """Numbers on held-out data."""

    def picture(self, ema: PoseModel, progress: float) -> np.ndarray:
        """A strip to look at, [H, W, 3] uint8."""

    def data_wait_s(self) -> float:
        """Seconds spent waiting for batches so far."""

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """State to save, by file."""

    def values(self) -> dict[str, Any]:
        """State to save, JSON-able: positions of streams, switches."""

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        """Take both up again."""


@dataclass
class Trainee:
    """The networks under training, wrapped by Fabric, and what belongs to them."""

    fabric: Fabric
    model: nn.Module
    """PoseModel behind Fabric's wrapper; `ema` and `plain` are without."""
    discriminator: nn.Module | None
    ema: AveragedModel
    optimisers: dict[str, torch.optim.Optimizer]
    config: TrainConfig
    skeleton: Skeleton

    @property
    def plain(self) -> PoseModel:
        return self.model.module

    @property
    def device(self) -> torch.device:
        return self.fabric.device


@dataclass
class Clock:
    """Wall time of the run, through interruptions."""

    before_s: float = 0.0
    _start: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return self.before_s + time.perf_counter() - self._start


def make_fabric(device: str, precision: str) -> Fabric:
    """Fabric for one process, or for one of torchrun's.

    Args:
        device: "auto", "cpu" or "cuda".
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // processes
    # A step may leave networks out (no reconstruction in it), hence the search for unused parameters.
    strategy = DDPStrategy(find_unused_parameters=True) if processes * nodes > 1 else "auto"
    accelerator = {"auto": "auto", "cpu": "cpu", "cuda": "cuda"}[device]
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here; use --device auto or cpu")
    fabric = Fabric(accelerator=accelerator, devices=processes, num_nodes=nodes, precision=precision, strategy=strategy)
    fabric.launch()
    return fabric


def set_up(
    config: TrainConfig,
    skeleton: Skeleton,
    fabric: Fabric,
    init: Checkpoint | None,
    trained: tuple[str, ...] = NETWORKS,
    with_discriminator: bool = False,
) -> Trainee:
    """Build, initialise and wrap the networks and their optimisers.

    Args:
        init: start from this checkpoint's EMA weights (finetuning), not from ImageNet's.
        trained: networks that learn; the others stay as they are.
    """
    torch.manual_seed(config.seed)
    model = build_pose_model(config.model, skeleton, config.data.input_size_px, pretrained=init is None)
    if init is not None:
        load_strictly(model, init.weights("ema"), f"{init.folder}/ema.safetensors")
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.optimiser.ema_decay)).to(fabric.device)
    ema.requires_grad_(False)
    settings = config.optimiser
    for name in set(NETWORKS) - set(trained):
        getattr(model, name).requires_grad_(False)
    optimisers = {name: _optimiser(getattr(model, name), settings) for name in trained}
    wrapped, *own = fabric.setup(model, *optimisers.values())
    wrapped.mark_forward_method("read_drawings")
    optimisers = dict(zip(optimisers, own, strict=True))
    discriminator = None
    if with_discriminator:
        shape = config.model.discriminator
        network = SkeletonDiscriminator(model.draw.num_channels, shape.width, shape.scales)
        discriminator, optimisers["discriminator"] = fabric.setup(
            network, _optimiser(network, settings, settings.discriminator_factor)
        )
    # Other ranks draw other noise.
    torch.manual_seed(config.seed + 1000 * fabric.global_rank)
    return Trainee(fabric, wrapped, discriminator, ema, optimisers, config, skeleton)


def fit(trainee: Trainee, stage: Stage, run: Path, resume: Checkpoint | None) -> bool:
    """Train until the steps or the minutes are used up, or someone stops it; always ends with a checkpoint.

    Steps count from 1: first those of the pose head alone, then the joint ones.

    Returns:
        Whether the run came to its end; False if a signal stopped it.

    Raises:
        UserError: a loss or gradient is not finite; the run stops there, its earlier checkpoints stay.
    """
    config, fabric, schedule = trainee.config, trainee.fabric, trainee.config.schedule
    clock, best, joint_start_s, step = Clock(), math.inf, None, 0
    if resume is not None:
        clock, best, joint_start_s, step = _restore(trainee, stage, resume)
    log = RunLog(run, resume.step if resume else None, enabled=fabric.is_global_zero)
    meter = _Meter(clock, stage)
    last_step = schedule.pose_head_steps + schedule.steps
    saved_step = step

    def save(is_best: bool = False) -> None:
        nonlocal saved_step
        if saved_step == step:
            if is_best and fabric.is_global_zero:
                mark_best(run, step)
            return
        state = {"seconds": clock.seconds, "best": best, "joint_start_s": joint_start_s}
        _save(trainee, stage, run, step, state, is_best)
        saved_step = step

    with ExitStack() as cleanup:
        cleanup.callback(log.close)
        stop = cleanup.enter_context(_StopSignals())
        log.say(f"{config.stage}: {run}, {last_step} steps" + (f", resumed at {step}" if resume else ""))
        trainee.model.train()
        while step < last_step:
            joint_step = step - schedule.pose_head_steps
            is_joint = joint_step >= 0
            if is_joint and joint_start_s is None:
                joint_start_s = clock.seconds
            progress = _progress(joint_step, joint_start_s, clock, schedule) if is_joint else 0.0
            if progress >= 1.0:
                break

            factor = _rate_factor(config, step, joint_step, progress)
            for optimiser in trainee.optimisers.values():
                for group in optimiser.param_groups:
                    group["lr"] = factor * group["peak_lr"]
                optimiser.zero_grad(set_to_none=True)
            totals: dict[str, float] = {}
            for part in range(config.optimiser.accumulate):
                is_last = part == config.optimiser.accumulate - 1
                with fabric.no_backward_sync(trainee.model, enabled=not is_last):
                    losses = stage.losses(joint_step, progress) if is_joint else stage.pose_head_losses()
                    fabric.backward(_checked_sum(losses, step) / config.optimiser.accumulate)
                meter.images += losses.num_images * fabric.world_size
                for name, term in losses.terms.items():
                    totals[name] = totals.get(name, 0.0) + float(term.detach()) / config.optimiser.accumulate
            for name in trainee.optimisers:
                if name != "discriminator":
                    _clip_and_step(trainee, name, step, losses.keys)
            trainee.ema.update_parameters(trainee.plain)

            adversary = stage.discriminator_losses(joint_step) if is_joint else None
            if adversary is not None:
                trainee.optimisers["discriminator"].zero_grad(set_to_none=True)
                fabric.backward(_checked_sum(adversary, step))
                _clip_and_step(trainee, "discriminator", step, adversary.keys)
                totals |= {name: float(term.detach()) for name, term in adversary.terms.items()}

            step += 1
            done = joint_step + 1
            meter.add(totals)
            if step % schedule.log_every == 0:
                seconds = clock.seconds
                meter.rates |= {"learning_rate": factor * config.optimiser.learning_rate}
                log.numbers("train", step, seconds, meter.flush())
            shown = step / last_step
            if schedule.max_minutes is not None:
                shown = max(shown, clock.seconds / (60.0 * schedule.max_minutes))
            log.progress(config.stage if is_joint else "pose head", shown, meter.note(step, last_step, shown))
            is_gauge_step = is_joint and (done == 1 or done % schedule.gauge_every == 0)
            if is_gauge_step:
                improved = _gauge(trainee, stage, log, step, clock, progress, best)
                if improved is not None:
                    best = improved
                    save(is_best=True)
            if is_joint and done % schedule.picture_every == 0 and fabric.is_global_zero:
                with _evaluating(trainee.ema):
                    log.picture(step, stage.picture(trainee.ema.module, progress))
            if step % schedule.checkpoint_every == 0:
                save()
            if _any_rank(fabric, stop.requested):
                save()
                log.say(f"stopped after step {step}; continue with: trainer run {config.stage} --out {run} --resume")
                return False

        improved = _gauge(trainee, stage, log, step, clock, 1.0, best)
        best = best if improved is None else improved
        if fabric.is_global_zero:
            with _evaluating(trainee.ema):
                log.picture(step, stage.picture(trainee.ema.module, 1.0))
        save(is_best=improved is not None)
        log.say(f"{config.stage}: done after step {step}, {clock.seconds / 60:.1f} min; {run}")
    return True


def _optimiser(network: nn.Module, settings: OptimiserConfig, factor: float = 1.0) -> torch.optim.Optimizer:
    """AdamW with the peak rate remembered in each group; ImageNet layers get their own, slower group."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        groups[name.startswith("backbone.")].append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "peak_lr": settings.learning_rate * factor * (settings.backbone_factor if is_backbone else 1.0),
            }
            for is_backbone, parameters in groups.items()
            if parameters
        ],
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
    )


def _progress(joint_step: int, joint_start_s: float, clock: Clock, schedule) -> float:
    """How much of the joint phase is over, by steps or, where there is a time limit, by whichever ends first."""
    by_steps = joint_step / schedule.steps
    if schedule.max_minutes is None:
        return by_steps
    budget = 60.0 * schedule.max_minutes - joint_start_s
    return max(by_steps, (clock.seconds - joint_start_s) / max(budget, 1e-6))


def _rate_factor(config: TrainConfig, step: int, joint_step: int, progress: float) -> float:
    """Learning rate over its peak: warm-up, then a cosine to `final_factor`; once for the pose head, once for all."""
    if joint_step < 0:
        joint_step, progress = step, step / config.schedule.pose_head_steps
    warm_up = min(1.0, (joint_step + 1) / max(config.optimiser.warmup_steps, 1))
    final = config.optimiser.final_factor
    return warm_up * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0))))


def _checked_sum(losses: StepLosses, step: int) -> torch.Tensor:
    for name, term in losses.terms.items():
        if not torch.isfinite(term.detach()):
            raise UserError(
                f"step {step + 1}: loss term {name} is {float(term.detach())}; the run stops, its last checkpoint "
                f"stays. Batch: {_some(losses.keys)}"
            )
    return torch.stack([term.float() for term in losses.terms.values()]).sum()


def _clip_and_step(trainee: Trainee, name: str, step: int, keys: tuple[str, ...]) -> None:
    network = trainee.discriminator if name == "discriminator" else getattr(trainee.plain, name)
    optimiser = trainee.optimisers[name]
    norm = trainee.fabric.clip_gradients(
        network, optimiser, max_norm=trainee.config.optimiser.clip_norm, error_if_nonfinite=False
    )
    # A scaler of 16-bit floats skips such a step by itself, and lowers its scale.
    if norm is not None and not torch.isfinite(norm) and trainee.config.optimiser.precision != "16-mixed":
        raise UserError(
            f"step {step + 1}: the gradient of {name} is not finite; the run stops, its last checkpoint stays. "
            f"Batch: {_some(keys)}"
        )
    optimiser.step()


def _gauge(
    trainee: Trainee, stage: Stage, log: RunLog, step: int, clock: Clock, progress: float, best: float
) -> float | None:
    """Gauge on every rank (the stage may act on it), record on the first; the value if it is the best so far."""
    with _evaluating(trainee.ema):
        values = stage.gauge(trainee.ema.module, progress)
    log.numbers("gauge", step, clock.seconds, values)
    log.say(f"step {step}: " + ", ".join(f"{name} {value:.3g}" for name, value in values.items()))
    value = values.get(stage.best_gauge, math.nan)
    return value if value < best else None


class _evaluating:
    """Evaluation mode without gradients, and the random state put back: looking must not change the training."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._no_grad = torch.no_grad()

    def __enter__(self) -> None:
        self._random = torch.get_rng_state()
        self.module.eval()
        self._no_grad.__enter__()

    def __exit__(self, *exception: Any) -> None:
        self._no_grad.__exit__(*exception)
        torch.set_rng_state(self._random)


class _StopSignals:
    """Notes SIGINT and SIGTERM for the loop to read between steps; a second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> _StopSignals:
        self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


class _Meter:
    """Running means between two lines of the log."""

    def __init__(self, clock: Clock, stage: Stage) -> None:
        self.clock, self.stage = clock, stage
        self.rates: dict[str, float] = {}
        self._shown: dict[str, float] = {}
        self._reset()

    def _reset(self) -> None:
        self.images, self._steps, self._totals = 0, 0, {}
        self._counts: dict[str, int] = {}
        self._since_s, self._waited_s = self.clock.seconds, self.stage.data_wait_s()

    def add(self, totals: Mapping[str, float]) -> None:
        self._steps += 1
        for name, value in totals.items():
            self._totals[name] = self._totals.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def flush(self) -> dict[str, float]:
        """Means of the terms since the last flush, images/s and the part of the time spent waiting for data."""
        seconds = max(self.clock.seconds - self._since_s, 1e-9)
        means = {name: total / self._counts[name] for name, total in self._totals.items()}
        self._shown = {
            "total": sum(means.values()),
            "images_per_s": self.images / seconds,
            "data_wait_pct": 100.0 * (self.stage.data_wait_s() - self._waited_s) / seconds,
        }
        self._reset()
        return means | self._shown | self.rates

    def note(self, step: int, last_step: int, fraction: float) -> str:
        if not self._shown:
            return f"step {step}/{last_step}"
        left_s = self.clock.seconds * (1.0 - fraction) / max(fraction, 1e-6)
        return (
            f"step {step}/{last_step}  loss {self._shown['total']:.3f}  {self._shown['images_per_s']:.0f} images/s  "
            f"data wait {self._shown['data_wait_pct']:.0f}%  {left_s / 60:.0f} min left"
        )


def _save(trainee: Trainee, stage: Stage, run: Path, step: int, state: dict[str, Any], is_best: bool) -> None:
    """Gather every rank's stream positions and random states; the first rank writes."""
    fabric = trainee.fabric
    own = {"random": random_state(), **stage.values()}
    ranks: list[Any] = [own]
    if fabric.world_size > 1:
        ranks = [None] * fabric.world_size
        torch.distributed.all_gather_object(ranks, own)
    if fabric.is_global_zero:
        weights = {
            "model": trainee.plain.state_dict(),
            "ema": trainee.ema.module.state_dict(),
            **stage.tensors(),
        }
        if trainee.discriminator is not None:
            weights["discriminator"] = trainee.discriminator.module.state_dict()
        optimisers = {name: optimiser.state_dict() for name, optimiser in trainee.optimisers.items()}
        state = {key: value for key, value in state.items() if value != math.inf}
        state |= {"ranks": ranks, "ema_updates": int(trainee.ema.n_averaged)}
        keep = trainee.config.schedule.keep_checkpoints
        save_checkpoint(run, step, trainee.config, weights, optimisers, state, keep, is_best)
    fabric.barrier()


def _restore(trainee: Trainee, stage: Stage, checkpoint: Checkpoint) -> tuple[Clock, float, float | None, int]:
    load_strictly(trainee.plain, checkpoint.weights("model"), f"{checkpoint.folder}/model.safetensors")
    load_strictly(trainee.ema.module, checkpoint.weights("ema"), f"{checkpoint.folder}/ema.safetensors")
    state = checkpoint.state()
    trainee.ema.n_averaged.fill_(state["ema_updates"])
    if trainee.discriminator is not None:
        source = f"{checkpoint.folder}/discriminator.safetensors"
        load_strictly(trainee.discriminator.module, checkpoint.weights("discriminator"), source)
    for name, stored in checkpoint.optimisers().items():
        trainee.optimisers[name].load_state_dict(stored)
    ranks, world_size = state["ranks"], trainee.fabric.world_size
    if len(ranks) != world_size:
        raise UserError(f"{checkpoint.folder}: saved by {len(ranks)} processes, cannot be resumed by {world_size}")
    own = ranks[trainee.fabric.global_rank]
    stage.restore(checkpoint.weights, own)
    restore_random_state(own["random"])
    return Clock(before_s=state["seconds"]), state.get("best", math.inf), state["joint_start_s"], checkpoint.step


def _any_rank(fabric: Fabric, flag: bool) -> bool:
    """Whether any process asks for it: all must stop at the same step."""
    if fabric.world_size == 1:
        return flag
    return bool(fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum") > 0)


def _some(keys: tuple[str, ...]) -> str:
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
