"""The one training loop, `fit`: draw, step, average, log, gauge, save, stop. Stages say what a step's losses are.

Steps, not epochs. Each network has its own optimiser and its own gradient clip. The running mean of the weights (EMA)
is a separate, plain module, used for every gauge. A stop (time, Ctrl-C, SIGTERM) happens between two steps, with a
checkpoint; resuming continues as if nothing had happened.

Before each batch torch's generators are seeded with (seed, step, number of the batch in the step), so no state of them
need be kept, and a step of two ranks is one of a single rank that accumulates two batches: same samples, same draws.
"""

from __future__ import annotations

import hashlib
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
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
from trainer.data.shard_stream import Stream
from trainer.models.discriminator import build_discriminators
from trainer.models.pose_model import PoseModel, build_pose_model
from trainer.training.checkpoint import (
    Checkpoint,
    forget_later,
    load_strictly,
    mark_best,
    open_checkpoint,
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

    streams: dict[str, Stream]
    """Where it draws batches from; their positions are saved and restored by the loop."""

    def pose_head_losses(self) -> StepLosses:
        """The pose head alone on drawings."""

    def losses(self, step: int, progress: float) -> StepLosses:
        """All networks of the generator side; draws its own batches."""

    def discriminator_losses(self, step: int) -> dict[str, StepLosses]:
        """Of each discriminator that has something to judge, on what the generator side just showed."""

    def end_step(self) -> None:
        """After all batches of a step: what follows from them together."""

    def gauge(self, ema: PoseModel, progress: float) -> dict[str, float]:
        """Numbers on held-out data."""

    def collapse(self, values: dict[str, float]) -> str | None:
        """What a gauge's numbers say has collapsed, in a few words; None if nothing has."""

    def conclusion(self, best: float | None) -> str | None:
        """What the run says of itself in its end, if anything; `best` is the lowest value of the best gauge."""

    def picture(self, ema: PoseModel, progress: float) -> np.ndarray:
        """A strip to look at, [H, W, 3] uint8."""

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """State to save, by file."""

    def values(self) -> dict[str, Any]:
        """State to save, JSON-able: switches."""

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        """Take both up again."""


@dataclass
class Trainee:
    """The networks under training, wrapped by Fabric, and what belongs to them."""

    fabric: Fabric
    model: nn.Module
    """PoseModel behind Fabric's wrapper; `ema` and `plain` are without."""
    discriminators: dict[str, nn.Module]
    """Each behind its own wrapper; its optimiser has the same name."""
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


class CollapsedError(UserError):
    """Estimates hardly differ any more, or there is nothing left in them."""


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
    only_bone_lengths: bool = False,
) -> Trainee:
    """Build, initialise and wrap the networks and their optimisers.

    Args:
        init: start from this checkpoint's EMA weights (finetuning), not from ImageNet's.
        trained: networks that learn; the others stay as they are.
        only_bone_lengths: of the uplift nothing else learns.
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
    if only_bone_lengths:
        model.uplift.free_only_lengths()
    optimisers = {
        # Lengths are part of a tensor whose rest must stay as it is, so nothing of it may decay.
        name: _optimiser(model.uplift, settings, settings.bone_factor, weight_decay=0.0)
        if only_bone_lengths and name == "uplift"
        else _optimiser(getattr(model, name), settings)
        for name in trained
    }
    wrapped, *own = fabric.setup(model, *optimisers.values())
    wrapped.mark_forward_method("read_drawings")
    optimisers = dict(zip(optimisers, own, strict=True))
    judges = {}
    for name, network in build_discriminators(config, skeleton).items():
        judges[name], optimisers[name] = fabric.setup(
            network, _optimiser(network, settings, settings.discriminator_factor)
        )
    return Trainee(fabric, wrapped, judges, ema, optimisers, config, skeleton)


def fit(trainee: Trainee, stage: Stage, run: Path, resume: Checkpoint | None) -> bool:
    """Train until the steps, the minutes or the patience are used up, or someone stops it; ends with a checkpoint.

    Steps count from 1: first those of the pose head alone, then the joint ones.

    Returns:
        Whether the run came to its end; False if a signal stopped it.

    Raises:
        UserError: a loss or gradient is not finite; the run stops there, its earlier checkpoints stay. Or a dataset is
        damaged, or is not the resumed run's.
    """
    config, fabric, schedule = trainee.config, trainee.fabric, trainee.config.schedule
    clock, course = Clock(), Course()
    if resume is not None:
        clock, course = _restore(trainee, stage, resume)
        _restore_streams(stage, resume)
    log = RunLog(run, resume.step if resume else None, enabled=fabric.is_global_zero)
    meter = _Meter(clock, stage, fabric)
    last_step = schedule.pose_head_steps + schedule.steps
    saved_step = course.step

    def save(is_best: bool = False) -> None:
        nonlocal saved_step
        if saved_step == course.step:
            if is_best and fabric.is_global_zero:
                mark_best(run, course.step)
            return
        _save(trainee, stage, run, course, clock, is_best)
        saved_step = course.step

    def gauge(progress: float) -> None:
        if _gauge(trainee, stage, log, course, clock, progress):
            save(is_best=True)

    def roll_back(error: UserError, pointer: str) -> None:
        nonlocal course, saved_step
        course = _roll_back(trainee, stage, run, course, log, error, pointer)
        saved_step = course.step

    with ExitStack() as cleanup:
        cleanup.callback(log.close)
        stop = cleanup.enter_context(_StopSignals())
        log.say(f"{config.stage}: {run}, {last_step} steps" + (f", resumed at {course.step}" if resume else ""))
        trainee.model.train()
        while course.step < last_step:
            joint_step = course.step - schedule.pose_head_steps
            is_joint = joint_step >= 0
            if is_joint and course.joint_start_s is None:
                course.joint_start_s = clock.seconds
            progress = _progress(joint_step, course.joint_start_s, clock, schedule) if is_joint else 0.0
            if schedule.max_minutes is not None:
                progress = fabric.broadcast(progress)  # clocks differ, and all must stop at the same step
            if progress >= 1.0:
                break
            try:
                record = take_step(trainee, stage, course, progress)
            except NotFiniteError as error:
                if schedule.on_nan == "stop":
                    raise
                roll_back(error, "last")
                continue
            course.step += 1

            done = joint_step + 1
            meter.add(record)
            if schedule.log_samples:
                log.samples(course.step, record.keys)
            if course.step % schedule.log_every == 0:
                rate = _rate_factor(config, course.step - 1, joint_step, progress) * config.optimiser.learning_rate
                log.numbers("train", course.step, clock.seconds, meter.flush() | {"learning_rate": rate})
            shown = course.step / last_step
            if schedule.max_minutes is not None:
                shown = max(shown, clock.seconds / (60.0 * schedule.max_minutes))
            log.progress(config.stage if is_joint else "pose head", shown, meter.note(course.step, last_step, shown))
            if is_joint and (done == 1 or done % schedule.gauge_every == 0):
                try:
                    gauge(progress)
                except CollapsedError as error:
                    if schedule.on_collapse == "stop":
                        raise CollapsedError(f"{error}; the run stops, its best checkpoint stays") from None
                    # Later checkpoints may have been on the way there already.
                    roll_back(error, "best")
                    continue
            if is_joint and done % schedule.picture_every == 0 and fabric.is_global_zero:
                with _evaluating(trainee.ema):
                    log.picture(course.step, stage.picture(trainee.ema.module, progress))
            if course.step % schedule.checkpoint_every == 0:
                save()
            if _any_rank(fabric, stop.requested):
                save()
                again = f"trainer run {config.command} --out {run} --resume"
                log.say(f"stopped after step {course.step}; continue with: {again}")
                return False
            if schedule.patience_gauges is not None and course.gauges_since_best >= schedule.patience_gauges:
                log.say(f"no better {stage.best_gauge} in {course.gauges_since_best} gauges: the run ends here")
                break

        gauge(1.0)
        if fabric.is_global_zero:
            with _evaluating(trainee.ema):
                log.picture(course.step, stage.picture(trainee.ema.module, 1.0))
        save()
        if (told := stage.conclusion(course.best)) is not None:
            log.say(told)
        for where, why in _damaged(stage).items():
            log.say(f"skipped all through the run: {where} ({why})")
        log.say(f"{config.stage}: done after step {course.step}, {clock.seconds / 60:.1f} min; {run}")
    return True


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
    factor = _rate_factor(config, course.step, joint_step, progress)
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
    if _any_rank(fabric, trouble is not None):
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


def _optimiser(
    network: nn.Module, settings: OptimiserConfig, factor: float = 1.0, weight_decay: float | None = None
) -> torch.optim.Optimizer:
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
        weight_decay=settings.weight_decay if weight_decay is None else weight_decay,
        fused=True,  # a third of the time, on a CPU too
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


def _roll_back(
    trainee: Trainee, stage: Stage, run: Path, course: Course, log: RunLog, error: UserError, pointer: str
) -> Course:
    """Back to a checkpoint, "last" or "best", but for the streams: they go on behind the samples that led here."""
    if course.rollbacks >= trainee.config.schedule.max_rollbacks:
        raise UserError(f"{error}; rolled back {course.rollbacks} times before: schedule.max_rollbacks")
    trainee.fabric.barrier()
    if not (run / pointer).is_file():
        raise UserError(f"{error}; there is none yet to roll back to: schedule.checkpoint_every")
    checkpoint = open_checkpoint(run, pointer)
    _, restored = _restore(trainee, stage, checkpoint)
    trainee.fabric.barrier()
    if trainee.fabric.is_global_zero:
        forget_later(run, checkpoint.step)
    trainee.fabric.barrier()
    log.rewind(checkpoint.step)
    log.say(f"{error}. Rolled back to step {checkpoint.step}, on with other draws")
    # Not joint_start_s: the clock goes on.
    return replace(restored, rollbacks=course.rollbacks + 1, joint_start_s=course.joint_start_s)


def _gauge(trainee: Trainee, stage: Stage, log: RunLog, course: Course, clock: Clock, progress: float) -> bool:
    """Gauge on every rank (the stage may act on it), record on the first; whether the run was never better."""
    with _evaluating(trainee.ema):
        values = stage.gauge(trainee.ema.module, progress)
    log.numbers("gauge", course.step, clock.seconds, values)
    log.say(f"step {course.step}: " + ", ".join(f"{name} {value:.3g}" for name, value in values.items()))
    # Rounding may tell ranks apart, and what follows is done together.
    collapsed = trainee.fabric.broadcast(stage.collapse(values))
    if collapsed is not None:
        raise CollapsedError(f"step {course.step}: collapsed: {collapsed}")
    value = trainee.fabric.broadcast(values.get(stage.best_gauge, math.nan))
    is_best = value < (math.inf if course.best is None else course.best)
    course.best = value if is_best else course.best
    course.gauges_since_best = 0 if is_best else course.gauges_since_best + 1
    return is_best


def _damaged(stage: Stage) -> dict[str, str]:
    """Shards that the streams had to skip: location, why."""
    return {where: why for stream in stage.streams.values() for where, why in stream.damaged.items()}


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, without gradients."""
    module.eval()
    with torch.no_grad():
        yield


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

    def __init__(self, clock: Clock, stage: Stage, fabric: Fabric) -> None:
        self.clock, self.stage, self.fabric = clock, stage, fabric
        self._shown = ""
        self._reset()

    def _reset(self) -> None:
        self._images = 0
        self._terms: dict[str, list[float]] = {}
        self._norms: dict[str, list[float]] = {}
        self._since_s, self._waited_s = self.clock.seconds, self._wait_s()

    def _wait_s(self) -> float:
        return sum(stream.waited_s for stream in self.stage.streams.values())

    def add(self, record: StepRecord) -> None:
        self._images += record.num_images * self.fabric.world_size
        for values, means in ((record.terms, self._terms), (record.norms, self._norms)):
            for name, value in values.items():
                means.setdefault(name, []).append(value)

    def flush(self) -> dict[str, float]:
        """Means since the last flush, over all ranks; their sum, images/s, part of the time spent waiting for data."""
        seconds = max(self.clock.seconds - self._since_s, 1e-9)
        terms = {name: sum(values) / len(values) for name, values in self._terms.items()}
        if self.fabric.world_size > 1:
            own = torch.tensor(list(terms.values()), dtype=torch.float64, device=self.fabric.device)
            terms = dict(zip(terms, self.fabric.all_reduce(own, reduce_op="mean").tolist(), strict=True))
        norms = {name: sum(values) / len(values) for name, values in self._norms.items()}
        rates = {
            "total": sum(terms.values()),
            "images_per_s": self._images / seconds,
            "data_wait_pct": 100.0 * (self._wait_s() - self._waited_s) / seconds,
        }
        if damaged := len(_damaged(self.stage)):
            rates["damaged_shards"] = damaged
        largest = sorted(terms, key=lambda name: -terms[name])[:3]
        self._shown = (
            f"loss {rates['total']:.3f} ({', '.join(f'{name} {terms[name]:.3g}' for name in largest)})  "
            f"{rates['images_per_s']:.0f} images/s  data wait {rates['data_wait_pct']:.1f}%"
        )
        self._reset()
        return terms | norms | rates

    def note(self, step: int, last_step: int, fraction: float) -> str:
        if not self._shown:
            return f"step {step}/{last_step}"
        left_s = self.clock.seconds * max(1.0 - fraction, 0.0) / max(fraction, 1e-6)
        return f"step {step}/{last_step}  {self._shown}  {left_s / 60:.0f} min left"


