"""How the runs of an ablation did on its tests: labelled datasets, or benchmarks that `evaluate --benchmark` reads.

A test is a folder or URL, or NAME:ROOT for a benchmark's usual test part. What came out is kept as one value for each
subject and metric, so that runs can be compared subject by subject, and never judged twice on the same content.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posecore.errors import UserError
from trainer.ablation.plan import fingerprint
from trainer.benchmarks.registry import BENCHMARKS
from trainer.evaluation.benchmark import estimate_benchmark
from trainer.evaluation.evaluate import estimate_poses
from trainer.evaluation.metrics import per_subject_metrics, with_known_joints


@dataclass(frozen=True)
class Judged:
    """How one run did on each of N subjects of a test.

    Attributes:
        values: metric -> [N], NaN where a subject cannot be judged by it. groups: [N] names of what is drawn together.
    """

    values: dict[str, np.ndarray]
    groups: np.ndarray


def judge(run: Path, test: str, kept: Path, device: str) -> Judged:
    """A finished run on a test.

    Args:
        run: its folder. kept: folder of judgements, in which this one is looked up or stored.

    Raises:
        UserError: the test is missing, or of another body plan than the run.
    """
    path = kept / f"{run.name}-{content_of(test)}.npz"
    if path.is_file():
        stored = np.load(path)
        values = {name.removeprefix("metric_"): stored[name] for name in stored if name.startswith("metric_")}
        return Judged(values, stored["groups"])
    benchmark, root = _benchmark(test)
    if benchmark is None:
        poses, skeleton = estimate_poses(run, test, device)
    else:
        poses, skeleton = estimate_benchmark(run, benchmark, root, device)
    poses = with_known_joints(poses)
    judged = Judged(per_subject_metrics(poses, skeleton), np.asarray(poses.groups))
    kept.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, groups=judged.groups, **{f"metric_{name}": v for name, v in judged.values.items()})
    os.replace(temporary, path)
    return judged


def content_of(test: str) -> str:
    """Tells tests apart by content: datasets by their manifests, benchmarks by their files' names, sizes and times.

    Raises:
        UserError: it is not there.
    """
    benchmark, root = _benchmark(test)
    if benchmark is None:
        return fingerprint(test)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give a dataset, or NAME:ROOT of a benchmark")
    digest = hashlib.sha256(benchmark.encode())
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        about = path.stat()
        digest.update(f"{path.relative_to(root)} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:8]


def _benchmark(test: str) -> tuple[str | None, Path]:
    """Name and root of a benchmark; None and the path of a dataset."""
    name, colon, root = test.partition(":")
    return (name, Path(root)) if colon and name in BENCHMARKS else (None, Path(test))
