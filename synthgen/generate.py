"""Renders a dataset: plans shards, hands them to the pool, goes on where an earlier run stopped, writes the manifest.

While a dataset is under way its folder holds `.render/`: the plan, and a record for each finished shard. Both go when
dataset.json is written. A shard counts as finished when its tar and its record are there; the rest is redone.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from posecore.dataset import MANIFEST_NAME, Manifest, read_manifest, write_atomically, write_manifest
from posecore.errors import UserError
from posecore.skeleton import SUPERSETS, load_skeleton
from synthgen import catalog
from synthgen.engines import require_engine
from synthgen.pool import SceneDone, ShardDone, ShardLost, render_shards
from synthgen.recipe import Recipe
from synthgen.shards import ShardRecord, ShardTask, plan_shards, read_record, shard_file, write_record
from synthgen.subjects.motion_files import file_id

_STATE_FOLDER = ".render"

SampleProgress = Callable[[int, int], None]
"""Told the number of samples done since the last call (negative when a shard was lost), and of rejects."""


def render_dataset(
    recipe: Recipe,
    out: Path,
    num_workers: int,
    resume: bool,
    on_setup: catalog.Progress = catalog.silent,
    on_samples: SampleProgress = lambda samples, rejects: None,
    on_message: Callable[[str], None] = lambda text: None,
) -> Manifest:
    """Render a whole dataset into `out`.

    Args:
        resume: go on in a folder that an interrupted run of the same recipe left.
        on_setup: progress of fetching and baking. on_samples: progress of rendering. on_message: lines worth showing.

    Raises:
        UserError: `out` holds something else, an asset is missing, or rendering failed; finished shards stay.
    """
    require_engine(recipe.engine)
    if resume and (out / MANIFEST_NAME).is_file():
        manifest = read_manifest(out)
        if manifest.recipe_hash == recipe.hash and manifest.num_samples == recipe.num_scenes * recipe.samples_per_scene:
            on_message(f"{out} is complete already: {manifest.num_samples} samples")
            return manifest
    catalog.load_library(recipe, on_setup)
    records = _open_folder(recipe, out, resume)
    tasks = plan_shards(recipe)
    if records:
        on_samples(sum(record.shard.count for record in records.values()), 0)
        on_message(f"{len(records)} of {len(tasks)} shards are there already")
    todo = [task for task in tasks if task.number not in records]
    try:
        for event in render_shards(todo, recipe, out, num_workers):
            match event:
                case SceneDone(samples, rejects):
                    on_samples(samples, rejects)
                case ShardDone(task, record):
                    write_record(_record_path(out, task.number), record)
                    records[task.number] = record
                case ShardLost(task, samples, exit_code):
                    on_samples(-samples, 0)
                    on_message(f"a worker died (exit code {exit_code}); shard {task.number} is being redone")
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror or error}; finished shards stay") from error
    manifest = _manifest(recipe, [records[task.number] for task in tasks], tasks)
    write_manifest(out, manifest)
    shutil.rmtree(out / _STATE_FOLDER)
    return manifest


def count_finished(out: Path, recipe: Recipe) -> tuple[int, int]:
    """Finished and planned shards of a folder under way."""
    return len(list((out / _STATE_FOLDER).glob("shard-*.json"))), len(plan_shards(recipe))


def _open_folder(recipe: Recipe, out: Path, resume: bool) -> dict[int, ShardRecord]:
    """Make the folder ready; gives the records of shards that are finished already."""
    plan_path = out / _STATE_FOLDER / "plan.json"
    plan = {"recipe_hash": recipe.hash, "count": recipe.count}
    occupied = out.is_dir() and any(out.iterdir())
    if occupied and not resume:
        hint = "go on with --resume" if plan_path.is_file() else "choose another --out"
        raise UserError(f"{out}: not empty; {hint}")
    if occupied and not plan_path.is_file():
        raise UserError(f"{out}: holds no rendering of this recipe that could be resumed; choose another --out")
    if occupied and (found := json.loads(plan_path.read_text())) != plan:
        what = "count" if found["recipe_hash"] == plan["recipe_hash"] else "recipe or seed"
        raise UserError(f"{out}: was begun with another {what}; give the same one, or choose another --out")
    plan_path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(plan_path, json.dumps(plan).encode())
    for leftover in out.glob(".*.tmp"):
        leftover.unlink()
    records = {}
    for task in plan_shards(recipe):
        record_path = _record_path(out, task.number)
        if record_path.is_file() and (out / shard_file(recipe, task.number)).is_file():
            records[task.number] = read_record(record_path)
    return records


def _record_path(out: Path, number: int) -> Path:
    return out / _STATE_FOLDER / f"shard-{number:06d}.json"


def _manifest(recipe: Recipe, records: list[ShardRecord], tasks: list[ShardTask]) -> Manifest:
    rejects: Counter[str] = Counter()
    visibility: Counter[str] = Counter()
    for record in records:
        rejects.update(record.rejects)
        visibility.update(record.visibility)
    known = catalog.catalog()
    licences = [
        {"asset": asset.id, "licence": asset.licence, "source": asset.package}
        for asset in map(known.asset, catalog.assets_of(recipe))
    ]
    licences += [
        {"asset": file_id(file), "licence": "as its owner says", "source": "the user's own file"}
        for file in catalog.user_files(recipe)
    ]
    return Manifest(
        name=recipe.name,
        kind="synthetic",
        shards=tuple(record.shard for record in records),
        recipe=recipe.to_dict(),
        recipe_hash=recipe.hash,
        seed=recipe.seed,
        versions=_versions(recipe),
        skeletons={name: load_skeleton(name).to_dict() for name in SUPERSETS},
        licences=licences,
        rejects=dict(sorted(rejects.items())),
        statistics={
            "scenes": sum(task.num_scenes for task in tasks),
            "samples": sum(record.shard.count for record in records),
            "joints_by_visibility": dict(sorted(visibility.items())),
        },
    )


def _versions(recipe: Recipe) -> dict[str, str]:
    packages = ["posesynth", "numpy", "opencv-python-headless"] + (["bpy"] if recipe.engine.name == "cycles" else [])
    return {name: version(name) for name in packages}


def default_workers() -> int:
    """One process for each core: Python's part of a frame then overlaps with other frames' rendering."""
    return os.cpu_count() or 1
