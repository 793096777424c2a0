"""One HTML page that compares runs: what was learned, in numbers, curves, charts and pictures.

The page is a single file that works offline: pictures are JPEG inside it, curves are SVG whose ink takes the page's
text colour, so that both light and dark pages read well, charts are tables. What the runs cannot show (no metrics yet,
no labelled data given) is left out, with its section.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch

from posecore.dataset import MANIFEST_NAME
from posecore.errors import UserError
from posecore.figures import stylesheet
from trainer.benchmarks.registry import find_benchmark
from trainer.config import SkeletonImageConfig
from trainer.evaluation.charts import (
    History,
    breakdown_charts,
    gauge_curves,
    gradient_curves,
    gradient_table,
    group_colours,
    loss_curves,
    speed_curves,
)
from trainer.evaluation.evaluate import METRIC_TITLES, evaluate
from trainer.evaluation.pictures import (
    extreme_samples,
    pose_comparison,
    real_predictions,
    synthetic_sheet,
    training_strips,
)
from trainer.evaluation.tables import BREAKDOWNS, format_metric
from trainer.training.checkpoint import LoadedModel, load_model
from trainer.training.logs import METRICS, read_metrics

Cell = dict[str, str]
"""A number as the page shows it: its "value" and, in small print, its "interval"."""
Row = tuple[str, list[Cell | None]]
"""What a row of a table tells, and its cell in each column; None where it is not known."""


def write_report(
    runs: Sequence[Path],
    out: Path,
    data: str | None = None,
    real: str | None = None,
    max_samples: int = 256,
    device: torch.device | str = "cpu",
) -> None:
    """Write the page.

    Args:
        runs: run folders, such as a training's stages in their order, or runs to be compared; the first numbers and
            the choice of samples are the last one's.
        data: labelled dataset on which every run is judged, best one that no run was trained on; None: the one that
            the last run's stored evaluation (`trainer evaluate --json RUN/metrics.json`) names, or no table if there
            is none.
        real: unlabelled dataset for reconstructions and predictions; None: neither.
        max_samples: of `data` and `real` that are judged, unless every run has a stored evaluation of its checkpoint
            on as many; and among which the best and the worst are looked for.

    Raises:
        UserError: no run given, a run without checkpoint, or a dataset that cannot be read.
    """
    if not runs:
        raise UserError("a report needs at least one run folder")
    runs = [Path(run) for run in runs]
    loaded = [load_model(run, device) for run in runs]
    names = _short_names(runs)
    judged = list(zip(runs, loaded, strict=True))
    data = data or _evaluated_data(runs[-1])
    results, on_real = (
        [] if folder is None else _judge(runs, loaded, folder, device, max_samples) for folder in (data, real)
    )
    groups = _seed_groups(loaded)
    colours = group_colours(groups)
    histories = [
        _history(run, model, name, colour) for (run, model), name, colour in zip(judged, names, colours, strict=True)
    ]
    page = {
        "stylesheet": stylesheet(),
        "names": names,
        "colours": colours,
        "watches_video": any(model.config.stage != "pretrain" for model in loaded),
        "headlines": _headlines(names, results, on_real),
        "facts": _fact_rows(loaded, histories),
        "metrics": _metric_rows(results),
        "seeds": _seed_table(names, groups, results),
        "benchmarks": _benchmark_tables(runs, loaded),
        "data": data,
        "num_judged": results[0]["num_samples"] if results else 0,
        "gauges": gauge_curves(histories),
        "losses": loss_curves(histories),
        "gradients": gradient_curves(histories),
        "gradient_tables": [(history.name, *table) for history in histories if (table := gradient_table(history))[0]],
        "speeds": speed_curves(histories),
        "breakdowns": [
            (title, charts)
            for name, title in BREAKDOWNS.items()
            if (charts := breakdown_charts(colours, results, name))
        ],
        "extremes": [] if data is None else extreme_samples(loaded, names, data, max_samples, device),
        "synthetic": None if data is None else synthetic_sheet(data),
        "strips": [(name, strips) for name, run in zip(names, runs, strict=True) if (strips := training_strips(run))],
        "pose_strip": None if real is None else pose_comparison(loaded[-1], names[-1], real, device),
        "leakage": _leakage_rows(names, on_real),
        "real": real,
        "num_real": on_real[0]["num_samples"] if on_real else 0,
        "real_predictions": [] if real is None else real_predictions(loaded, names, real, device),
        "settings": _differing_settings(loaded),
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


def _judge(
    runs: Sequence[Path], loaded: Sequence[LoadedModel], folder: str, device: torch.device | str, max_samples: int
) -> list[dict[str, Any]]:
    """Every run on the same samples: the stored evaluations if all runs have one of that many, else new ones."""
    stored = [_stored_evaluation(run, model.step, folder) for run, model in zip(runs, loaded, strict=True)]
    if None not in stored and len({result["num_samples"] for result in stored}) == 1:
        return stored
    return [evaluate(run, folder, device, max_samples) for run in runs]


def _stored_evaluation(run: Path, step: int, folder: str) -> dict[str, Any] | None:
    for result in _stored_evaluations(run):
        if result["step"] == step and Path(result["data"]).resolve() == Path(folder).resolve():
            return result
    return None


def _stored_evaluations(run: Path) -> list[dict[str, Any]]:
    """What `trainer evaluate --json` has written into the run's folder."""
    contents = [json.loads(path.read_text()) for path in sorted(run.glob("*.json"))]
    return [content for content in contents if isinstance(content, dict) and {"data", "step"} <= content.keys()]


