"""One HTML page about one or more runs: what was learned, in pictures, curves and numbers.

The page is a single file that works offline: pictures are JPEG or PNG inside it, curves are SVG whose ink takes the
page's text colour, so that both light and dark pages read well. What a run cannot show (no metrics yet, no labelled
data given) is left out, with its section.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jinja2
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from posecore.codec import decode
from posecore.dataset import MANIFEST_NAME, iterate_dataset, read_manifest
from posecore.errors import UserError
from posecore.figures import INK, SERIES, clean, jpeg_url, style, stylesheet, svg
from posecore.overlay import contact_sheet, draw_skeleton, enlarge
from posecore.skeleton import load_skeleton
from trainer.data.batch import Batch
from trainer.data.streams import load_evaluation_set
from trainer.evaluation.evaluate import METRIC_TITLES, evaluate
from trainer.training.checkpoint import LoadedModel, load_model
from trainer.training.logs import PICTURES, channel_colours, colour_skeleton_image, joints_to_px, read_metrics

_STRIP_COLUMNS = (
    "input and estimate",
    "encoder's skeleton image",
    "drawing of the pose",
    "reconstruction",
    "partner x'",
)
_EXAMPLES = 6
_CELL_PX = 168


@dataclass(frozen=True)
class Picture:
    """An embedded picture. `source` is a data URL; `headings` name the columns of a strip."""

    source: str
    alt: str
    caption: str
    headings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curve:
    """An embedded SVG."""

    svg: str
    alt: str
    caption: str


@dataclass(frozen=True)
class RunSection:
    """What one run shows of its training."""

    name: str
    stage: str
    facts: list[tuple[str, str]]
    curves: list[Curve]
    pictures: list[Picture]


def write_report(
    runs: Sequence[Path],
    out: Path,
    data: str | None = None,
    real: str | None = None,
    max_samples: int = 256,
    device: torch.device | str = "cpu",
    title: str = "posesynth: from rendered people to real video",
) -> None:
    """Write the page.

    Args:
        runs: run folders in the order of training; the last one is shown in most detail.
        data: labelled dataset on which every run is judged, best one that no run was trained on; None: the one that
            the last run's stored evaluation (`trainer evaluate --json RUN/metrics.json`) names, or no table if there
            is none.
        real: unlabelled dataset for reconstructions and predictions; None: neither.
        max_samples: of `data` and `real` that are judged where no stored evaluation of that very checkpoint says it.

    Raises:
        UserError: no run given, a run without checkpoint, or a dataset that cannot be read.
    """
    if not runs:
        raise UserError("a report needs at least one run folder")
    loaded = [load_model(run, device) for run in runs]
    names = _short_names(runs)
    judged = list(zip(runs, loaded, strict=True))
    data = data or _evaluated_data(Path(runs[-1]))
    results, on_real = (
        [] if folder is None else [_judged(Path(run), model, folder, device, max_samples) for run, model in judged]
        for folder in (data, real)
    )
    page = {
        "stylesheet": stylesheet(),
        "title": title,
        "headlines": _headlines(names, results, on_real),
        "synthetic": None if data is None else _synthetic_sheet(data),
        "runs": [_run_section(Path(run), name, model) for name, (run, model) in zip(names, judged, strict=True)],
        "pose_strip": None if real is None else _pose_comparison(loaded[-1], names[-1], real, device),
        "leakage": _leakage_rows(names, on_real),
        "metrics": _metric_rows(names, results),
        "names": names,
        "num_judged": results[0]["num_samples"] if results else 0,
        "num_real": on_real[0]["num_samples"] if on_real else 0,
        "real_predictions": None if real is None else _real_predictions(loaded, names, real, device),
        "data": data,
        "real": real,
    }
    template = (Path(__file__).parent / "report.html.j2").read_text()
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(environment.from_string(template).render(page))


def _evaluated_data(run: Path) -> str | None:
    """The labelled dataset that the run was last judged on, if that is stored and still there."""
    for result in _stored_evaluations(run):
        if "mean_pose" in result and (Path(result["data"]) / MANIFEST_NAME).is_file():
            return result["data"]
    return None


def _judged(run: Path, model: LoadedModel, folder: str, device: torch.device | str, max_samples: int) -> dict[str, Any]:
    """The stored evaluation of this checkpoint on that dataset, or a new one."""
    for result in _stored_evaluations(run):
        if result["data"] == folder and result["step"] == model.step:
            return result
    return evaluate(run, folder, device, max_samples)


def _stored_evaluations(run: Path) -> list[dict[str, Any]]:
    """What `trainer evaluate --json` has written into the run's folder."""
    contents = [json.loads(path.read_text()) for path in sorted(run.glob("*.json"))]
    return [content for content in contents if isinstance(content, dict) and {"data", "step"} <= content.keys()]


