"""Comparisons against cases whose answer is known."""

import numpy as np
import pytest

from trainer.ablation.compare import compare, comparison_markdown
from trainer.ablation.grid import Grid
from trainer.ablation.judging import Judged

GROUPS = np.array([f"scene {number // 2}" for number in range(80)])


def judged(values, metric="error_pct"):
    return Judged({metric: np.asarray(values, float)}, GROUPS)


def test_variants_that_answer_alike_differ_by_nothing_however_hard_the_scenes_are():
    hard = np.random.default_rng(0).exponential(10, 80)
    result = compare({"a": [judged(hard)] * 3, "b": [judged(hard)] * 3}, ["error_pct"], "a")
    difference = result["b"]["error_pct"]["difference"]
    assert difference["value"] == difference["low"] == difference["high"] == 0
    assert result["a"]["error_pct"]["value"] == pytest.approx(hard.mean())
    assert result["a"]["error_pct"]["high"] > result["a"]["error_pct"]["low"] + 1
    assert "difference" not in result["a"]["error_pct"]


def test_a_difference_that_every_scene_shows_is_found_below_scenes_that_differ_more():
    hard = np.random.default_rng(0).exponential(10, 80)
    result = compare({"a": [judged(hard)] * 3, "b": [judged(hard + 1)] * 3}, ["error_pct"], "a")
    difference = result["b"]["error_pct"]["difference"]
    assert difference["low"] == pytest.approx(1) and difference["high"] == pytest.approx(1)
    assert result["a"]["error_pct"]["high"] > result["b"]["error_pct"]["low"]


def test_seeds_that_scatter_widen_the_interval():
    values = np.full(80, 10.0)
    result = compare({"a": [judged(values)] * 3, "b": [judged(values + x) for x in (-4, 0, 4)]}, ["error_pct"], "a")
    row = result["b"]["error_pct"]
    assert row["value"] == 10 and row["seeds"] == [6, 10, 14]
    assert row["low"] < 7.5 and row["high"] > 12.5
    assert row["difference"]["low"] < 0 < row["difference"]["high"]


def test_subjects_that_cannot_be_judged_count_nowhere():
    values = np.where(np.arange(80) < 40, np.nan, 1.0)
    result = compare({"a": [judged(values)], "b": [judged(np.full(80, np.nan))]}, ["error_pct"], "a")
    assert result["a"]["error_pct"]["value"] == 1
    assert "error_pct" not in result["b"]


def test_the_table_in_markdown_has_a_row_a_variant_and_signed_differences():
    grid = Grid.model_validate(
        {
            "question": "?",
            "stages": [{"config": "small"}],
            "variants": {"a": {}, "b": {"set": {"seed": 1}}},
            "baseline": "a",
            "metrics": ["error_pct", "mpjpe_mm"],
        }
    )
    comparison = compare({"a": [judged(np.full(80, 5.0))], "b": [judged(np.full(80, 4.0))]}, ["error_pct"], "a")
    text = comparison_markdown(grid, comparison)
    assert "| a | 5.0 (5.0 to 5.0) | - |" in text
    assert "| b | -1.0 (-1.0 to -1.0) | - |" in text