def _short_names(runs: Sequence[Path]) -> list[str]:
    """The folders' own names where they differ, else their paths."""
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _history(run: Path, model: LoadedModel, name: str, colour: str) -> History:
    """What a run logged once it saw images; steps of the pose head alone see none."""
    alone, images = model.config.schedule.pose_head_steps, model.config.images_per_step
    train, gauges = (
        [
            entry | {"images": (entry["step"] - alone) * images}
            for entry in (read_metrics(run, kind) if (run / METRICS).is_file() else [])
            if entry["step"] > alone
        ]
        for kind in ("train", "gauge")
    )
    return History(name, colour, train, gauges)


def _headlines(
    names: list[str], results: list[dict[str, Any]], on_real: list[dict[str, Any]]
) -> list[tuple[str, str, str]]:
    """The few numbers that say most of the last run: (number, what it is, beside what)."""
    lines = []
    if results:
        last, constant = results[-1], results[-1]["mean_pose"]
        error, baseline = last["error_pct"]["value"], constant["error_pct"]["value"]
        lines.append((f"{error:.1f}%", "mean joint error, of the crop's side", f"mean pose {baseline:.1f}%"))
        pck, baseline = last["pck_010"]["value"], constant["pck_010"]["value"]
        lines.append((f"{pck:.0%}", "joints within a tenth of the box (PCK 0.1)", f"mean pose {baseline:.0%}"))
        flips = last["flip_rate"]
        if flips is not None:
            seen = last.get("flip_rate_viewer")
            beside = f"as the viewer sees them {seen['value']:.1%}" if seen else "of the subject's own sides"
            lines.append((f"{flips['value']:.1%}", "left and right swapped (flip rate)", beside))
    if on_real:
        first, last = on_real[0], on_real[-1]
        if len(on_real) > 1:
            change = _change(last["right"], first["right"])
            lines.append((change, "reconstruction error on real frames", f"{names[-1]} against {names[0]}"))
        change = _change(last["shuffled"], last["right"])
        lines.append((change, "reconstruction error if given a wrong pose", "above 0: the pose matters"))
    return lines


def _fact_rows(loaded: list[LoadedModel], histories: list[History]) -> list[tuple[str, list[str]]]:
    """(fact, its value in each run)."""
    rows = [
        ("stage", [model.config.stage for model in loaded]),
        ("step", [f"{model.step:,}" for model in loaded]),
        ("skeleton", [model.config.skeleton for model in loaded]),
        ("channels", [_channels(model.config.model.skeleton_image) for model in loaded]),
        ("input, px", [str(model.config.data.input_size_px) for model in loaded]),
        ("encoder", [model.config.model.encoder.name for model in loaded]),
        ("parameters, M", [f"{sum(p.numel() for p in model.model.parameters()) / 1e6:.2f}" for model in loaded]),
    ]
    if any(history.train for history in histories):
        last = [history.train[-1] if history.train else None for history in histories]
        rows += [
            ("images seen", ["-" if entry is None else f"{entry['images']:,}" for entry in last]),
            ("time, min", ["-" if entry is None else f"{entry['seconds'] / 60:.0f}" for entry in last]),
            ("images a second", [_mean(history, "images_per_s") for history in histories]),
            ("waiting for data, %", [_mean(history, "data_wait_pct") for history in histories]),
        ]
    return rows


def _channels(drawn: SkeletonImageConfig) -> str:
    dealt = f", dealt (seed {drawn.grouping_seed})" if drawn.grouping == "random" else ""
    return f"{drawn.channels}{dealt}"


