"""Judging a trained model on shards: the project's metrics beside the mean pose, as one JSON-able record.

Labelled data: crops are centred on the subject without chance; joints are judged in pixels of the crop, 3D relative to
the root. The mean pose is that of the judged set itself, the best that any constant answer could do.
Real data has no labels: there, how much worse a picture is explained by another or by no pose than by the estimated
one says whether the estimate describes the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Table

from posecore.dataset import read_manifest
from posecore.skeleton import Skeleton
from trainer.data.streams import evaluation_batches, load_evaluation_set
from trainer.evaluation.metrics import Poses, evaluate_poses, mean_pose, mean_pose_baseline
from trainer.evaluation.tables import break_down, breakdown_table
from trainer.models.features import Features
from trainer.training.checkpoint import LoadedModel, load_model
from trainer.training.gauges import blend_answers, collect_answers, leakage

METRIC_TITLES = {
    "error_pct": "error, % of the crop",
    "error_pct_min": "error, flips forgiven",
    "flip_rate": "flip rate, subject's sides",
    "flip_rate_viewer": "flip rate, viewer's sides",
    "flip_rate_arms": "flip rate of arms (fore legs)",
    "flip_rate_legs": "flip rate of legs (hind legs)",
    "pck_005": "PCK at 0.05 of the box",
    "pck_010": "PCK at 0.10 of the box",
    "pck_020": "PCK at 0.20 of the box",
    "oks_ap": "OKS-AP",
    "mpjpe_mm": "MPJPE, mm",
    "n_mpjpe_mm": "N-MPJPE, mm",
    "pa_mpjpe_mm": "PA-MPJPE, mm",
}
"""Every metric's name in words, in the order in which they are shown."""
TABLE_WIDTH = 100
BATCH_SIZE = 32


def evaluate(
    run: str | Path,
    folder: str | Path,
    device: torch.device | str = "cpu",
    max_samples: int | None = None,
    weights: str = "ema",
) -> dict[str, Any]:
    """Judge a run's last checkpoint, or one step_... folder, on a dataset.

    Args:
        folder: dataset of either kind, a path or URL.
        max_samples: judge this many, spread evenly; None all.

    Returns:
        "checkpoint", "step", "data", and for labelled data the metrics of `evaluation.metrics`, with "pose_head" and
        "reprojected" (2D metrics of the two answers that are blended), "mean_pose" (of the constant answer) and the
        breakdowns of `evaluation.tables` ("by_species", "by_azimuth" ...); for real data "num_samples" and the feature
        error of reconstructions from the "right" pose, a "shuffled", the "partner" frame's own and a "blank" one.

    Raises:
        UserError: no such checkpoint or dataset, or the dataset has another body plan than the model.
    """
    loaded = load_model(run, device, weights)
    is_labelled = read_manifest(folder).kind == "synthetic"
    judge = _judge_labelled if is_labelled else _judge_real
    origin = {"checkpoint": str(loaded.folder), "step": loaded.step, "data": str(folder)}
    return judge(loaded, folder, torch.device(device), max_samples) | origin


def estimate_poses(run: str | Path, folder: str | Path, device: torch.device | str = "cpu") -> tuple[Poses, Skeleton]:
    """A run's answers on a labelled dataset beside the truth, and the skeleton that they are in.

    Raises:
        UserError: as `evaluate`.
    """
    loaded = load_model(run, device)
    answers = _answers(loaded, folder, torch.device(device), None)
    return blend_answers(*answers, loaded.config.model.answer_blend), loaded.skeleton


def print_metrics(result: dict[str, Any], by: Sequence[str] = ()) -> None:
    """Show what `evaluate` returned as tables.

    Args:
        by: breakdowns to show as well, names of `tables.BREAKDOWNS`.
    """
    table = Table(title=f"{result['checkpoint']} on {result['data']} ({result['num_samples']} samples)", box=SIMPLE)
    if "mean_pose" not in result:
        table.add_column("pose that is drawn")
        table.add_column("feature error of the reconstruction", justify="right")
        for name in ("right", "shuffled", "partner", "blank"):
            table.add_row(name, f"{result[name]:.4f} ({result[name] / result['right'] - 1:+.0%})")
    else:
        answers = {"model": result} | {name: result[name] for name in ("pose_head", "reprojected", "mean_pose")}
        for title in ("metric", "model", "95% interval", "pose head", "reprojected", "mean pose"):
            table.add_column(title, justify="left" if title == "metric" else "right")
        for name in METRIC_TITLES:
            shown = {key: answer.get(name) for key, answer in answers.items()}
            values = {key: "-" if metric is None else f"{metric['value']:.3g}" for key, metric in shown.items()}
            interval = "-" if shown["model"] is None else f"{shown['model']['low']:.3g} .. {shown['model']['high']:.3g}"
            table.add_row(METRIC_TITLES[name], values.pop("model"), interval, *values.values())
    # Numbers cut short say nothing: where the terminal is narrower, it breaks the lines.
    console = Console(width=max(Console().width, TABLE_WIDTH), soft_wrap=True)
    console.print(table)
    for name in by:
        if (breakdown := breakdown_table(result, name)) is not None:
            console.print(breakdown)


def evaluate_mean_pose(poses: Poses, skeleton: Skeleton) -> dict[str, Any]:
    """2D metrics of the judged set's own mean pose, given as the answer for every picture."""
    constant = mean_pose(poses.true_joints_px, poses.weight)
    return _only_2d(evaluate_poses(mean_pose_baseline(poses, constant), skeleton))


def _judge_labelled(
    loaded: LoadedModel, folder: str | Path, device: torch.device, max_samples: int | None
) -> dict[str, Any]:
    skeleton = loaded.skeleton
    head, reprojected = _answers(loaded, folder, device, max_samples)
    answer = blend_answers(head, reprojected, loaded.config.model.answer_blend)
    return {
        **evaluate_poses(answer, skeleton),
        "pose_head": _only_2d(evaluate_poses(head, skeleton)),
        "reprojected": _only_2d(evaluate_poses(reprojected, skeleton)),
        "mean_pose": evaluate_mean_pose(answer, skeleton),
        **break_down(answer, skeleton),
    }


def _answers(
    loaded: LoadedModel, folder: str | Path, device: torch.device, max_samples: int | None
) -> tuple[Poses, Poses]:
    """The pose head's and the reprojected joints on a labelled dataset."""
    data = loaded.config.data
    batches = evaluation_batches(folder, loaded.skeleton, data.input_size_px, BATCH_SIZE, data.crop, max_samples)
    console = Console(stderr=True)
    shown = track(
        batches,
        "estimating poses",
        math.ceil(min(read_manifest(folder).num_samples, max_samples or math.inf) / BATCH_SIZE),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    return collect_answers(loaded.model, shown, device)


def _judge_real(
    loaded: LoadedModel, folder: str | Path, device: torch.device, max_samples: int | None
) -> dict[str, Any]:
    data, settings = loaded.config.data, loaded.config.losses.features
    batches = load_evaluation_set(
        folder, loaded.skeleton, data.input_size_px, crop=data.real_crop, max_samples=max_samples
    )
    features = Features(settings.name, settings.levels, settings.weights).to(device)
    errors = leakage(loaded.model, features, batches, loaded.config.model.answer_blend, device)
    return errors | {"num_samples": sum(batch.size for batch in batches), "skeleton": loaded.skeleton.name}


def _only_2d(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if not name.endswith("mpjpe_mm")}
