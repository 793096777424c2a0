"""What a stage of training is to the loop: its batches, a step's losses, what it is watched by, what it remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from trainer.data.shard_stream import Stream
from trainer.models.pose_model import PoseModel


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
