"""Curves and charts of the report: every run a colour, in each of them the same; runs of several seeds share one.

Curves are small SVGs, one quantity each, so that a page can set as many side by side as it has room for. The horizontal
axis is images seen, not steps: runs of other batch sizes then compare. Charts of breakdowns are rows of dots with
their intervals, as plain numbers for the page to place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, ScalarFormatter

from posecore.figures import INK, SERIES, clean, style, svg
from trainer.evaluation.evaluate import METRIC_TITLES
from trainer.evaluation.tables import format_metric, row_title

CHARTED = {
    "azimuth": ("pck_010", "flip_rate", "flip_rate_viewer"),
    "elevation": ("pck_010", "flip_rate"),
    "species": ("pck_010", "flip_rate"),
    "joint": ("pck_010", "flip_rate"),
    "visibility": ("pck_010", "error_pct"),
    "confidence": ("pck_010", "error_pct"),
}
"""The metrics that are charted of each breakdown."""
_DASHES = ("-", "--", ":")
_MOST_POINTS = 400
_TRAIN_RATES = ("images_per_s", "data_wait_pct", "learning_rate", "damaged_shards")
_GRADIENT = "gradient/"
_NOT_LOSSES = {"step", "kind", "seconds", "images", "total", *_TRAIN_RATES}
_ROUND_ENDS = np.outer(10.0 ** np.arange(-2, 9), [1, 2, 5]).ravel()


@dataclass(frozen=True)
class History:
    """What one run logged. Entries are lines of metrics.jsonl, each with "images": how many it had seen by then."""

    name: str
    colour: str
    train: list[dict[str, Any]]
    gauges: list[dict[str, Any]]


@dataclass(frozen=True)
class Curve:
    """An embedded SVG."""

    svg: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Mark:
    """One run's value in a row of a chart. Places are percent of the chart's width."""

    colour: str
    at: float
    low: float
    width: float
    text: str
    interval: str


@dataclass(frozen=True)
class Chart:
    """Rows of dots: (title, how many samples or joints, a mark for each run or None)."""

    title: str
    counted: str
    end: str
    rows: list[tuple[str, int, list[Mark | None]]]


def group_colours(groups: Sequence[int]) -> list[str]:
    """A colour for each run, that of its group's number; after six groups the same hues come darker."""
    darker = ["#" + "".join(f"{int(colour[i : i + 2], 16) * 11 // 20:02x}" for i in (1, 3, 5)) for colour in SERIES]
    colours = [*SERIES, *darker]
    return [colours[group % len(colours)] for group in groups]


def gauge_curves(histories: Sequence[History]) -> list[Curve]:
    """Held-out metrics of all runs against images seen."""
    wanted = [
        ("Error on held-out labels, % of the crop", {"error_pct": "", "mean_pose_pct": "mean pose"}),
        ("Flip rate", {"flip_rate": "subject's sides", "flip_rate_viewer": "viewer's sides"}),
        ("PCK at 0.10 of the box", {"pck_010": ""}),
        ("MPJPE, mm", {"mpjpe_mm": ""}),
        ("Synthetic pictures from a wrong pose: error over the right pose's", {"shuffled_over_right": ""}),
        ("Real pictures from a wrong pose: error over the right pose's", {"real_shuffled_over_real_right": ""}),
        ("Views of one moment: distance of their poses, % of a bone's length", {"real_views_pct": ""}),
    ]
    gauges = {history.name: [_with_ratios(entry) for entry in history.gauges] for history in histories}
    curves = [_curve(histories, gauges, names, caption, smooth=False) for caption, names in wanted]
    return [curve for curve in curves if curve is not None]


def loss_curves(histories: Sequence[History]) -> list[Curve]:
    """Every loss term of any run, each on a scale of its own."""
    return _term_curves(histories, lambda name: name not in _NOT_LOSSES and not name.startswith(_GRADIENT))


def gradient_curves(histories: Sequence[History]) -> list[Curve]:
    """Norms of each network's whole gradient."""
    return _term_curves(histories, lambda name: name.startswith(_GRADIENT) and name.count("/") == 1)


