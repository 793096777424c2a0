"""The one training loop, `fit`: draw, step, average, log, gauge, save, stop. Stages say what a step's losses are.

Steps, not epochs. The running mean of the weights (EMA) is a separate, plain module, used for every gauge. A stop
(time, Ctrl-C, SIGTERM) happens between two steps, with a checkpoint; resuming continues as if nothing had happened.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from posecore.errors import UserError
from trainer.training.checkpoint import (
    Checkpoint,
    forget_later,
    load_strictly,
    mark_best,
    open_checkpoint,
    save_checkpoint,
)
from trainer.training.logs import RunLog
from trainer.training.stage import Stage
from trainer.training.step import Course, NotFiniteError, StepRecord, any_rank, rate_factor, take_step
from trainer.training.trainee import Trainee


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
                rate = rate_factor(config, course.step - 1, joint_step, progress) * config.optimiser.learning_rate
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
            if any_rank(fabric, stop.requested):
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


def _progress(joint_step: int, joint_start_s: float, clock: Clock, schedule) -> float:
    """How much of the joint phase is over, by steps or, where there is a time limit, by whichever ends first."""
    by_steps = joint_step / schedule.steps
    if schedule.max_minutes is None:
        return by_steps
    budget = 60.0 * schedule.max_minutes - joint_start_s
    return max(by_steps, (clock.seconds - joint_start_s) / max(budget, 1e-6))


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
