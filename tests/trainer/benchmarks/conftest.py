"""Folders in the benchmarks' published layouts, a few pictures each, made here; and answers to score them with."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from posecore.skeleton import load_skeleton
from trainer.benchmarks.benchmark import Answers, Benchmark, OpenBenchmark, Request
from trainer.benchmarks.joints import judged_joints
from trainer.benchmarks.sample import BenchmarkSample
from trainer.evaluation.bootstrap import draw_clusters


def write_picture(path: Path, width: int = 64, height: int = 48, value: int = 128) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8))


def read_benchmark(
    benchmark: Benchmark, root: Path, superset: str = "human", **wanted
) -> tuple[OpenBenchmark, list[BenchmarkSample], Counter[str]]:
    """Open a benchmark as `evaluate` does by default, and read it."""
    wanted.setdefault("split", next(iter(benchmark.splits), ""))
    wanted.setdefault("stride", benchmark.stride or 1)
    opened = benchmark.open(root, Request(superset, **wanted))
    left_out: Counter[str] = Counter()
    return opened, list(opened.read(left_out)), left_out


def answer(
    opened: OpenBenchmark,
    samples: list[BenchmarkSample],
    skeleton: str,
    off_px: tuple[float, float] = (0.0, 0.0),
    off_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    confidence: float = 1.0,
    swap_sides: bool = False,
    cutoff: float = 0.6,
) -> Answers:
    """The truth as the answer of a model of that skeleton, but for what is asked for. A joint's 3D offset spares the
    root."""
    joints = judged_joints(opened.joints, load_skeleton(skeleton), "test")
    true_px = np.stack([sample.joints_px[joints.columns] for sample in samples])
    order = list(joints.skeleton.swap) if swap_sides else slice(None)
    spatial = {}
    if samples[0].joints_cam_m is not None and joints.has_root:
        true_m = np.stack([sample.joints_cam_m[joints.columns] for sample in samples])
        root = joints.skeleton.parents.index(-1)
        true_m = true_m - true_m[:, root : root + 1]
        off = np.tile(off_m, (true_m.shape[1], 1)).astype(float)
        off[root] = 0
        spatial = {"joints_cam_m": true_m + off, "true_joints_cam_m": true_m}
    return Answers(
        samples=tuple(samples),
        joints=joints,
        joints_px=true_px[:, order] + np.array(off_px),
        true_joints_px=true_px,
        confidence=np.full(true_px.shape[:2], confidence),
        draws=draw_clusters([sample.cluster for sample in samples], len(samples), 50, 0),
        request=Request(opened.joints.superset, cutoff=cutoff),
        **spatial,
    )


@pytest.fixture(scope="session")
def picture_at() -> Callable[..., None]:
    return write_picture


@pytest.fixture(scope="session")
def read() -> Callable[..., tuple[OpenBenchmark, list[BenchmarkSample], Counter[str]]]:
    return read_benchmark


@pytest.fixture(scope="session")
def answers_of() -> Callable[..., Answers]:
    return answer
