"""A whole ablation: plan, train, judge, compare, write GRID.json and GRID.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from posecore.dataset import write_atomically
from trainer.ablation.compare import compare, comparison_markdown, comparison_table
from trainer.ablation.execute import Workshop, carry_out
from trainer.ablation.grid import load_grid
from trainer.ablation.judging import content_of, judge
from trainer.ablation.plan import Entry, levels, plan_entries
from trainer.training.checkpoint import open_checkpoint
from trainer.training.folders import Folders


def run_ablation(
    name: str,
    folders: Folders,
    tests: Sequence[str],
    out: Path,
    seeds: int,
    jobs: int,
    overrides: tuple[str, ...],
    start: Path | None,
    dry_run: bool,
    device: str,
    say: Callable[[str], None],
) -> bool:
    """Carry out a grid.

    Args:
        name: of the grid, or its path. tests: see `judging`. overrides: for every stage of every run. start: a run or
            checkpoint that all first stages start from.

    Returns:
        False if a run failed; the table is then of the variants all of whose runs came through.

    Raises:
        UserError: grid, configuration, dataset or test is refused.
    """
    grid = load_grid(name)
    entries = plan_entries(grid, folders, seeds, overrides, start)
    runs = [run for level in levels(entries) for run in level]
    say(f"{grid.question} {len(grid.variants)} variants, {seeds} seeds, {len(runs)} runs in {out}")
    if dry_run:
        for entry in entries:
            say(f"  {entry.variant}, seed {entry.seed}: {' -> '.join(run.name for run in entry.run.lineage)}")
        for run in runs:
            schedule = run.config.schedule
            limit = f", at most {schedule.max_minutes:g} min" if schedule.max_minutes else ""
            origin = run.init.name if run.init else run.start
            say(
                f"  {run.name}: {schedule.steps} steps of {run.config.images_per_step} images{limit}"
                + (f", from {origin}" if origin else "")
            )
        return True
    for test in tests:
        content_of(test)  # to miss one after hours of training would be late
    workshop = Workshop(out, folders, jobs, device)
    failed = carry_out(entries, workshop, say)
    whole = [
        variant for variant in grid.variants if not any(e.run.name in failed for e in entries if e.variant == variant)
    ]
    if grid.baseline not in whole or len(whole) < 2:
        say(f"nothing to compare: {len(failed)} of {len(runs)} runs failed; mend the cause and repeat the command")
        return False
    record: dict[str, Any] = {
        "question": grid.question,
        "baseline": grid.baseline,
        "seeds": seeds,
        "overrides": list(overrides),
        "init": str(start) if start else None,
        "failed": failed,
        "budgets": {variant: [_budget(e, workshop) for e in entries if e.variant == variant] for variant in whole},
        "tests": {},
    }
    text = f"# {grid.question}\n\n{_told(record)}\n"
    console = Console(width=max(Console().width, 120), soft_wrap=True)
    for test in tests:
        judged = {
            variant: [
                judge(workshop.run_folder(entry.run), test, out / "judged", device)
                for entry in entries
                if entry.variant == variant
            ]
            for variant in whole
        }
        comparison = compare(judged, grid.metrics, grid.baseline)
        subjects = len(judged[grid.baseline][0].groups)
        record["tests"][test] = {"num_subjects": subjects, "comparison": comparison}
        text += f"\n## {test}, {subjects} subjects\n\n{comparison_markdown(grid, comparison)}"
        console.print(comparison_table(grid, comparison, f"{grid.question} {test}, {subjects} subjects"))
    result, table = (out / f"{Path(name).stem}{suffix}" for suffix in (".json", ".md"))
    write_atomically(result, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
    write_atomically(table, text.encode())
    say(f"wrote {result} and {table}")
    return not failed


def _budget(entry: Entry, workshop: Workshop) -> dict[str, Any]:
    """What an entry's runs took together: joint steps, the images in them, minutes of wall time."""
    steps = images = seconds = 0
    for run in entry.run.lineage:
        last = open_checkpoint(workshop.run_folder(run))
        joint = last.step - run.config.schedule.pose_head_steps
        steps += joint
        images += joint * run.config.images_per_step
        seconds += last.state()["seconds"]
    return {
        "seed": entry.seed,
        "run": entry.run.name,
        "steps": steps,
        "images": images,
        "minutes": round(seconds / 60, 1),
    }


def _told(record: dict[str, Any]) -> str:
    """Seeds and budgets in a sentence or two."""
    all_budgets = [budget for budgets in record["budgets"].values() for budget in budgets]
    ranges = {
        name: f"{min(b[name] for b in all_budgets)} to {max(b[name] for b in all_budgets)}"
        for name in ("images", "minutes")
    }
    return (
        f"{record['seeds']} seeds; {ranges['images']} images and {ranges['minutes']} minutes a run, stages together. "
        "95% intervals over seeds and scenes."
    )
