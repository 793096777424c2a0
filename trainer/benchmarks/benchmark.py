"""What a benchmark is to the rest of the trainer: a description, a way to open it, a way to score answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.benchmarks.joints import JointTable, JudgedJoints
from trainer.benchmarks.sample import BenchmarkSample
from trainer.evaluation.bootstrap import Bootstrap

DEFAULT_CUTOFF = 0.6
"""DeepLabCut's `pcutoff`."""


@dataclass(frozen=True)
class Request:
    """How a benchmark is to be read.

    Attributes:
        superset: the body plan of the model that is judged.
        split, stride: as the benchmark offers them. joint_map: the user's, {} for none.
        cutoff: confidence or likelihood below which an answer or a label is not trusted.
    """

    superset: str
    split: str = ""
    stride: int = 1
    joint_map: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cutoff: float = DEFAULT_CUTOFF


@dataclass(frozen=True)
class OpenBenchmark:
    """A benchmark that was found on disk.

    Attributes:
        joints: of every sample. read: yields the samples, lazily and each time anew; it counts in what it is handed
            what it leaves out, by reason.
    """

    joints: JointTable
    read: Callable[[Counter[str]], Iterator[BenchmarkSample]]


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers to N samples beside the truth, in pixels of the pictures; J joints.

    Attributes:
        joints_px, true_joints_px: [N, J, 2], the truth NaN where not labelled. confidence: [N, J].
        joints_cam_m, true_joints_cam_m: [N, J, 3], relative to the dataset's root; None where either is not to be had.
    """

    samples: tuple[BenchmarkSample, ...]
    joints: JudgedJoints
    joints_px: np.ndarray
    true_joints_px: np.ndarray
    confidence: np.ndarray
    draws: Bootstrap
    request: Request
    joints_cam_m: np.ndarray | None = None
    true_joints_cam_m: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """[N, J] bool."""
        return np.isfinite(self.true_joints_px).all(-1)

    @property
    def distance_px(self) -> np.ndarray:
        """[N, J]; NaN where not labelled."""
        return np.linalg.norm(self.joints_px - self.true_joints_px, axis=-1)

    @property
    def scale_px(self) -> np.ndarray:
        """[N, 1]."""
        return np.array([[sample.scale_px] for sample in self.samples])

    @property
    def groups(self) -> list[str]:
        return [sample.group for sample in self.samples]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        superset: the body plan of its subjects; None where the data may be of any.
        joints: its joints; None where the data name them.
        layout: what a folder must hold, one line each. source: where the data come from.
        scores: name -> words, in the order shown; what `score` returns beside breakdowns ("by_...").
        splits: what `--split` may say, the default first. stride: default of `--stride`; None where pictures are not
            frames of videos.
        open: raises UserError where the folder is another one.
    """

    name: str
    title: str
    superset: str | None
    joints: JointTable | None
    layout: tuple[str, ...]
    source: str
    scores: Mapping[str, str]
    open: Callable[[Path, Request], OpenBenchmark]
    score: Callable[[Answers], dict[str, Any]]
    splits: tuple[str, ...] = ()
    stride: int | None = None
    takes_joint_map: bool = False
    takes_cutoff: bool = False