def _short_names(runs: Sequence[Path]) -> list[str]:
    """The folders' own names where they differ, else their paths."""
    names = [Path(run).resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _headlines(
    names: list[str], results: list[dict[str, Any]], on_real: list[dict[str, Any]]
) -> list[tuple[str, str, str]]:
    """The few numbers that say most: (number, what it is, beside what)."""
    lines = []
    if results:
        last = results[-1]
        error, baseline = last["error_pct"]["value"], last["mean_pose"]["error_pct"]["value"]
        lines.append((f"{error:.1f}%", "mean joint error, of the crop's side", f"mean pose {baseline:.1f}%"))
        pck, baseline = last["pck_010"]["value"], last["mean_pose"]["pck_010"]["value"]
        lines.append((f"{pck:.0%}", "joints within a tenth of the box (PCK 0.1)", f"mean pose {baseline:.0%}"))
        if last["flip_rate"] is not None:
            flips, baseline = (answer["flip_rate"]["value"] for answer in (last, last["mean_pose"]))
            lines.append((f"{flips:.0%}", "left and right swapped (flip rate)", f"mean pose {baseline:.0%}"))
    if on_real:
        first, last = on_real[0], on_real[-1]
        if len(on_real) > 1:
            change = _change(last["right"], first["right"])
            lines.append((change, "reconstruction error on real frames", f"{names[-1]} against {names[0]}"))
        change = _change(last["shuffled"], last["right"])
        lines.append((change, "reconstruction error if given a wrong pose", "above 0: the pose matters"))
    return lines


def _synthetic_sheet(data: str) -> Picture:
    """The first view of twelve scenes with their stored joints."""
    total = read_manifest(data).num_samples
    cells: list[np.ndarray] = []
    scenes: set[int] = set()
    for _, members in iterate_dataset(data):
        sample = decode(members, ("image",))
        if sample.scene in scenes:
            continue
        scenes.add(sample.scene)
        factor = max(1, round(192 / sample.image.shape[0]))
        image = enlarge(sample.image, factor)
        for subject in sample.subjects:
            skeleton = load_skeleton(subject.skeleton)
            image = draw_skeleton(image, subject.joints_px * factor, skeleton, subject.visibility)
        cells.append(image)
        if len(cells) == 12 or len(scenes) == total:
            break
    return Picture(
        jpeg_url(contact_sheet(cells, columns=6)),
        "Grid of rendered subjects with their skeletons drawn in.",
        "Left limbs are warm, right limbs cool; a ring is a joint that something hides.",
    )


def _run_section(run: Path, name: str, loaded: LoadedModel) -> RunSection:
    config = loaded.config
    train, gauges = (
        read_metrics(run, kind) if (run / "metrics.jsonl").is_file() else [] for kind in ("train", "gauge")
    )
    facts = [
        ("stage", config.stage),
        ("step", str(loaded.step)),
        ("skeleton", f"{loaded.skeleton.name}, {config.model.skeleton_image.channels} channels"),
        ("input", f"{config.data.input_size_px} px"),
    ]
    if train:
        facts.append(("time", f"{train[-1]['seconds'] / 60:.0f} min"))
    curves = [curve for curve in (_error_curve(gauges), _leakage_curve(gauges), _loss_curves(train)) if curve]
    strips = sorted((run / PICTURES).glob("*.png"))
    chosen = [strips[0], strips[-1]] if len(strips) > 1 else strips
    pictures = [
        Picture(
            jpeg_url(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)),
            f"Rows of {', '.join(_STRIP_COLUMNS)} at step {int(path.stem.split('_')[1])}.",
            f"Step {int(path.stem.split('_')[1])}",
            _STRIP_COLUMNS,
        )
        for path in chosen
    ]
    return RunSection(name, config.stage, facts, curves, pictures)


