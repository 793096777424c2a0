"""Judging a model on the field's benchmarks: their own metrics beside this project's.

Pictures are cropped round the ground-truth box exactly as the model was trained (its crop's margin), answers are
mapped back to the picture's pixels and, from the model's joints, to the benchmark's. This project's metrics are
measured in pixels of the crop, so that they mean what they mean on shards; a benchmark's own in pixels of its
pictures, with every labelled joint. Joints that either side lacks are not judged, and named in the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Table

from posecore.errors import UserError
from posecore.sample import inside_frame
from posecore.skeleton import Skeleton
from trainer.benchmarks.benchmark import DEFAULT_CUTOFF, Answers, Benchmark, OpenBenchmark, Request
from trainer.benchmarks.joints import JudgedJoints, judged_joints, read_joint_map
from trainer.benchmarks.pictures import PictureReader
from trainer.benchmarks.registry import find_benchmark
from trainer.benchmarks.sample import BenchmarkSample
from trainer.data.augment import Warp, centre_warp, warp_image
from trainer.data.config import CropConfig
from trainer.evaluation.bootstrap import draw_clusters
from trainer.evaluation.evaluate import METRIC_TITLES, TABLE_WIDTH
from trainer.evaluation.metrics import Poses, evaluate_poses
from trainer.evaluation.tables import break_down, breakdown_table
from trainer.training.checkpoint import LoadedModel, load_model

_BATCH_SIZE = 32
_RESAMPLES = 200


@dataclass(frozen=True)
class BenchmarkOptions:
    """What a user may say of a benchmark; None: the benchmark's own default."""

    split: str | None = None
    stride: int | None = None
    joint_map: Path | None = None
    cutoff: float | None = None


def evaluate_benchmark(
    run: str | Path,
    name: str,
    root: Path,
    options: BenchmarkOptions = BenchmarkOptions(),
    device: torch.device | str = "cpu",
    max_samples: int | None = None,
    weights: str = "ema",
) -> dict[str, Any]:
    """Judge a run's last checkpoint, or one step_... folder, on a benchmark.

    Args:
        name: of `trainer.benchmarks.registry.BENCHMARKS`. root: its folder.
        max_samples: judge this many, spread evenly; None all.

    Returns:
        "checkpoint", "step", "data", "benchmark", "split" and "stride" where there are any, "num_samples", this
        project's metrics by name and the breakdowns of `evaluation.tables` that the data tell, the benchmark's own
        under "benchmark_metrics" ({"value", "low", "high"}, None where they cannot be told, and breakdowns "by_..." of
        them), "joints_judged", "joints_without_partner" and "joints_unknown_to_model" (the benchmark's names) and
        "left_out" (reason -> number).

    Raises:
        UserError: no such checkpoint, benchmark or option; a folder of another layout; animals for a model of people
            or the other way round.
    """
    benchmark, loaded = find_benchmark(name), load_model(run, device, weights)
    left_out: Counter[str] = Counter()
    answers, poses = _judge(run, loaded, benchmark, root, options, device, max_samples, left_out)
    joints, request = answers.joints, answers.request
    return {
        "checkpoint": str(loaded.folder),
        "step": loaded.step,
        "data": str(root),
        "benchmark": name,
        **({"split": request.split} if benchmark.splits else {}),
        **({"stride": request.stride} if benchmark.stride is not None else {}),
        **evaluate_poses(poses, joints.skeleton, _RESAMPLES),
        **break_down(poses, joints.skeleton, _RESAMPLES),
        "num_samples": len(poses),
        "benchmark_metrics": benchmark.score(answers),
        "joints_judged": list(joints.names),
        "joints_without_partner": list(joints.without_partner),
        "joints_unknown_to_model": list(joints.unknown_to_model),
        "left_out": dict(left_out),
    }


def estimate_benchmark(
    run: str | Path, name: str, root: Path, device: torch.device | str = "cpu"
) -> tuple[Poses, Skeleton]:
    """A run's answers on a benchmark's usual test part, in pixels of the crops, and the joints that they are in.

    Raises:
        UserError: as `evaluate_benchmark`.
    """
    benchmark, loaded = find_benchmark(name), load_model(run, device)
    answers, poses = _judge(run, loaded, benchmark, root, BenchmarkOptions(), device, None, Counter())
    return poses, answers.joints.skeleton


def make_request(benchmark: Benchmark, options: BenchmarkOptions, superset: str) -> Request:
    """A user's options, checked against what the benchmark offers.

    Raises:
        UserError: a split that does not exist, or an option that the benchmark does not take.
    """
    offers = {
        "--split": (options.split, bool(benchmark.splits)),
        "--stride": (options.stride, benchmark.stride is not None),
        "--joint-map": (options.joint_map, benchmark.takes_joint_map),
        "--likelihood-cutoff": (options.cutoff, benchmark.takes_cutoff),
    }
    for flag, (given, is_offered) in offers.items():
        if given is not None and not is_offered:
            raise UserError(f"{flag} {given}: {benchmark.name} takes no {flag}; leave it out")
    if options.split is not None and options.split not in benchmark.splits:
        raise UserError(
            f"--split {options.split}: {benchmark.name} has no such split; choose one of {', '.join(benchmark.splits)}"
        )
    return Request(
        superset=superset,
        split=options.split or next(iter(benchmark.splits), ""),
        stride=options.stride or benchmark.stride or 1,
        joint_map={} if options.joint_map is None else read_joint_map(options.joint_map),
        cutoff=DEFAULT_CUTOFF if options.cutoff is None else options.cutoff,
    )


