"""The table of an ablation: each variant's metrics over its seeds, and their differences to the baseline.

Intervals are bootstrapped on two levels: seeds are drawn with replacement within each variant, scenes of the test set
with replacement for all variants alike. A difference is therefore paired: what all variants find hard cancels. With few
seeds, the interval is only as good as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from trainer.ablation.grid import Grid
from trainer.ablation.judging import Judged
from trainer.evaluation.bootstrap import draw_clusters, interval
from trainer.evaluation.evaluate import METRIC_TITLES
from trainer.evaluation.tables import format_metric

Comparison = dict[str, dict[str, dict[str, Any]]]
"""variant -> metric -> {"value", "low", "high", "seeds": each one's mean, "difference": the same to the baseline}."""


def compare(
    judged: Mapping[str, Sequence[Judged]], metrics: Sequence[str], baseline: str, resamples: int = 1000, seed: int = 0
) -> Comparison:
    """Compare variants, each with its seeds' judgements, all of one test set.

    Returns:
        For each variant and metric that can be told; the baseline has no "difference".
    """
    first = judged[baseline][0]
    draws = draw_clusters(first.groups.tolist(), len(first.groups), resamples, seed)
    rng = np.random.default_rng([seed, 1])
    result: Comparison = {variant: {} for variant in judged}
    for metric in metrics:
        if not all(metric in run.values for runs in judged.values() for run in runs):
            continue  # such as limbs of a skeleton that names none
        redrawn, means = {}, {}
        for variant, runs in judged.items():
            values = np.stack([run.values[metric] for run in runs])
            known = np.isfinite(values)
            if not known.any(1).all():
                continue
            means[variant] = [float(row[ok].mean()) for row, ok in zip(values, known, strict=True)]
            weights = draws.subject_weights.astype(np.float64)
            with np.errstate(invalid="ignore"):
                by_seed = (weights @ np.where(known, values, 0.0).T) / (weights @ known.T)
            chosen = rng.integers(len(runs), size=(resamples, len(runs)))
            redrawn[variant] = np.take_along_axis(by_seed, chosen, axis=1).mean(1)
        for variant, spread in redrawn.items():
            value = float(np.mean(means[variant]))
            row: dict[str, Any] = {**interval(value, spread), "seeds": means[variant]}
            if variant != baseline and baseline in redrawn:
                row["difference"] = interval(value - float(np.mean(means[baseline])), spread - redrawn[baseline])
            result[variant][metric] = row
    return result


def comparison_table(grid: Grid, comparison: Comparison, title: str) -> Table:
    """For the terminal: a row a variant."""
    table = Table(title=title, box=SIMPLE, title_justify="left")
    table.add_column("variant")
    for metric in grid.metrics:
        table.add_column(METRIC_TITLES[metric], justify="right")
    for variant, row in comparison.items():
        table.add_row(variant, *(_cell(metric, row.get(metric)) for metric in grid.metrics))
    return table


def comparison_markdown(grid: Grid, comparison: Comparison) -> str:
    """The same as Markdown, then the differences to the baseline."""
    titles = [METRIC_TITLES[metric] for metric in grid.metrics]
    lines = [f"| variant | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for variant, row in comparison.items():
        lines.append(f"| {variant} | {' | '.join(_cell(metric, row.get(metric)) for metric in grid.metrics)} |")
    lines += ["", f"Difference to {grid.baseline}:", "", *lines[:2]]
    for variant, row in comparison.items():
        if variant != grid.baseline:
            cells = [_cell(metric, (row.get(metric) or {}).get("difference"), "+") for metric in grid.metrics]
            lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(metric: str, number: Mapping[str, Any] | None, sign: str = "") -> str:
    """A value with its interval."""
    if number is None:
        return "-"
    value, low, high = (_signed(metric, number[name], sign) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _signed(metric: str, value: float, sign: str) -> str:
    text = format_metric(metric, abs(value))
    return ("-" if value < 0 else sign) + text