def _error_curve(gauges: list[dict[str, Any]]) -> Curve | None:
    if not gauges or "error_pct" not in gauges[0]:
        return None
    figure, axes = _figure(6.2, 3.0)
    _plot(axes, gauges, "error_pct", "error", SERIES[0])
    _plot(axes, gauges, "error_pct_min", "left/right flips forgiven", SERIES[2])
    _plot(axes, gauges, "mean_pose_pct", "mean pose", SERIES[1], dashed=True)
    _finish(axes, "step", "error, % of the crop")
    return Curve(
        svg(figure),
        f"Held-out error falls from {gauges[0]['error_pct']:.1f} to {gauges[-1]['error_pct']:.1f} percent of the crop; "
        f"the mean pose errs by {gauges[-1]['mean_pose_pct']:.1f}.",
        "Error on labelled synthetic pictures, without augmentation",
    )


def _leakage_curve(gauges: list[dict[str, Any]]) -> Curve | None:
    prefix = "real_" if gauges and "real_right" in gauges[0] else ""
    if not gauges or f"{prefix}right" not in gauges[0]:
        return None
    figure, axes = _figure(6.2, 3.0)
    for colour, which, label in zip(
        SERIES, ("right", "shuffled", "blank"), ("estimated pose", "somebody else's pose", "no pose"), strict=False
    ):
        _plot(axes, gauges, f"{prefix}{which}", label, colour)
    _finish(axes, "step", "feature error")
    where = "real" if prefix else "synthetic"
    return Curve(
        svg(figure),
        f"Reconstruction error on {where} pictures with the estimated, a shuffled and a blank pose.",
        f"Reconstruction of {where} pictures: the pose is used once the lines part",
    )


def _loss_curves(train: list[dict[str, Any]]) -> Curve | None:
    """Small multiples, one panel a term: terms differ by orders of magnitude and would hide each other."""
    skipped = {"step", "kind", "seconds", "total", "learning_rate", "images_per_s", "data_wait_pct"}
    terms = [
        name
        for name in dict.fromkeys(key for entry in train for key in entry)
        if name not in skipped and sum(_is_number(entry.get(name)) for entry in train) > 1
    ]
    if not terms:
        return None
    columns = 4
    rows = math.ceil(len(terms) / columns)
    figure = Figure(figsize=(9.4, 1.75 * rows), layout="constrained")
    with matplotlib.rc_context(style()):
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, name in zip(grid.flat, terms, strict=False):
            points = [(entry["step"], entry[name]) for entry in train if _is_number(entry.get(name))]
            steps, values = np.array(points).T
            axes.plot(steps, values, color=SERIES[0], alpha=0.3, linewidth=0.8)
            axes.plot(steps, _smoothed(values), color=SERIES[0], linewidth=1.6)
            axes.set_title(name.replace("_", " "), fontsize=9)
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(3))
            clean(axes)
        for axes in grid.flat[len(terms) :]:
            axes.set_visible(False)
    return Curve(svg(figure), f"Training curves of {', '.join(terms)}.", "Loss terms over steps, each on its own scale")