def print_benchmark(result: dict[str, Any], by: Sequence[str] = ()) -> None:
    """Show what `evaluate_benchmark` returned as tables.

    Args:
        by: breakdowns of this project's metrics to show as well, names of `tables.BREAKDOWNS`.
    """
    benchmark = find_benchmark(result["benchmark"])
    own = result["benchmark_metrics"]
    split = f", {result['split']}" if "split" in result else ""
    table = Table(
        title=f"{result['checkpoint']} on {benchmark.title}{split} ({result['num_samples']} samples)", box=SIMPLE
    )
    for title in ("metric", "value", "95% interval"):
        table.add_column(title, justify="left" if title == "metric" else "right")
    for name, words in benchmark.scores.items():
        table.add_row(words, *_cells(own.get(name)))
    table.add_section()
    for name, words in METRIC_TITLES.items():
        if result.get(name) is not None:
            table.add_row(words, *_cells(result[name]))
    console = Console(width=max(Console().width, TABLE_WIDTH), soft_wrap=True)
    console.print(table)
    for key, rows in own.items():
        if key.startswith("by_"):
            metrics = [name for name in benchmark.scores if any(name in row for row in rows.values())]
            breakdown = Table(title=f"By {key.removeprefix('by_')}", box=SIMPLE, title_justify="left")
            breakdown.add_column(key.removeprefix("by_"))
            for name in metrics:
                breakdown.add_column(name, justify="right")
            for row, values in rows.items():
                breakdown.add_row(row, *(_cells(values[name])[0] for name in metrics))
            console.print(breakdown)
    for name in by:
        if (breakdown := breakdown_table(result, name)) is not None:
            console.print(breakdown)
    total = len(result["joints_judged"]) + sum(len(result[key]) for key in _NOT_JUDGED)
    for key, words in _NOT_JUDGED.items():
        if result[key]:
            console.print(f"{len(result[key])} of {total} joints not judged, {words}: {', '.join(result[key])}")
    for reason, number in result["left_out"].items():
        console.print(f"left out: {number} {reason}")


_NOT_JUDGED = {
    "joints_without_partner": "being none of ours",
    "joints_unknown_to_model": "which the model was not trained on",
}


def _cells(metric: dict[str, float | None] | None) -> tuple[str, str]:
    if metric is None:
        return "-", "-"
    has_interval = metric["low"] is not None
    return f"{metric['value']:.3g}", f"{metric['low']:.3g} .. {metric['high']:.3g}" if has_interval else "-"


def _judge(
    run: str | Path,
    loaded: LoadedModel,
    benchmark: Benchmark,
    root: Path,
    options: BenchmarkOptions,
    device: torch.device | str,
    max_samples: int | None,
    left_out: Counter[str],
) -> tuple[Answers, Poses]:
    trained = loaded.skeleton
    if benchmark.superset not in (None, trained.superset):
        plans = {"human": "people", "quadruped": "animals"}
        raise UserError(
            f"--benchmark {benchmark.name}: its subjects are {plans[benchmark.superset]}, the model of {run} knows "
            f"{plans[trained.superset]} ({trained.name}); choose another benchmark or checkpoint"
        )
    request = make_request(benchmark, options, trained.superset)
    opened = benchmark.open(root, request)
    joints = judged_joints(opened.joints, trained, benchmark.name)
    samples = _chosen_samples(opened, max_samples, left_out)
    return _answer(loaded, joints, samples, request, torch.device(device), left_out)


def _chosen_samples(
    opened: OpenBenchmark, max_samples: int | None, left_out: Counter[str]
) -> Iterator[BenchmarkSample]:
    """All samples, or so many spread evenly; what readers leave out is counted for all."""
    if max_samples is None:
        return opened.read(left_out)
    total = sum(1 for _ in opened.read(Counter()))
    wanted = set(np.linspace(0, total - 1, min(max_samples, total)).round().astype(int).tolist())
    return (sample for number, sample in enumerate(opened.read(left_out)) if number in wanted)


@dataclass(frozen=True, eq=False)
class _Crop:
    """A sample's picture as the model sees it."""

    sample: BenchmarkSample
    image: np.ndarray
    warp: Warp
    picture_size: tuple[int, int]