def gradient_table(history: History) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Norms of each loss's gradient on each network, means over the later half of the run, where they were logged.

    Returns:
        Networks, and (loss, its norm on each network as text); both empty if none was logged.
    """
    norms: dict[tuple[str, str], list[float]] = {}
    for entry in history.train[len(history.train) // 2 :]:
        for name, value in entry.items():
            if name.startswith(_GRADIENT) and name.count("/") == 2 and _is_number(value):
                _, network, loss = name.split("/")
                norms.setdefault((loss, network), []).append(value)
    networks = list(dict.fromkeys(network for _, network in norms))
    rows = []
    for loss in dict.fromkeys(loss for loss, _ in norms):
        reached = [norms.get((loss, network)) for network in networks]
        rows.append((loss.replace("_", " "), [f"{np.mean(values):.3g}" if values else "-" for values in reached]))
    return [network.replace("_", " ") for network in networks], rows


def speed_curves(histories: Sequence[History]) -> list[Curve]:
    """Images a second, the share of the time spent waiting for data, and the learning rate."""
    captions = {"images_per_s": "images a second", "data_wait_pct": "% of the time spent waiting for data"}
    return _term_curves(histories, lambda name: name in _TRAIN_RATES, captions)


def breakdown_charts(colours: Sequence[str], results: Sequence[dict[str, Any]], breakdown: str) -> list[Chart]:
    """The charts of one breakdown; none where there are not two rows to compare.

    Args:
        colours: of the runs. results: what `evaluate` returned for each.
        breakdown: of `tables.BREAKDOWNS`.
    """
    tables = [result.get(f"by_{breakdown}", {}) for result in results]
    keys = sorted(dict.fromkeys(key for table in tables for key in table), key=_range_start)
    if len(keys) < 2:
        return []
    charts = []
    for metric in CHARTED[breakdown]:
        known = [row[metric] for table in tables for row in table.values() if row.get(metric) is not None]
        if not known:
            continue
        highest = max(interval["high"] for interval in known)
        end = 1.0 if metric.startswith("pck") else float(_ROUND_ENDS[np.searchsorted(_ROUND_ENDS, highest)])
        rows = []
        for key in keys:
            cells = [table.get(key, {}) for table in tables]
            if all(cell.get(metric) is None for cell in cells):
                continue
            count = max(cell.get("num_samples", cell.get("num_joints", 0)) for cell in cells)
            marks = [_mark(metric, cell.get(metric), colour, end) for cell, colour in zip(cells, colours, strict=True)]
            rows.append((row_title(breakdown, key), count, marks))
        counted = "joints" if breakdown in ("joint", "visibility", "confidence") else "samples"
        charts.append(Chart(METRIC_TITLES[metric], counted, f"{end:g}", rows))
    return charts


def _range_start(key: str) -> float:
    """Where a range begins; what is none (a joint, "unknown") comes behind the ranges, in the order that it has."""
    return float(key.split("..")[0]) if ".." in key else math.inf


def _mark(metric: str, interval: dict[str, float] | None, colour: str, end: float) -> Mark | None:
    if interval is None:
        return None
    value, low, high = (interval[name] for name in ("value", "low", "high"))
    words = [format_metric(metric, number) for number in (value, low, high)]
    return Mark(colour, 100 * value / end, 100 * low / end, 100 * (high - low) / end, words[0], " to ".join(words[1:]))


def _with_ratios(entry: dict[str, Any]) -> dict[str, Any]:
    """The gauge with how much worse a shuffled pose reconstructs than the right one."""
    ratios = {}
    for prefix in ("", "real_"):
        right, shuffled = entry.get(f"{prefix}right"), entry.get(f"{prefix}shuffled")
        if right and shuffled:
            ratios[f"{prefix}shuffled_over_{prefix}right"] = shuffled / right
    return entry | ratios


def _term_curves(
    histories: Sequence[History], is_wanted: Callable[[str], bool], captions: dict[str, str] | None = None
) -> list[Curve]:
    names = dict.fromkeys(key for history in histories for entry in history.train for key in entry if is_wanted(key))
    entries = {history.name: history.train for history in histories}
    words = {name: name.removeprefix(_GRADIENT).replace("_", " ") for name in names} | (captions or {})
    curves = [_curve(histories, entries, {name: ""}, words[name], smooth=True) for name in names]
    return [curve for curve in curves if curve is not None]


def _curve(
    histories: Sequence[History],
    entries: dict[str, list[dict[str, Any]]],
    names: dict[str, str],
    caption: str,
    smooth: bool,
) -> Curve | None:
    """One panel: a line for each run and name that has at least two points; None if none has."""
    lines = []
    for history in histories:
        for dash, (name, label) in zip(_DASHES, names.items(), strict=False):
            points = [(entry["images"], entry[name]) for entry in entries[history.name] if _is_number(entry.get(name))]
            if len(points) > 1:
                images, values = np.array(points, float).T
                lines.append((history, dash, label, images, _smoothed(values) if smooth else values))
    if not lines:
        return None
    figure = Figure(figsize=(3.1, 1.9), layout="constrained")
    with matplotlib.rc_context(style()):
        axes = figure.subplots()
        for history, dash, _, images, values in lines:
            kept = np.unique(np.linspace(0, len(images) - 1, min(len(images), _MOST_POINTS)).round().astype(int))
            axes.plot(images[kept], values[kept], dash, color=history.colour, linewidth=1.6)
        labels = {label: dash for _, dash, label, _, _ in lines if label}
        for label, dash in labels.items():
            axes.plot([], [], dash, color=INK, linewidth=1.4, label=label)
        if labels:
            axes.legend(frameon=False, labelcolor=INK, loc="best", fontsize=8, handlelength=1.6, borderpad=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
        clean(axes)
    ends = "; ".join(
        f"{history.name}{f' ({label})' if label else ''} from {values[0]:.3g} to {values[-1]:.3g}"
        for history, _, label, _, values in lines
    )
    return Curve(svg(figure), f"{caption} over images seen: {ends}.", caption)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Running mean over a tenth of the curve, centred, narrower at the ends."""
    half = len(values) // 20
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