def _pose_comparison(loaded: LoadedModel, name: str, real: str, device: torch.device | str) -> Picture:
    """Real frames and what the renderer makes of them from the right, a wrong and no pose."""
    batch = _real_batch(loaded, real, _EXAMPLES)
    model, skeleton = loaded.model, loaded.skeleton
    with torch.no_grad():
        images, partners = batch.images.to(device), batch.partners.to(device)
        output = model(images, loaded.config.model.answer_blend, partners=partners)
        shuffled = model.render(output.joints.roll(len(images) // 2, 0), partners)
        blank = model.render(None, partners)
    colours = channel_colours(skeleton, output.skeleton_image.shape[1])
    columns = [
        [_drawn(image, joints, loaded) for image, joints in zip(batch.images, output.joints, strict=True)],
        [_uint8(image) for image in batch.partners],
        [colour_skeleton_image(image, colours) for image in output.drawing],
        [_uint8(image) for image in output.reconstruction],
        [_uint8(image) for image in shuffled],
        [_uint8(image) for image in blank],
    ]
    cells = [_cell(column[row]) for row in range(batch.size) for column in columns]
    headings = ("x, with the estimate", "x'", "drawing", "from the right pose", "from a wrong pose", "from no pose")
    return Picture(
        jpeg_url(contact_sheet(cells, columns=len(columns), gap_px=2)),
        f"Rows of {', '.join(headings)}.",
        f"Real frames through {name}",
        headings,
    )


def _real_predictions(
    loaded: list[LoadedModel], names: list[str], real: str, device: torch.device | str
) -> list[Picture]:
    """The same real frames under every run."""
    pictures = []
    for model, name in zip(loaded, names, strict=True):
        batch = _real_batch(model, real, 2 * _EXAMPLES)
        with torch.no_grad():
            joints = model.model(batch.images.to(device), model.config.model.answer_blend).joints
        cells = [_cell(_drawn(image, points, model)) for image, points in zip(batch.images, joints, strict=True)]
        pictures.append(
            Picture(
                jpeg_url(contact_sheet(cells, columns=_EXAMPLES, gap_px=2)),
                f"Real frames with the poses of {name}.",
                name,
            )
        )
    return pictures


def _real_batch(loaded: LoadedModel, real: str, count: int) -> Batch:
    data = loaded.config.data
    (batch,) = load_evaluation_set(
        real, loaded.skeleton, data.input_size_px, batch_size=count, crop=data.real_crop, max_samples=count
    )
    return batch


def _leakage_rows(names: list[str], on_real: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """(run, errors with the right, a shuffled and no pose as text)."""
    return [
        (
            name,
            [f"{result['right']:.3f}"]
            + [f"{result[which]:.3f} ({_change(result[which], result['right'])})" for which in ("shuffled", "blank")],
        )
        for name, result in zip(names, on_real, strict=False)
    ]


def _metric_rows(names: list[str], results: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, str] | None]]]:
    """(metric in words, one cell for the mean pose and each run)."""
    if not results:
        return []
    answers = [results[0]["mean_pose"], *results]
    return [
        (title, [_metric_cell(name, answer.get(name)) for answer in answers]) for name, title in METRIC_TITLES.items()
    ]


def _metric_cell(name: str, metric: dict[str, float] | None) -> dict[str, str] | None:
    if metric is None:
        return None
    digits = 0 if name.endswith("_mm") else 1 if name.endswith("_pct") or "error" in name else 3
    return {
        "value": f"{metric['value']:.{digits}f}",
        "interval": f"{metric['low']:.{digits}f} to {metric['high']:.{digits}f}",
    }


def _drawn(image: torch.Tensor, joints: torch.Tensor, loaded: LoadedModel) -> np.ndarray:
    """A crop, enlarged, with the estimated skeleton."""
    factor = max(1, round(_CELL_PX / image.shape[-1]))
    large = enlarge(_uint8(image), factor)
    return draw_skeleton(large, joints_to_px(joints, large.shape[0]), loaded.skeleton)


def _cell(image: np.ndarray) -> np.ndarray:
    interpolation = cv2.INTER_AREA if image.shape[0] > _CELL_PX else cv2.INTER_CUBIC
    return cv2.resize(image, (_CELL_PX, _CELL_PX), interpolation=interpolation)


def _uint8(image: torch.Tensor) -> np.ndarray:
    array = image.detach().float().cpu().permute(1, 2, 0).numpy()
    return (array.clip(0, 1) * 255).round().astype(np.uint8)


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    with matplotlib.rc_context(style()):
        axes = figure.subplots()
    return figure, axes


def _plot(axes: Any, entries: list[dict[str, Any]], name: str, label: str, colour: str, dashed: bool = False) -> None:
    points = [(entry["step"], entry[name]) for entry in entries if _is_number(entry.get(name))]
    if points:
        style = "--" if dashed else "-"
        axes.plot(*np.array(points).T, style, color=colour, label=label, linewidth=1.8)


def _finish(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=INK, loc="best")
    clean(axes)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Running mean over a tenth of the curve, centred, narrower at the ends."""
    half = max(1, len(values) // 20)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def _change(value: float, reference: float) -> str:
    """Relative change in words: "+12%", "0%"."""
    percent = round(100 * (value / reference - 1))
    return f"{percent:+d}%" if percent else "0%"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