@torch.no_grad()
def _answer(
    loaded: LoadedModel,
    joints: JudgedJoints,
    samples: Iterator[BenchmarkSample],
    request: Request,
    device: torch.device,
    left_out: Counter[str],
) -> tuple[Answers, Poses]:
    """The model's answers, in the pictures' pixels for the benchmark and in the crops' for this project's metrics."""
    size = loaded.config.data.input_size_px
    crops = _crops(samples, loaded.config.data.crop, size, left_out)
    columns: dict[str, list[np.ndarray]] = {}
    judged: list[BenchmarkSample] = []
    for batch in iter(lambda: list(islice(crops, _BATCH_SIZE)), []):
        images = torch.from_numpy(np.stack([crop.image for crop in batch])).permute(0, 3, 1, 2).float() / 255
        camera_K = torch.from_numpy(np.stack([_camera_of(crop) for crop in batch])).float()
        output = loaded.model(images.to(device), loaded.config.model.answer_blend, camera_K.to(device))
        answered = joints.weights @ ((output.joints.double().cpu().numpy() + 1) * size / 2)
        confidence = output.pose_2d.confidence.double().cpu().numpy() @ joints.weights.T
        joints_cam_m = joints.weights @ output.pose_3d.joints.double().cpu().numpy()
        for row, crop in enumerate(batch):
            matrix, truth_px = crop.warp.matrix, crop.sample.joints_px[joints.columns]
            truth_in_crop = truth_px * crop.warp.zoom + matrix[:, 2]
            known = inside_frame(truth_px, *crop.picture_size) & inside_frame(truth_in_crop, size, size)
            own = {
                "joints_px": answered[row],
                "confidence": confidence[row],
                "true_joints_px": truth_in_crop,
                "weight": known.astype(float),
                "visible": crop.sample.visible[joints.columns],
                "box_px": _box_in_crop(crop),
                "joints_cam_m": joints_cam_m[row],
                "in_picture": (answered[row] - matrix[:, 2]) / crop.warp.zoom,
                "true_in_picture": truth_px,
            }
            if crop.sample.joints_cam_m is not None and joints.has_root:
                own["true_joints_cam_m"] = crop.sample.joints_cam_m[joints.columns]
            for name, value in own.items():
                columns.setdefault(name, []).append(value)
            judged.append(crop.sample)
    if not judged:
        why = "; ".join(f"{number} {reason}" for reason, number in left_out.items()) or "it is empty"
        raise UserError(f"nothing to judge: {why}")
    stacked = {name: np.stack(values) for name, values in columns.items()}
    in_picture, true_in_picture = stacked.pop("in_picture"), stacked.pop("true_in_picture")
    clusters = tuple(sample.cluster for sample in judged)
    has_3d = "true_joints_cam_m" in stacked
    if not has_3d:
        del stacked["joints_cam_m"]
    root = joints.skeleton.parents.index(-1)
    answers = Answers(
        samples=tuple(judged),
        joints=joints,
        joints_px=in_picture,
        true_joints_px=true_in_picture,
        confidence=stacked["confidence"],
        draws=draw_clusters(clusters, len(judged), _RESAMPLES, seed=0),
        request=request,
        **{
            name: stacked[name] - stacked[name][:, root : root + 1]
            for name in ("joints_cam_m", "true_joints_cam_m")
            if has_3d
        },
    )
    species = tuple(sample.species for sample in judged)
    poses = Poses(**stacked, image_size_px=size, groups=clusters, species=species if all(species) else None)
    return answers, poses


def _crops(samples: Iterator[BenchmarkSample], crop: CropConfig, size: int, left_out: Counter[str]) -> Iterator[_Crop]:
    reader = PictureReader()
    around = {"subject": crop.model_copy(update={"around": "subject"}), "picture": CropConfig(margin=1.0)}
    for sample in track(samples, "judging", console=Console(stderr=True), transient=True):
        image = reader.read(sample)
        if image is None:
            left_out["frames beyond the end of their video"] += 1
            continue
        height, width = image.shape[:2]
        if sample.box_px is None:
            warp = centre_warp(np.array([0, 0, width, height]), width, height, around["picture"], size)
        else:
            warp = centre_warp(np.array(sample.box_px, float), width, height, around["subject"], size)
        yield _Crop(sample, warp_image(image, warp), warp, (width, height))


def _camera_of(crop: _Crop) -> np.ndarray:
    """[3, 3] intrinsics in pixels of the crop; NaN where the benchmark does not tell."""
    if crop.sample.camera_K is None:
        return np.full((3, 3), np.nan)
    return np.vstack([crop.warp.matrix, [0, 0, 1]]) @ crop.sample.camera_K


def _box_in_crop(crop: _Crop) -> np.ndarray:
    """[4] of the crop's pixels; the whole crop where the protocol has no box."""
    if crop.sample.box_px is None:
        return np.array([0, 0, crop.warp.size_px, crop.warp.size_px], float)
    x, y, width, height = crop.sample.box_px
    corner = np.array([x, y]) * crop.warp.zoom + crop.warp.matrix[:, 2]
    return np.array([*corner, width * crop.warp.zoom, height * crop.warp.zoom])