def _mean(history: History, name: str) -> str:
    values = [entry[name] for entry in history.train if entry.get(name) is not None]
    return f"{sum(values) / len(values):.1f}" if values else "-"


def _metric_rows(results: list[dict[str, Any]]) -> list[Row]:
    """The metrics; a column for each run and one for the mean pose."""
    if not results:
        return []
    answers = [*results, results[-1]["mean_pose"]]
    return [
        (title, [_metric_cell(name, answer.get(name)) for answer in answers])
        for name, title in METRIC_TITLES.items()
        if any(answer.get(name) for answer in answers)
    ]


def _metric_cell(name: str, metric: dict[str, float] | None) -> Cell | None:
    if metric is None:
        return None
    value, low, high = (format_metric(name, metric[key]) for key in ("value", "low", "high"))
    return {"value": value, "interval": f"{low} to {high}"}


def _seed_groups(loaded: Sequence[LoadedModel]) -> list[int]:
    """The number of each run's group: runs that differ in their seed alone share one."""
    groups: dict[tuple[str, int], int] = {}
    same: Counter[str] = Counter()
    numbers = []
    for model in loaded:
        # Two checkpoints of one run are no two seeds: the second belongs to a group of second ones.
        own = model.config.model_dump_json()
        key = (model.config.model_copy(update={"seed": 0}).model_dump_json(), same[own])
        same[own] += 1
        numbers.append(groups.setdefault(key, len(groups)))
    return numbers


def _seed_table(
    names: Sequence[str], groups: Sequence[int], results: Sequence[dict[str, Any]]
) -> tuple[list[str], list[Row]] | None:
    """The groups of `_seed_groups`: heads of the columns, and the metrics. None where no two runs belong together.

    A cell is the mean over a group's runs, and their lowest to highest.
    """
    if not results or len(set(groups)) == len(groups):
        return None
    members = [np.flatnonzero(np.array(groups) == group).tolist() for group in sorted(set(groups))]
    heads = [names[own[0]] + (f" and {len(own) - 1} more" if len(own) > 1 else "") for own in members]
    rows: list[Row] = []
    for metric, title in METRIC_TITLES.items():
        cells: list[Cell | None] = []
        for own in members:
            values = [results[number][metric]["value"] for number in own if results[number].get(metric)]
            shown = [format_metric(metric, f(values)) for f in (np.mean, min, max)] if values else None
            cells.append(shown and {"value": shown[0], "interval": f"{shown[1]} to {shown[2]}"})
        if any(cells):
            rows.append((title, cells))
    return heads, rows


def _benchmark_tables(runs: Sequence[Path], loaded: Sequence[LoadedModel]) -> list[tuple[str, list[Row]]]:
    """Each benchmark and split that `trainer evaluate --benchmark --json` stored, with its metrics in each run."""
    stored = [
        {
            (result["benchmark"], result.get("split")): result
            for result in _stored_evaluations(run)
            if "benchmark" in result and result["step"] == model.step
        }
        for run, model in zip(runs, loaded, strict=True)
    ]
    tables = []
    for name, split in dict.fromkeys(key for results in stored for key in results):
        benchmark, own = find_benchmark(name), [results.get((name, split)) for results in stored]
        rows = [("samples", [result and {"value": str(result["num_samples"]), "interval": ""} for result in own])]
        rows += [
            (words, [_benchmark_cell(result and result["benchmark_metrics"].get(score)) for result in own])
            for score, words in benchmark.scores.items()
        ]
        tables.append((f"{benchmark.title}, {split}" if split else benchmark.title, rows))
    return tables


def _benchmark_cell(metric: dict[str, float | None] | None) -> Cell | None:
    if metric is None:
        return None
    interval = "" if metric["low"] is None else f"{metric['low']:.3g} to {metric['high']:.3g}"
    return {"value": f"{metric['value']:.3g}", "interval": interval}


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


def _differing_settings(loaded: list[LoadedModel]) -> list[tuple[str, list[str]]]:
    """(setting, its value in each run) where the runs do not agree; empty for a single run."""
    flat = [_flat(model.config.model_dump(mode="json")) for model in loaded]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    rows = [(key, [settings.get(key, "-") for settings in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as "a.b": "value"."""
    result: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            result |= _flat(value, f"{prefix}{name}.")
        else:
            result[f"{prefix}{name}"] = json.dumps(value) if not isinstance(value, str) else value
    return result


def _change(value: float, reference: float) -> str:
    """Relative change in words: "+12%", "0%"."""
    percent = round(100 * (value / reference - 1))
    return f"{percent:+d}%" if percent else "0%"