def _save(trainee: Trainee, stage: Stage, run: Path, course: Course, clock: Clock, is_best: bool) -> None:
    """Gather every rank's own values; the first rank writes."""
    fabric = trainee.fabric
    own = stage.values()
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
        weights |= {name: network.module.state_dict() for name, network in trainee.discriminators.items()}
        optimisers = {name: optimiser.state_dict() for name, optimiser in trainee.optimisers.items()}
        state = {
            "course": asdict(course),
            "seconds": clock.seconds,
            "streams": {name: stream.state_dict() for name, stream in stage.streams.items()},
            "ranks": ranks,
            "ema_updates": int(trainee.ema.n_averaged),
        }
        keep = trainee.config.schedule.keep_checkpoints
        save_checkpoint(run, course.step, trainee.config, weights, optimisers, state, keep, is_best)
    fabric.barrier()


def _restore(trainee: Trainee, stage: Stage, checkpoint: Checkpoint) -> tuple[Clock, Course]:
    """Everything but the positions of the streams."""
    load_strictly(trainee.plain, checkpoint.weights("model"), f"{checkpoint.folder}/model.safetensors")
    load_strictly(trainee.ema.module, checkpoint.weights("ema"), f"{checkpoint.folder}/ema.safetensors")
    state = checkpoint.state()
    if "course" not in state:
        raise UserError(
            f"{checkpoint.folder}: written by an earlier version, whose state differs; start anew from its weights "
            "with --init"
        )
    trainee.ema.n_averaged.fill_(state["ema_updates"])
    for name, network in trainee.discriminators.items():
        load_strictly(network.module, checkpoint.weights(name), f"{checkpoint.folder}/{name}.safetensors")
    for name, stored in checkpoint.optimisers().items():
        trainee.optimisers[name].load_state_dict(stored)
    # Values that differ between ranks are estimates of the same thing: another number of ranks takes what there is.
    ranks = state["ranks"]
    stage.restore(checkpoint.weights, ranks[trainee.fabric.global_rank % len(ranks)])
    return Clock(before_s=state["seconds"]), Course(**state["course"])


def _restore_streams(stage: Stage, checkpoint: Checkpoint) -> None:
    positions = checkpoint.state()["streams"]
    for name, stream in stage.streams.items():
        stream.load_state_dict(positions[name])


def _any_rank(fabric: Fabric, flag: bool) -> bool:
    """Whether any process asks for it: all must stop at the same step."""
    if fabric.world_size == 1:
        return flag
    return bool(fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum") > 0)


def _some(keys: tuple[str, ...]) -> str:
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
