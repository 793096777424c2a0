"""What both ways of finetuning share: a synthetic batch that stays supervised, a real one, and gauges of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from trainer.data.batch import Batch
from trainer.data.streams import real_stream
from trainer.models.layers import resized
from trainer.models.pose_model import PoseModel, PoseOutput
from trainer.training import gauges
from trainer.training.body_statistics import joint_limits
from trainer.training.folders import Folders
from trainer.training.pretrain import Pretrain, held_out_set
from trainer.training.trainee import Trainee
from trainer.training.watch import RealAnswers, RealWatch


class Mixed(Pretrain):
    """Pretrain on half of each batch; the rest is up to the way of finetuning."""

    best_gauge = "score"

    def __init__(self, trainee: Trainee, folders: Folders) -> None:
        super().__init__(trainee, folders)
        fabric, data = trainee.fabric, self.config.data
        self.streams["real"] = real_stream(
            folders.real,
            data,
            self.config.seed + 2,
            fabric.global_rank,
            fabric.world_size,
            self.is_smooth,
            self.compares_views,
        )
        on_real = folders.held_out_real or folders.real
        self.held_out_real = held_out_set(trainee, on_real, data.real_crop, self.is_smooth)
        self.watch = RealWatch(trainee, self.perceptual.features, self.held_out, self.held_out_real)
        self.limits = None
        if self.config.losses.joint_limits > 0:
            self.limits = joint_limits(self.held_out, self.skeleton, trainee.device)
        self.error_before: float | None = None

    @property
    def is_smooth(self) -> bool:
        """Whether neighbours of real frames are wanted."""
        return self.config.losses.smoothness > 0

    @property
    def compares_views(self) -> bool:
        """Whether other views of real frames are wanted."""
        return self.config.losses.views > 0

    def collapse(self, values: dict[str, float]) -> str | None:
        return self.watch.collapse(values)

    def picture(self, ema: PoseModel, progress: float) -> np.ndarray:
        return gauges.strip(ema, self.held_out_real, self.skeleton, self.config, self.trainee.device, self.limits)

    def values(self) -> dict[str, Any]:
        return super().values() | {"error_before": self.error_before} | self.watch.values()

    def restore(self, tensors: Callable[[str], dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        super().restore(tensors, values)
        self.error_before = values["error_before"]
        self.watch.restore(values)

    def _gauge_mixed(self, ema: PoseModel) -> tuple[dict[str, float], RealAnswers]:
        """Forgetting, flips and errors on synthetic frames; leakage, score and signs of collapse on real ones."""
        blend, device = self.config.model.answer_blend, self.trainee.device
        values = gauges.pose_gauges(ema, self.held_out, self.skeleton, blend, device)
        if self.error_before is None:
            self.error_before = values["error_pct"]
        values["forgetting_pct"] = values["error_pct"] - self.error_before
        on_real = gauges.leakage(ema, self.perceptual.features, self.held_out_real, blend, device)
        self._consider_pictures(on_real)
        watched, answers = self.watch.gauge(ema)
        return values | {f"real_{name}": value for name, value in on_real.items()} | watched, answers

    def _synthetic_share(self, progress: float) -> float:
        """Weight of the supervision at this point of the run."""
        first, last = self.config.losses.synthetic
        return first + (last - first) * progress

    def _subject(self, batch: Batch, output: PoseOutput) -> torch.Tensor:
        """[B, 1, r, r] masks of a synthetic batch at the reconstruction's size."""
        return resized(batch.subject_mask, output.reconstruction.shape[-1])
